//! The tables, their version, and the way from an older one.
//!
//! A message's bytes are written once, in `message`, and read until its end; its state is a small row in exactly one of
//! `ready`, `delayed` and `held`, so that neither a claim nor a park rewrites a payload (docs/adr/0003).

use rusqlite::Connection;

use super::fault::Fault;
use crate::contract::TransportError;

/// "clrc" in ASCII: says whose file it is (`PRAGMA application_id`).
pub(crate) const APPLICATION_ID: i32 = 0x636C_7263;
/// Version of the tables below (`PRAGMA user_version`).
pub(crate) const VERSION: i32 = 2;

const TABLES: &str = "
CREATE TABLE queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE exchange (name TEXT PRIMARY KEY, type TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE binding (
    exchange TEXT NOT NULL, routing_key TEXT NOT NULL, queue INTEGER NOT NULL,
    PRIMARY KEY (exchange, routing_key, queue)
) STRICT, WITHOUT ROWID;
-- One row; counts changes of the three tables above, so that every process knows when its routes are stale.
CREATE TABLE topology (version INTEGER NOT NULL) STRICT;
INSERT INTO topology VALUES (0);

-- Ids grow with the wall clock and are never given again.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    crashes INTEGER NOT NULL DEFAULT 0,      -- deaths of workers that ran it
    strays INTEGER NOT NULL DEFAULT 0,       -- 1: its first worker died, and may have begun it
    redelivered INTEGER NOT NULL DEFAULT 0,
    payload BLOB NOT NULL
) STRICT;
CREATE TABLE ready (
    queue INTEGER NOT NULL, priority INTEGER NOT NULL, seq INTEGER NOT NULL, message INTEGER NOT NULL,
    PRIMARY KEY (queue, priority, seq, message)
) STRICT, WITHOUT ROWID;
CREATE TABLE delayed (
    queue INTEGER NOT NULL, due_ms INTEGER NOT NULL, message INTEGER NOT NULL, priority INTEGER NOT NULL,
    PRIMARY KEY (queue, due_ms, message)
) STRICT, WITHOUT ROWID;
CREATE TABLE held (
    message INTEGER PRIMARY KEY, owner INTEGER NOT NULL, queue INTEGER NOT NULL, priority INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    started INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A worker. Its id is the token of everything that it holds; a reclaimed worker's id never comes back.
CREATE TABLE owner (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pid INTEGER NOT NULL, started INTEGER NOT NULL, boot TEXT NOT NULL, namespace TEXT NOT NULL,
    lease_until INTEGER NOT NULL,            -- monotonic ms of that boot
    idle INTEGER NOT NULL DEFAULT 0,         -- waits for messages with credit to take them
    address TEXT NOT NULL
) STRICT;
CREATE TABLE consuming (
    owner INTEGER NOT NULL, queue INTEGER NOT NULL, PRIMARY KEY (owner, queue)
) STRICT, WITHOUT ROWID;
CREATE TABLE waiter (address TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

CREATE TABLE dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL, priority INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
    died_ms INTEGER NOT NULL, payload BLOB NOT NULL
) STRICT;
-- Messages for whoever listens at this moment; dropped after a minute.
CREATE TABLE broadcast (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sent_ms INTEGER NOT NULL, exchange TEXT NOT NULL, routing_key TEXT NOT NULL, payload BLOB NOT NULL
) STRICT;
CREATE TABLE listening (
    owner INTEGER NOT NULL, exchange TEXT NOT NULL, PRIMARY KEY (owner, exchange)
) STRICT, WITHOUT ROWID;

CREATE TABLE result (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    expires_ms INTEGER,
    success INTEGER NOT NULL,
    value BLOB NOT NULL
) STRICT;
CREATE INDEX result_expiry ON result (expires_ms) WHERE expires_ms IS NOT NULL;
";

/// Makes the tables in an empty file, brings older ones up to date, refuses what it does not know.
pub(crate) fn prepare(connection: &Connection, place: &str) -> Result<(), Fault> {
    if is_current(connection, place)? {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    // Another process may have been faster.
    let made = is_current(connection, place).and_then(|done| {
        if !done {
            connection.execute_batch(TABLES)?;
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            connection.pragma_update(None, "user_version", VERSION)?;
        }
        connection.execute_batch("COMMIT")?;
        Ok(())
    });
    if made.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    made
}

/// Whether the tables are there. `Ok(false)`: the file is empty, or migrations (none yet) have to run.
pub(crate) fn is_current(connection: &Connection, place: &str) -> Result<bool, Fault> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if application == APPLICATION_ID && version == VERSION {
        return Ok(true);
    }
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(false);
    }
    let text = if application == APPLICATION_ID {
        format!(
            "broker file '{place}' has tables of version {version}, this celeriac knows {VERSION}: use the celeriac that \
             wrote it, or another file; it is left untouched"
        )
    } else {
        format!(
            "'{place}' is a database of another program (application_id {application}, user_version {version}): name \
             another file, it is left untouched"
        )
    };
    Err(TransportError::Corrupt(text).into())
}
