//! The dead-letter store: a hash for each letter, and a sorted set of their ids.

use super::fault::Fault;
use super::keys::Keys;
use super::line::{Line, array, bytes, int, text};
use super::pack::{Args, Pack};
use super::producer::fields;
use super::script::REPLAY;
use crate::contract::DeadLetter;

/// Letters handled in one step of a long job, so that others get their turn.
const CHUNK: usize = 500;

/// Newest first.
pub(crate) fn list(line: &mut Line, keys: &Keys, limit: usize, before: Option<i64>) -> Result<Vec<DeadLetter>, Fault> {
    let from = before.map_or_else(|| "+inf".to_owned(), |id| format!("({id}"));
    let mut pack = Pack::default();
    pack.words(&["ZREVRANGEBYSCORE", &keys.dead, &from, "-inf", "LIMIT", "0", &limit.to_string()]);
    let ids: Vec<i64> = array(line.ask(&pack)?).iter().filter_map(int).collect();
    get(line, keys, &ids)
}

/// Those of `ids` that there are.
pub(crate) fn get(line: &mut Line, keys: &Keys, ids: &[i64]) -> Result<Vec<DeadLetter>, Fault> {
    let mut letters = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(CHUNK) {
        let mut pack = Pack::default();
        for id in chunk {
            pack.words(&["HGETALL", &format!("{}{id}", keys.dead_letter)]);
        }
        for (&id, reply) in chunk.iter().zip(line.all(&pack)?) {
            let mut fields = fields(reply);
            let mut take = |name: &str| fields.remove(name).unwrap_or_default();
            let Some(payload) = bytes(take("payload")) else { continue };
            letters.push(DeadLetter {
                id,
                queue: text(&take("queue")).unwrap_or_default(),
                reason: text(&take("reason")).unwrap_or_default(),
                detail: text(&take("detail")).unwrap_or_default(),
                died_ms: int(&take("died_ms")).unwrap_or(0),
                payload: payload.into(),
            });
        }
    }
    Ok(letters)
}

/// Runs `step` for the given letters, or for all that there are now; not for later ones, as a worker may bury again what
/// was replayed.
pub(crate) fn in_chunks(
    line: &mut Line,
    keys: &Keys,
    ids: Option<&[i64]>,
    mut step: impl FnMut(&mut Line, &Keys, &[i64]) -> Result<u64, Fault>,
) -> Result<u64, Fault> {
    let all;
    let ids = if let Some(ids) = ids {
        ids
    } else {
        let mut pack = Pack::default();
        let found = array(line.ask(pack.words(&["ZRANGE", &keys.dead, "0", "-1"]))?);
        all = found.iter().filter_map(int).collect::<Vec<_>>();
        &all
    };
    let mut count = 0;
    for chunk in ids.chunks(CHUNK) {
        count += step(line, keys, chunk)?;
    }
    Ok(count)
}

/// Puts them back at the end of their queues, as messages with no history.
pub(crate) fn replay(line: &mut Line, keys: &Keys, ids: &[i64]) -> Result<u64, Fault> {
    let places = keys.places([&keys.dead, &keys.queues]);
    let mut args = Args::default();
    args.add(&keys.dead_letter);
    for &id in ids {
        args.int(id);
    }
    let mut pack = Pack::default();
    Ok(int(&line.ask(pack.run(&REPLAY, &places, &args))?).unwrap_or(0).unsigned_abs())
}

/// Deletes them.
pub(crate) fn delete(line: &mut Line, keys: &Keys, ids: &[i64]) -> Result<u64, Fault> {
    let mut remove = Args::new("ZREM");
    remove.add(&keys.dead);
    let mut unlink = Args::new("UNLINK");
    for id in ids {
        remove.int(*id);
        unlink.add(format!("{}{id}", keys.dead_letter));
    }
    let mut pack = Pack::default();
    pack.words(&["MULTI"]).push(&remove).push(&unlink).words(&["EXEC"]);
    let done = array(line.all(&pack)?.pop().unwrap_or_default());
    Ok(done.first().and_then(int).unwrap_or(0).unsigned_abs())
}
