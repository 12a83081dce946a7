//! How much waits in each queue: for operators, not for the hot path.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::Fault;
use super::keys::Keys;
use super::line::{Line, array, int, text};
use super::pack::{Args, Pack};
use super::producer::fields;
use crate::contract::QueueDepth;

/// Queues asked about, or tags looked up, in one write.
const CHUNK: usize = 500;

/// Every queue that a program of ours declared or sent to. Held are those of celeriac workers: what Celery's hold does not
/// say which queue it came from without being read whole.
pub(crate) fn depths(line: &mut Line, keys: &Keys) -> Result<Vec<QueueDepth>, Fault> {
    let mut pack = Pack::default();
    pack.words(&["SMEMBERS", &keys.queues]).words(&["ZRANGE", &keys.workers, "0", "-1"]);
    let mut replies = line.all(&pack)?.into_iter();
    let mut names: BTreeSet<String> = array(replies.next().unwrap_or_default()).iter().filter_map(text).collect();
    let workers: Vec<String> = array(replies.next().unwrap_or_default()).iter().filter_map(text).collect();
    let held = held(line, keys, &workers)?;
    names.extend(held.keys().cloned());
    let names: Vec<String> = names.into_iter().collect();
    let mut depths = Vec::with_capacity(names.len());
    for chunk in names.chunks(CHUNK) {
        let mut pack = Pack::default();
        for name in chunk {
            for list in keys.lists(name) {
                pack.push(Args::new("LLEN").add(list));
            }
            pack.words(&["ZCARD", &keys.parked(name)]);
        }
        let counts: Vec<u64> = line.all(&pack)?.iter().map(|count| int(count).unwrap_or(0).unsigned_abs()).collect();
        let each = keys.steps().len() + 1;
        for (name, counts) in chunk.iter().zip(counts.chunks(each)) {
            depths.push(QueueDepth {
                name: name.clone(),
                ready: counts[..each - 1].iter().sum(),
                delayed: counts[each - 1],
                held: held.get(name).copied().unwrap_or(0),
            });
        }
    }
    Ok(depths)
}

fn held(line: &mut Line, keys: &Keys, workers: &[String]) -> Result<BTreeMap<String, u64>, Fault> {
    let mut held = BTreeMap::new();
    for worker in workers {
        let mut pack = Pack::default();
        pack.words(&["HGETALL", &keys.batches(worker)]);
        let batches = fields(line.ask(&pack)?);
        for (first, batch) in batches {
            let Some((count, list)) = batch_of(&batch) else { continue };
            let Ok(first) = first.parse::<u64>() else { continue };
            let mut scores = Args::new("ZMSCORE");
            scores.add(&keys.unacked_index);
            for number in first..first + count {
                scores.add(format!("{worker}:{number}"));
            }
            let alive = array(line.ask(&Pack::one(&scores))?).iter().filter(|score| text(score).is_some()).count();
            *held.entry(keys.queue_of(&list)).or_insert(0) += alive as u64;
        }
    }
    held.retain(|_, count| *count > 0);
    Ok(held)
}

/// `count list`, as a claim records it.
pub(crate) fn batch_of(value: &redis::Value) -> Option<(u64, Vec<u8>)> {
    let redis::Value::BulkString(bytes) = value else { return None };
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    let count = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    Some((count, bytes[space + 1..].to_vec()))
}
