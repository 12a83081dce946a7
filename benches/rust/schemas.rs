//! Which tables for a queue in SQLite: the measurement behind docs/adr/0003.
//!
//! A steady drain as a worker does it: in one transaction, 64 messages of 950 bytes are ended (deleted, a result of 180
//! bytes stored) and the next 64 are taken. Each layout is run on a file of its own with 200 000 messages waiting.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a program for people"
)]

use std::time::Instant;

use rusqlite::Connection;

const WAITING: i64 = 200_000;
const DRAINED: i64 = 80_000;
const BATCH: i64 = 64;

/// Name, tables, publish, claim (owner), end (id).
struct Layout {
    name: &'static str,
    tables: &'static str,
    /// Run with `?1` = id, `?2` = payload.
    publish: &'static [&'static str],
    /// Gives id and payload of the first `BATCH` messages.
    look: &'static str,
    /// Run once for all of them, with `?1` = the last one's id.
    take: &'static [&'static str],
    /// Run with `?1` = id.
    end: &'static [&'static str],
}

const LAYOUTS: [Layout; 3] = [
    Layout {
        name: "one table, partial index on what is free",
        tables: "CREATE TABLE message (id INTEGER PRIMARY KEY, queue INTEGER, priority INTEGER, owner INTEGER, payload BLOB);
            CREATE INDEX free ON message (queue, priority, id) WHERE owner IS NULL;",
        publish: &["INSERT INTO message VALUES (?1, 1, 0, NULL, ?2)"],
        look: "SELECT id, payload FROM message WHERE queue = 1 AND owner IS NULL ORDER BY priority, id LIMIT 64",
        take: &["UPDATE message SET owner = 7 WHERE queue = 1 AND owner IS NULL AND priority = 0 AND id <= ?1"],
        end: &["DELETE FROM message WHERE id = ?1"],
    },
    Layout {
        name: "state in one small table, payload in another",
        tables: "CREATE TABLE message (id INTEGER PRIMARY KEY, payload BLOB);
            CREATE TABLE state (id INTEGER PRIMARY KEY, queue INTEGER, priority INTEGER, owner INTEGER);
            CREATE INDEX free ON state (queue, priority, id) WHERE owner IS NULL;",
        publish: &["INSERT INTO message VALUES (?1, ?2)", "INSERT INTO state VALUES (?1, 1, 0, NULL)"],
        look: "SELECT s.id, m.payload FROM state s JOIN message m ON m.id = s.id
            WHERE s.queue = 1 AND s.owner IS NULL ORDER BY s.priority, s.id LIMIT 64",
        take: &["UPDATE state SET owner = 7 WHERE queue = 1 AND owner IS NULL AND priority = 0 AND id <= ?1"],
        end: &["DELETE FROM state WHERE id = ?1", "DELETE FROM message WHERE id = ?1"],
    },
    Layout {
        name: "ready and held tables, payload in another",
        tables: "CREATE TABLE message (id INTEGER PRIMARY KEY, payload BLOB);
            CREATE TABLE ready (queue INTEGER, priority INTEGER, seq INTEGER, message INTEGER,
                PRIMARY KEY (queue, priority, seq, message)) WITHOUT ROWID;
            CREATE TABLE held (message INTEGER PRIMARY KEY, owner INTEGER, queue INTEGER, priority INTEGER, seq INTEGER);",
        publish: &["INSERT INTO message VALUES (?1, ?2)", "INSERT INTO ready VALUES (1, 0, ?1, ?1)"],
        look: "SELECT r.message, m.payload FROM ready r CROSS JOIN message m ON m.id = r.message
            WHERE r.queue = 1 ORDER BY r.priority, r.seq, r.message LIMIT 64",
        take: &[
            "INSERT INTO held SELECT message, 7, queue, priority, seq FROM ready WHERE queue = 1 AND (priority, seq) <= (0, ?1)",
            "DELETE FROM ready WHERE queue = 1 AND (priority, seq) <= (0, ?1)",
        ],
        end: &["DELETE FROM held WHERE message = ?1", "DELETE FROM message WHERE id = ?1"],
    },
];

fn main() {
    let folder = tempfile::tempdir().unwrap();
    for (number, layout) in LAYOUTS.iter().enumerate() {
        let sql = Connection::open(folder.path().join(format!("{number}.db"))).unwrap();
        sql.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -8000; PRAGMA wal_autocheckpoint = 4000;
             CREATE TABLE result (id INTEGER PRIMARY KEY, key BLOB UNIQUE, expires INTEGER, value BLOB);
             CREATE INDEX expiry ON result (expires);",
        )
        .unwrap();
        sql.execute_batch(layout.tables).unwrap();
        let publish = measured(|| publish(&sql, layout));
        let drain = measured(|| drain(&sql, layout));
        println!(
            "{{\"layout\": \"{}\", \"publish_cpu_us\": {:.2}, \"publish_per_second\": {:.0}, \"drain_cpu_us\": {:.2}, \
             \"drain_per_second\": {:.0}}}",
            layout.name,
            publish.1 * 1e6 / WAITING as f64,
            WAITING as f64 / publish.0,
            drain.1 * 1e6 / DRAINED as f64,
            DRAINED as f64 / drain.0
        );
    }
}

fn publish(sql: &Connection, layout: &Layout) {
    let payload = [b'x'; 950];
    for first in (1..=WAITING).step_by(500) {
        sql.execute_batch("BEGIN IMMEDIATE").unwrap();
        for id in first..first + 500 {
            run(sql, &layout.publish[..1], (id, &payload[..]));
            if layout.publish.len() > 1 {
                run(sql, &layout.publish[1..], (id,));
            }
        }
        sql.execute_batch("COMMIT").unwrap();
    }
}

fn drain(sql: &Connection, layout: &Layout) {
    let mut held: Vec<i64> = Vec::new();
    let mut random = 88_172_645_463_325_252_u64;
    let value = [b'r'; 180];
    for _ in 0..DRAINED / BATCH {
        sql.execute_batch("BEGIN IMMEDIATE").unwrap();
        for id in held.drain(..) {
            let mut key = [0_u8; 17];
            for half in key[1..].chunks_mut(8) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                half.copy_from_slice(&random.to_le_bytes());
            }
            let insert = &["INSERT INTO result (key, expires, value) VALUES (?1, ?2, ?3)"];
            run(sql, insert, (&key[..], id, &value[..]));
            run(sql, layout.end, (id,));
        }
        let mut look = sql.prepare_cached(layout.look).unwrap();
        let mut rows = look.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let payload: Vec<u8> = row.get(1).unwrap();
            assert_eq!(payload.len(), 950);
            held.push(row.get(0).unwrap());
        }
        drop(rows);
        if let Some(&last) = held.last() {
            run(sql, layout.take, (last,));
        }
        sql.execute_batch("COMMIT").unwrap();
    }
}

fn run<P: rusqlite::Params + Copy>(sql: &Connection, statements: &[&str], params: P) {
    for statement in statements {
        sql.prepare_cached(statement).unwrap().execute(params).unwrap();
    }
}

/// Wall and CPU seconds.
fn measured(run: impl FnOnce()) -> (f64, f64) {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    run();
    (wall.elapsed().as_secs_f64(), cpu_seconds() - cpu)
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks =
        |at: usize| stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(at)?.parse::<f64>().ok());
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}
