//! Ending deliveries.

use celeriac_protocol::{End, Settlement};

use super::connection::Db;
use super::dead::bury;
use super::enqueue::{Slot, anchor_ids, delay, make_ready, next_id, publish};
use super::fault::Fault;
use super::notify::Wakes;
use super::records::put;

/// Stores the end of a delivery that `owner` holds: its results, its continuations, its settlement. False, and nothing
/// is stored, if it holds it no more.
pub(crate) fn end(
    db: &mut Db,
    wakes: &mut Wakes,
    owner: i64,
    slot: Slot,
    queue: &str,
    end: &End,
) -> Result<bool, Fault> {
    let mut release = db.sql.prepare_cached("DELETE FROM held WHERE message = ?1 AND owner = ?2")?;
    if release.execute((slot.message, owner))? == 0 {
        return Ok(false);
    }
    drop(release);
    put(db, wakes, &end.results)?;
    if !end.publish.is_empty() {
        publish(db, wakes, &end.publish)?;
    }
    match &end.settlement {
        Settlement::Ack => {
            db.sql.prepare_cached("DELETE FROM message WHERE id = ?1")?.execute([slot.message])?;
        }
        Settlement::Requeue { front, crashed } => {
            let mut mark =
                db.sql.prepare_cached("UPDATE message SET redelivered = 1, crashes = crashes + ?2 WHERE id = ?1")?;
            mark.execute((slot.message, crashed))?;
            drop(mark);
            let seq = if *front {
                slot.seq
            } else {
                anchor_ids(db)?;
                next_id(db)
            };
            make_ready(db, wakes, Slot { seq, ..slot })?;
        }
        Settlement::Park { until_ms } => delay(db, wakes, slot, *until_ms)?,
        Settlement::Dead { reason, detail } => bury(db, slot, queue, reason, detail)?,
    }
    Ok(true)
}

/// Notes that a task began, so that the death of its worker counts against it.
pub(crate) fn mark_started(db: &Db, owner: i64, message: i64) -> Result<(), Fault> {
    let mut mark = db.sql.prepare_cached("UPDATE held SET started = 1 WHERE message = ?1 AND owner = ?2")?;
    mark.execute((message, owner))?;
    Ok(())
}
