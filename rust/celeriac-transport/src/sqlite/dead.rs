//! The dead-letter store.

use rusqlite::{OptionalExtension, Row};

use super::connection::Db;
use super::enqueue::{Slot, anchor_ids, make_ready, next_id};
use super::fault::Fault;
use super::machine::wall_ms;
use super::notify::Wakes;
use super::route::queue_id;
use crate::contract::DeadLetter;

/// Moves a message here, bytes untouched.
pub(crate) fn bury(db: &Db, slot: Slot, queue: &str, reason: &str, detail: &str) -> Result<(), Fault> {
    let mut insert = db.sql.prepare_cached(
        "INSERT INTO dead (queue, priority, reason, detail, died_ms, payload) \
         SELECT ?2, ?3, ?4, ?5, ?6, payload FROM message WHERE id = ?1",
    )?;
    insert.execute((slot.message, queue, slot.priority, reason, detail, wall_ms()))?;
    db.sql.prepare_cached("DELETE FROM message WHERE id = ?1")?.execute([slot.message])?;
    Ok(())
}

const COLUMNS: &str = "SELECT id, queue, reason, detail, died_ms, payload FROM dead";

fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.get(0)?,
        queue: row.get(1)?,
        reason: row.get(2)?,
        detail: row.get(3)?,
        died_ms: row.get(4)?,
        payload: row.get::<_, Vec<u8>>(5)?.into(),
    })
}

/// Newest first.
pub(crate) fn list(db: &Db, limit: usize, before: Option<i64>) -> Result<Vec<DeadLetter>, Fault> {
    let mut select = db.sql.prepare_cached(&format!("{COLUMNS} WHERE id < ?1 ORDER BY id DESC LIMIT ?2"))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok(select.query_map((before.unwrap_or(i64::MAX), limit), letter)?.collect::<Result<_, _>>()?)
}

/// One of them.
pub(crate) fn get(db: &Db, id: i64) -> Result<Option<DeadLetter>, Fault> {
    let mut select = db.sql.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
    Ok(select.query_row([id], letter).optional()?)
}

/// Oldest first, at most `limit` of those with an id above `after`, up to `newest`.
pub(crate) fn ids_between(db: &Db, after: i64, newest: i64, limit: i64) -> Result<Vec<i64>, Fault> {
    let mut select = db.sql.prepare_cached("SELECT id FROM dead WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3")?;
    Ok(select.query_map([after, newest, limit], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Id of the youngest; 0 if there is none.
pub(crate) fn newest(db: &Db) -> Result<i64, Fault> {
    let mut select = db.sql.prepare_cached("SELECT coalesce(max(id), 0) FROM dead")?;
    Ok(select.query_row([], |row| row.get(0))?)
}

/// Puts it back at the end of its queue as a message with no history. False if there is none.
pub(crate) fn replay(db: &mut Db, wakes: &mut Wakes, id: i64) -> Result<bool, Fault> {
    let mut select = db.sql.prepare_cached("SELECT queue, priority FROM dead WHERE id = ?1")?;
    let found: Option<(String, i64)> = select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    drop(select);
    let Some((name, priority)) = found else { return Ok(false) };
    let queue = queue_id(db, &name)?;
    anchor_ids(db)?;
    let message = next_id(db);
    let mut copy =
        db.sql.prepare_cached("INSERT INTO message (id, payload) SELECT ?2, payload FROM dead WHERE id = ?1")?;
    copy.execute([id, message])?;
    drop(copy);
    delete(db, id)?;
    make_ready(db, wakes, Slot { message, queue, priority, seq: message })?;
    Ok(true)
}

/// False if there is none.
pub(crate) fn delete(db: &Db, id: i64) -> Result<bool, Fault> {
    Ok(db.sql.prepare_cached("DELETE FROM dead WHERE id = ?1")?.execute([id])? > 0)
}
