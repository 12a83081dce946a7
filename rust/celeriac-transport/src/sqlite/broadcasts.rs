//! Messages for whoever listens at the moment.

use super::connection::Db;
use super::fault::Fault;
use super::machine::wall_ms;
use super::notify::Wakes;
use crate::contract::Event;

/// How long a broadcast may be read, in ms.
const LIFE_MS: i64 = 60_000;

/// One of them.
pub(crate) struct Broadcast {
    pub(crate) id: i64,
    pub(crate) exchange: String,
    routing_key: String,
    payload: Vec<u8>,
}

impl Broadcast {
    pub(crate) fn into_event(self) -> Event {
        Event::Broadcast {
            exchange: self.exchange.into(),
            routing_key: self.routing_key.into(),
            payload: self.payload.into(),
        }
    }
}

/// Stores one and drops old ones.
pub(crate) fn send(db: &Db, wakes: &mut Wakes, exchange: &str, routing_key: &str, payload: &[u8]) -> Result<(), Fault> {
    let now = wall_ms();
    db.sql.prepare_cached("DELETE FROM broadcast WHERE sent_ms < ?1")?.execute([now - LIFE_MS])?;
    let mut insert = db
        .sql
        .prepare_cached("INSERT INTO broadcast (sent_ms, exchange, routing_key, payload) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute((now, exchange, routing_key, payload))?;
    wakes.broadcast(exchange);
    Ok(())
}

/// Id of the last one ever sent; later ones are above it.
pub(crate) fn last(db: &Db) -> Result<i64, Fault> {
    let mut last =
        db.sql.prepare_cached("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'broadcast'")?;
    Ok(last.query_row([], |row| row.get(0))?)
}

/// Those above `id`, in order.
pub(crate) fn since(db: &Db, id: i64) -> Result<Vec<Broadcast>, Fault> {
    let mut select =
        db.sql.prepare_cached("SELECT id, exchange, routing_key, payload FROM broadcast WHERE id > ?1 ORDER BY id")?;
    let news = select.query_map([id], |row| {
        Ok(Broadcast { id: row.get(0)?, exchange: row.get(1)?, routing_key: row.get(2)?, payload: row.get(3)? })
    })?;
    Ok(news.collect::<Result<_, _>>()?)
}
