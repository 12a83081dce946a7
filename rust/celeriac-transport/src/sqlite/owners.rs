//! Workers and their leases. A worker's row is its claim on all that it holds: renewing is one small write, and a
//! worker whose row is gone has lost everything, whatever it believes.

use rusqlite::OptionalExtension;

use super::connection::Db;
use super::enqueue::{Slot, make_ready};
use super::fault::Fault;
use super::machine::{ProcessId, mono_ms};
use super::notify::Wakes;

/// Puts this process in as a worker. Returns its id.
pub(crate) fn register(db: &Db, own: &ProcessId, address: &str, lease_ms: i64) -> Result<i64, Fault> {
    let mut insert = db.sql.prepare_cached(
        "INSERT INTO owner (pid, started, boot, namespace, lease_until, address) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute((own.pid, own.started, &own.boot, &own.namespace, mono_ms() + lease_ms, address))?;
    Ok(db.sql.last_insert_rowid())
}

/// Whether the worker still has its row.
pub(crate) fn exists(db: &Db, owner: i64) -> Result<bool, Fault> {
    let mut find = db.sql.prepare_cached("SELECT 1 FROM owner WHERE id = ?1")?;
    Ok(find.exists([owner])?)
}

/// Moves the lease forward. False if the worker was reclaimed.
pub(crate) fn renew(db: &Db, owner: i64, lease_ms: i64) -> Result<bool, Fault> {
    let mut update = db.sql.prepare_cached("UPDATE owner SET lease_until = ?2 WHERE id = ?1")?;
    Ok(update.execute((owner, mono_ms() + lease_ms))? > 0)
}

/// Says whether the worker waits for messages.
pub(crate) fn set_idle(db: &Db, owner: i64, idle: bool) -> Result<(), Fault> {
    let mut update = db.sql.prepare_cached("UPDATE owner SET idle = ?2 WHERE id = ?1 AND idle <> ?2")?;
    update.execute((owner, idle))?;
    Ok(())
}

/// Workers other than `owner` that are known dead or were silent for longer than their lease. Only reads.
pub(crate) fn gone(db: &Db, own: &ProcessId, owner: i64) -> Result<Vec<i64>, Fault> {
    let mut select =
        db.sql.prepare_cached("SELECT id, lease_until, pid, started, boot, namespace FROM owner WHERE id <> ?1")?;
    let mut rows = select.query([owner])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let other = ProcessId { pid: row.get(2)?, started: row.get(3)?, boot: row.get(4)?, namespace: row.get(5)? };
        let lease_until: i64 = row.get(1)?;
        if own.knows_dead(&other) || (other.boot == own.boot && lease_until < mono_ms()) {
            found.push(row.get(0)?);
        }
    }
    Ok(found)
}

/// Whether a worker found by [`gone`] is still so, now that nobody else can write.
pub(crate) fn still_gone(db: &Db, own: &ProcessId, owner: i64) -> Result<bool, Fault> {
    let mut select =
        db.sql.prepare_cached("SELECT lease_until, pid, started, boot, namespace FROM owner WHERE id = ?1")?;
    let row = select
        .query_row([owner], |row| {
            let id = ProcessId { pid: row.get(1)?, started: row.get(2)?, boot: row.get(3)?, namespace: row.get(4)? };
            Ok((row.get::<_, i64>(0)?, id))
        })
        .optional()?;
    Ok(row.is_some_and(|(lease_until, other)| own.knows_dead(&other) || lease_until < mono_ms()))
}

/// Returns everything that `owner` holds to its place in line and forgets the worker. `crashed`: it died or was lost,
/// else it left in order: then nobody is to blame. Who is, see [`crate::contract`]. Returns how many messages came back.
pub(crate) fn release(db: &Db, wakes: &mut Wakes, owner: i64, crashed: bool) -> Result<usize, Fault> {
    let mut select =
        db.sql.prepare_cached("SELECT message, queue, priority, seq, started FROM held WHERE owner = ?1")?;
    let held: Vec<(Slot, bool)> = select
        .query_map([owner], |row| {
            let slot = Slot { message: row.get(0)?, queue: row.get(1)?, priority: row.get(2)?, seq: row.get(3)? };
            Ok((slot, row.get(4)?))
        })?
        .collect::<Result<_, _>>()?;
    drop(select);
    for &(slot, started) in &held {
        let mut mark = db.sql.prepare_cached(
            "UPDATE message SET redelivered = 1, crashes = crashes + ?2 * (1 + strays), \
             strays = CASE WHEN ?2 THEN 0 WHEN ?3 AND NOT redelivered THEN 1 ELSE strays END WHERE id = ?1",
        )?;
        mark.execute((slot.message, crashed && started, crashed && !started))?;
        drop(mark);
        make_ready(db, wakes, slot)?;
    }
    for table in [
        "DELETE FROM held WHERE owner = ?1",
        "DELETE FROM consuming WHERE owner = ?1",
        "DELETE FROM listening WHERE owner = ?1",
        "DELETE FROM owner WHERE id = ?1",
    ] {
        db.sql.prepare_cached(table)?.execute([owner])?;
    }
    Ok(held.len())
}
