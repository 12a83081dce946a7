//! Queues, exchanges, bindings: which queues a message goes to.

use rusqlite::OptionalExtension;

use super::connection::Db;
use super::fault::Fault;
use crate::contract::{QueueSpec, TransportError};
use crate::topology::{Binding, ExchangeSpec};

/// Most routes remembered; then all are forgotten.
const MOST_ROUTES: usize = 4096;

/// Ids of the queues that a message for `exchange` and `routing_key` goes to. The default exchange (empty name) makes
/// the queue if there is none; any other one leads nowhere until something is bound to it.
pub(crate) fn route(db: &mut Db, exchange: &str, routing_key: &str) -> Result<Vec<i64>, Fault> {
    refresh(db)?;
    let name = (exchange.to_owned(), routing_key.to_owned());
    if let Some(known) = db.routes.get(&name) {
        return Ok(known.clone());
    }
    let queues = if exchange.is_empty() { vec![queue_id(db, routing_key)?] } else { bound(db, exchange, routing_key)? };
    if db.routes.len() >= MOST_ROUTES {
        db.routes.clear();
    }
    db.routes.insert(name, queues.clone());
    Ok(queues)
}

/// Forgets routes if another process has changed bindings. Called inside the transaction.
fn refresh(db: &mut Db) -> Result<(), Fault> {
    let version = db.sql.prepare_cached("SELECT version FROM topology")?.query_row([], |row| row.get(0))?;
    if version != db.topology {
        db.routes.clear();
        db.topology = version;
    }
    Ok(())
}

fn bound(db: &Db, exchange: &str, routing_key: &str) -> Result<Vec<i64>, Fault> {
    let kind = exchange_type(db, exchange)?;
    let mut bindings =
        db.sql.prepare_cached("SELECT routing_key, queue FROM binding WHERE exchange = ?1 ORDER BY queue")?;
    let mut rows = bindings.query([exchange])?;
    let mut queues: Vec<i64> = Vec::new();
    while let Some(row) = rows.next()? {
        let key = row.get_ref(0)?.as_str().unwrap_or_default();
        let matched = match kind.as_deref() {
            Some("fanout") => true,
            Some("topic") => topic_matches(key, routing_key),
            _ => key == routing_key,
        };
        let queue = row.get(1)?;
        if matched && queues.last() != Some(&queue) {
            queues.push(queue);
        }
    }
    Ok(queues)
}

fn exchange_type(db: &Db, exchange: &str) -> Result<Option<String>, Fault> {
    let mut find = db.sql.prepare_cached("SELECT type FROM exchange WHERE name = ?1")?;
    Ok(find.query_row([exchange], |row| row.get(0)).optional()?)
}

/// Id of a queue if it exists.
pub(crate) fn find_queue(db: &Db, name: &str) -> Result<Option<i64>, Fault> {
    let mut find = db.sql.prepare_cached("SELECT id FROM queue WHERE name = ?1")?;
    Ok(find.query_row([name], |row| row.get(0)).optional()?)
}

/// Id of a queue, which is made if it does not exist.
pub(crate) fn queue_id(db: &Db, name: &str) -> Result<i64, Fault> {
    if let Some(id) = find_queue(db, name)? {
        return Ok(id);
    }
    if name.is_empty() {
        let text = "a message for the default exchange needs the name of a queue as its routing key".to_owned();
        return Err(TransportError::Refused(text).into());
    }
    db.sql.prepare_cached("INSERT INTO queue (name) VALUES (?1)")?.execute([name])?;
    Ok(db.sql.last_insert_rowid())
}

/// Makes queue, exchanges and bindings as far as they are missing. Returns the queue's id.
pub(crate) fn declare(db: &mut Db, spec: &QueueSpec) -> Result<i64, Fault> {
    for Binding { exchange, .. } in &spec.bindings {
        if !matches!(&*exchange.kind, "direct" | "topic" | "fanout") {
            let text = format!(
                "queue '{}': exchange '{}' has type '{}', the SQLite broker knows direct, topic and fanout",
                spec.name, exchange.name, exchange.kind
            );
            return Err(TransportError::Refused(text).into());
        }
    }
    let queue = queue_id(db, &spec.name)?;
    for Binding { exchange, routing_key, .. } in &spec.bindings {
        bind(db, spec, exchange, routing_key, queue)?;
    }
    Ok(queue)
}

fn bind(db: &mut Db, spec: &QueueSpec, exchange: &ExchangeSpec, routing_key: &str, queue: i64) -> Result<(), Fault> {
    match exchange_type(db, &exchange.name)? {
        None => {
            let mut insert = db.sql.prepare_cached("INSERT INTO exchange VALUES (?1, ?2)")?;
            insert.execute([&exchange.name, &exchange.kind])?;
        }
        Some(known) if known != exchange.kind => {
            let text = format!(
                "exchange '{}' exists with type '{known}', queue '{}' wants it as '{}': use one type, or another name",
                exchange.name, spec.name, exchange.kind
            );
            return Err(TransportError::Refused(text).into());
        }
        Some(_) => {}
    }
    let mut bind = db.sql.prepare_cached("INSERT OR IGNORE INTO binding VALUES (?1, ?2, ?3)")?;
    if bind.execute((&exchange.name, routing_key, queue))? > 0 {
        drop(bind);
        db.sql.prepare_cached("UPDATE topology SET version = version + 1")?.execute([])?;
    }
    Ok(())
}

/// AMQP's topic rule: `*` stands for one word, `#` for any number of words, words are between dots.
fn topic_matches(pattern: &str, key: &str) -> bool {
    // Words of the pattern from the last to the first; `reach[i]`: the pattern's rest matches the key's words from i on.
    let words: Vec<&str> = key.split('.').collect();
    let mut reach = vec![false; words.len() + 1];
    reach[words.len()] = true;
    for part in pattern.split('.').rev() {
        let mut next = vec![false; words.len() + 1];
        for at in (0..=words.len()).rev() {
            next[at] = match part {
                "#" => reach[at] || (at < words.len() && next[at + 1]),
                "*" => at < words.len() && reach[at + 1],
                word => at < words.len() && words[at] == word && reach[at + 1],
            };
        }
        reach = next;
    }
    reach[0]
}

#[cfg(test)]
mod tests {
    use super::topic_matches;

    #[test]
    fn topic_patterns_follow_amqp() {
        for (pattern, key, matched) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.*", "a", false),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("#", "", true),
            ("#", "x.y", true),
            ("#.z", "x.y.z", true),
            ("#.z", "z", true),
            ("#.z.#", "a.z.b.c", true),
            ("*.#.*", "a", false),
            ("*.#.*", "a.b", true),
            ("*", "", true),
            ("a*", "ab", false),
        ] {
            assert_eq!(topic_matches(pattern, key), matched, "{pattern} {key}");
        }
    }
}
