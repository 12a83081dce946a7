//! Putting messages in: published ones, promoted ones, returned ones.

use celeriac_protocol::Publication;
use rusqlite::Statement;
use rusqlite::types::Value;

use super::connection::Db;
use super::fault::Fault;
use super::machine::{wall_ms, wall_us};
use super::notify::{Wakes, next_due};
use super::route::route;

/// Stores all of `batch`. Returns how many queues got a message, summed over the batch.
pub(crate) fn publish(db: &mut Db, wakes: &mut Wakes, batch: &[Publication]) -> Result<usize, Fault> {
    let now = wall_ms();
    anchor_ids(db)?;
    // Runs of one destination, as bulk calls are, are routed once: nobody else changes routes in this transaction.
    let mut queues = Vec::new();
    let mut places = Vec::with_capacity(batch.len());
    for (at, publication) in batch.iter().enumerate() {
        let same = at > 0 && {
            let last = &batch[at - 1];
            last.routing_key == publication.routing_key && last.exchange == publication.exchange
        };
        if !same {
            queues = route(db, &publication.exchange, &publication.routing_key)?;
        }
        for &queue in &queues {
            let id = next_id(db);
            places.push((publication, Slot { message: id, queue, priority: i64::from(publication.priority), seq: id }));
        }
    }
    // One statement after the other: finding a prepared one costs a tenth of what it does.
    let mut insert = db.sql.prepare_cached("INSERT INTO message (id, payload) VALUES (?1, ?2)")?;
    for (publication, place) in &places {
        insert.execute((place.message, &publication.payload[..]))?;
    }
    let mut ready = db.sql.prepare_cached(INSERT_READY)?;
    for (publication, place) in &places {
        match publication.due_ms {
            Some(due) if due > now => delay(db, wakes, *place, due)?,
            _ => insert_ready(&mut ready, wakes, *place)?,
        }
    }
    Ok(places.len())
}

const INSERT_READY: &str = "INSERT INTO ready VALUES (?1, ?2, ?3, ?4)";

/// A message's place in a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) message: i64,
    pub(crate) queue: i64,
    pub(crate) priority: i64,
    /// Order among those of one priority.
    pub(crate) seq: i64,
}

pub(crate) fn make_ready(db: &Db, wakes: &mut Wakes, slot: Slot) -> Result<(), Fault> {
    let mut insert = db.sql.prepare_cached(INSERT_READY)?;
    insert_ready(&mut insert, wakes, slot)
}

fn insert_ready(insert: &mut Statement<'_>, wakes: &mut Wakes, slot: Slot) -> Result<(), Fault> {
    insert.execute((slot.queue, slot.priority, slot.seq, slot.message))?;
    wakes.ready(slot.queue, 1);
    Ok(())
}

pub(crate) fn delay(db: &Db, wakes: &mut Wakes, slot: Slot, due_ms: i64) -> Result<(), Fault> {
    if next_due(db, slot.queue)?.is_none_or(|first| due_ms < first) {
        wakes.sooner(slot.queue);
    }
    let mut insert = db.sql.prepare_cached("INSERT INTO delayed VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute((slot.queue, due_ms, slot.message, slot.priority))?;
    Ok(())
}

/// Moves at most `most` messages of `queue` that are due into the line, in the order of their time.
pub(crate) fn promote(db: &mut Db, wakes: &mut Wakes, queue: i64, most: i64) -> Result<(), Fault> {
    let now = wall_ms();
    if next_due(db, queue)?.is_none_or(|first| first > now) {
        return Ok(());
    }
    anchor_ids(db)?;
    let mut select = db.sql.prepare_cached(
        "SELECT due_ms, message, priority FROM delayed WHERE queue = ?1 AND due_ms <= ?2 ORDER BY due_ms, message LIMIT ?3",
    )?;
    let due: Vec<(i64, i64, i64)> = select
        .query_map((queue, now, most), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    drop(select);
    let Some(&(last_due, last_message, _)) = due.last() else { return Ok(()) };
    for &(_, message, priority) in &due {
        let seq = next_id(db);
        make_ready(db, wakes, Slot { message, queue, priority, seq })?;
    }
    let mut delete = db.sql.prepare_cached("DELETE FROM delayed WHERE queue = ?1 AND (due_ms, message) <= (?2, ?3)")?;
    delete.execute((queue, last_due, last_message))?;
    Ok(())
}

/// To be called in a transaction before [`next_id`]: no other process's ids are above it then.
pub(crate) fn anchor_ids(db: &mut Db) -> Result<(), Fault> {
    let highest = db.sql.prepare_cached("SELECT max(id) FROM message")?.query_row([], |row| row.get::<_, Value>(0))?;
    if let Value::Integer(highest) = highest {
        db.last_id = db.last_id.max(highest);
    }
    db.last_id = db.last_id.max(wall_us());
    Ok(())
}

/// An id above all others, of messages there are and of those gone: ids are µs of the wall clock, or one more than the
/// last if the clock stood still or went back.
pub(crate) fn next_id(db: &mut Db) -> i64 {
    db.last_id += 1;
    db.last_id
}
