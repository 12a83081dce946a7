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
const MOST: &str = "100";

/// Puts back what is too old by the server's clock. Returns how many messages came back.
pub(crate) fn restore(line: &mut Line, settings: &Settings, keys: &Keys, now_ms: i64) -> Result<u64, Fault> {
    #[expect(clippy::cast_precision_loss, reason = "seconds with a fraction, as Kombu writes them")]
    let before = now_ms as f64 / 1000.0 - settings.visibility.as_secs_f64();
    let mut pack = Pack::default();
    let before = format!("{before:.3}");
    pack.words(&["ZRANGE", &keys.unacked_index, "-inf", &before, "BYSCORE", "LIMIT", "0", MOST, "WITHSCORES"]);
    let found: Vec<String> = array(line.ask(&pack)?).iter().filter_map(text).collect();
    let mut count = 0;
    // Each is pushed to where the next one is taken, so the oldest comes last.
    for pair in found.chunks_exact(2).rev() {
        count += u64::from(restore_one(line, settings, keys, &pair[0], &pair[1])?);
    }
    Ok(count)
}

fn restore_one(line: &mut Line, settings: &Settings, keys: &Keys, tag: &str, score: &str) -> Result<bool, Fault> {
    let mut pack = Pack::default();
    let record = bytes(line.ask(pack.words(&["HGET", &keys.unacked, tag]))?);
    let mut args = Args::default();
    args.add(tag).add(score);
    if let Some(record) = &record {
        // What cannot be read stays: Kombu's sweep fails at it, too, and nothing is lost.
        let Some((raw, exchange, routing_key)) = claim_parts(record) else { return Ok(false) };
        let routes = Routes::read(line, keys, [exchange.as_str()].into_iter())?;
        let queues = match routes.route(settings, &exchange, &routing_key)? {
            Route::Queues(queues) => queues,
            Route::Channel(_) => Vec::new(),
        };
        if queues.is_empty() {
            // Kombu would drop it here. Its binding may come back.
            return Ok(false);
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
    Ok(super::line::int(&line.ask(pack.run(&RESTORE, &places, &args))?) == Some(1))
}
