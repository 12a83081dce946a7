//! Restoring what workers of another program (Kombu's) claimed and did not settle, by Kombu's own rule: a claim as old as
//! `visibility_timeout` goes back to where its exchange and routing key lead.

use super::fault::Fault;
use super::keys::Keys;
use super::line::{Line, array, bytes, text};
use super::pack::{Args, Pack};
use super::patch::{claim_parts, with_redelivered};
use super::route::{Route, Routes};
use super::script::RESTORE;
use super::settings::Settings;

/// Claims looked at in one sweep.
const MOST: usize = 100;

/// What a sweep did.
pub(crate) struct Sweep {
    /// Messages that came back.
    pub(crate) count: u64,
    /// Where the next sweep begins, if this one did not come to the end.
    pub(crate) next: Option<usize>,
}

/// Puts back what is too old by the server's clock, but for the `from` oldest: those were looked at before, and stay as
/// nobody knows where they lead.
pub(crate) fn restore(
    line: &mut Line,
    settings: &Settings,
    keys: &Keys,
    now_ms: i64,
    from: usize,
) -> Result<Sweep, Fault> {
    #[expect(clippy::cast_precision_loss, reason = "seconds with a fraction, as Kombu writes them")]
    let before = now_ms as f64 / 1000.0 - settings.visibility.as_secs_f64();
    let mut pack = Pack::default();
    let before = format!("{before:.3}");
    let (skip, most) = (from.to_string(), MOST.to_string());
    pack.words(&["ZRANGE", &keys.unacked_index, "-inf", &before, "BYSCORE", "LIMIT", &skip, &most, "WITHSCORES"]);
    let found: Vec<String> = array(line.ask(&pack)?).iter().filter_map(text).collect();
    let mut count = 0;
    let mut left = 0;
    // Each is pushed to where the next one is taken, so the oldest comes last.
    for pair in found.chunks_exact(2).rev() {
        match restore_one(line, settings, keys, &pair[0], &pair[1])? {
            Some(restored) => count += u64::from(restored),
            None => left += 1,
        }
    }
    // Somebody else's sweep may have moved the others up: what is passed over now is met when it begins anew.
    Ok(Sweep { count, next: (found.len() == 2 * MOST).then_some(from + left) })
}

/// Whether it came back; `None` if it stays where it is.
fn restore_one(
    line: &mut Line,
    settings: &Settings,
    keys: &Keys,
    tag: &str,
    score: &str,
) -> Result<Option<bool>, Fault> {
    let mut pack = Pack::default();
    let record = bytes(line.ask(pack.words(&["HGET", &keys.unacked, tag]))?);
    let mut args = Args::default();
    args.add(tag).add(score);
    if let Some(record) = &record {
        // What cannot be read stays: Kombu's sweep fails at it, too, and nothing is lost.
        let Some((raw, exchange, routing_key)) = claim_parts(record) else { return Ok(None) };
        let routes = Routes::read(line, keys, [exchange.as_str()].into_iter())?;
        let queues = match routes.route(settings, &exchange, &routing_key)? {
            Route::Queues(queues) => queues,
            Route::Channel(_) => Vec::new(),
        };
        if queues.is_empty() {
            // Kombu would drop it here. Its binding may come back.
            return Ok(None);
        }
        let head = celeriac_protocol::Message::scan(raw.to_vec().into()).head;
        let step = keys.step(head.map_or(0, |head| head.priority));
        let patched = with_redelivered(raw);
        for queue in queues {
            args.add(keys.list(&queue, step)).add(&patched);
        }
    }
    let places = keys.places([&keys.unacked, &keys.unacked_index]);
    let mut pack = Pack::default();
    Ok(Some(super::line::int(&line.ask(pack.run(&RESTORE, &places, &args))?) == Some(1)))
}
