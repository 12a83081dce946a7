//! The contract's producer on a [`Store`].

use std::time::Duration;

use celeriac_protocol::Publication;

use super::fault::Fault;
use super::settings::Settings;
use super::store::Store;
use super::{broadcasts, dead, records, route};
use crate::contract::{DeadLetter, Producer, QueueDepth, QueueSpec, TransportError};

/// Rows handled in one transaction of a long job, so that others get their turn.
const CHUNK: i64 = 2000;

/// See [`Producer`].
pub(crate) struct SqliteProducer {
    store: &'static Store,
    timeout: Duration,
    max_bytes: usize,
}

impl SqliteProducer {
    pub(crate) fn new(settings: &Settings, timeout: Duration) -> Self {
        Self { store: Store::of(settings), timeout, max_bytes: settings.max_bytes }
    }

    fn check(&self, payload: &[u8]) -> Result<(), TransportError> {
        if payload.len() <= self.max_bytes {
            return Ok(());
        }
        Err(TransportError::Refused(format!(
            "a message of {} bytes is over the broker's limit of {}: store the data elsewhere and send its address, or \
             raise max_message_bytes",
            payload.len(),
            self.max_bytes
        )))
    }

    /// Runs `step` for the given dead letters, or for all that there are now. Not for later ones: a worker may bury again
    /// what was replayed, and this would never end.
    fn in_chunks(
        &self,
        ids: Option<&[i64]>,
        mut step: impl FnMut(&mut super::connection::Db, &mut super::notify::Wakes, i64) -> Result<bool, Fault>,
    ) -> Result<u64, TransportError> {
        let mut count = 0;
        let mut after = i64::MIN;
        let newest = if ids.is_none() { self.store.read(self.timeout, |db| dead::newest(db))? } else { i64::MAX };
        let mut given = ids.map(|ids| ids.chunks(usize::try_from(CHUNK).unwrap_or(1)));
        loop {
            let chunk = given.as_mut().map(|chunks| chunks.next().unwrap_or_default().to_vec());
            let (done, last) = self.store.write(self.timeout, |db, wakes| {
                let chunk = match &chunk {
                    Some(ids) => ids.clone(),
                    None => dead::ids_between(db, after, newest, CHUNK)?,
                };
                let mut done = 0;
                for &id in &chunk {
                    done += u64::from(step(db, wakes, id)?);
                }
                Ok((done, chunk.last().copied()))
            })?;
            count += done;
            match last {
                Some(last) => after = last,
                None => return Ok(count),
            }
        }
    }
}

impl Producer for SqliteProducer {
    fn publish(&self, batch: &[Publication]) -> Result<usize, TransportError> {
        for publication in batch {
            self.check(&publication.payload)?;
        }
        if batch.is_empty() { Ok(0) } else { self.store.publish(batch, self.timeout) }
    }

    fn declare(&self, queue: &QueueSpec) -> Result<(), TransportError> {
        self.store.write(self.timeout, |db, _| route::declare(db, queue)).map(|_| ())
    }

    fn broadcast(&self, exchange: &str, routing_key: &str, payload: &[u8]) -> Result<(), TransportError> {
        self.check(payload)?;
        self.store.write(self.timeout, |db, wakes| broadcasts::send(db, wakes, exchange, routing_key, payload))
    }

    fn purge(&self, queue: &str) -> Result<u64, TransportError> {
        let Some(id) = self.store.read(self.timeout, |db| route::find_queue(db, queue))? else { return Ok(0) };
        let mut count = 0;
        loop {
            let done = self.store.write(self.timeout, |db, _| purge_some(db, id))?;
            count += done;
            if done == 0 {
                return Ok(count);
            }
        }
    }

    fn depths(&self) -> Result<Vec<QueueDepth>, TransportError> {
        self.store.read(self.timeout, |db| {
            let mut select = db.sql.prepare_cached(
                "SELECT name, (SELECT count(*) FROM ready WHERE queue = q.id), \
                 (SELECT count(*) FROM delayed WHERE queue = q.id), (SELECT count(*) FROM held WHERE queue = q.id) \
                 FROM queue q ORDER BY name",
            )?;
            let depths = select.query_map([], |row| {
                let count = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
                Ok(QueueDepth { name: row.get(0)?, ready: count(1)?, delayed: count(2)?, held: count(3)? })
            })?;
            Ok(depths.collect::<Result<_, _>>()?)
        })
    }

    fn dead_list(&self, limit: usize, before: Option<i64>) -> Result<Vec<DeadLetter>, TransportError> {
        self.store.read(self.timeout, |db| dead::list(db, limit, before))
    }

    fn dead_get(&self, id: i64) -> Result<Option<DeadLetter>, TransportError> {
        self.store.read(self.timeout, |db| dead::get(db, id))
    }

    fn dead_replay(&self, ids: Option<&[i64]>) -> Result<u64, TransportError> {
        self.in_chunks(ids, dead::replay)
    }

    fn dead_purge(&self, ids: Option<&[i64]>) -> Result<u64, TransportError> {
        self.in_chunks(ids, |db, _, id| dead::delete(db, id))
    }
}

/// Deletes some ready or delayed messages of a queue; 0 when there are none left.
fn purge_some(db: &super::connection::Db, queue: i64) -> Result<u64, Fault> {
    let mut count = 0;
    for (messages, places) in [
        (
            "DELETE FROM message WHERE id IN (SELECT message FROM ready WHERE queue = ?1 ORDER BY priority, seq, message LIMIT ?2)",
            "DELETE FROM ready WHERE queue = ?1 AND (priority, seq, message) IN \
             (SELECT priority, seq, message FROM ready WHERE queue = ?1 ORDER BY priority, seq, message LIMIT ?2)",
        ),
        (
            "DELETE FROM message WHERE id IN (SELECT message FROM delayed WHERE queue = ?1 ORDER BY due_ms, message LIMIT ?2)",
            "DELETE FROM delayed WHERE queue = ?1 AND (due_ms, message) IN \
             (SELECT due_ms, message FROM delayed WHERE queue = ?1 ORDER BY due_ms, message LIMIT ?2)",
        ),
    ] {
        count += db.sql.prepare_cached(messages)?.execute([queue, CHUNK])?;
        db.sql.prepare_cached(places)?.execute([queue, CHUNK])?;
    }
    // Expired results have no other regular visitor in a deployment without workers.
    records::expire(db, CHUNK)?;
    Ok(count as u64)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::Options;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn memory(name: &str) -> SqliteProducer {
        let settings = Settings::parse(&format!("memory://{name}"), &Options::new()).unwrap();
        SqliteProducer::new(&settings, TIMEOUT)
    }

    fn bury(db: &super::super::connection::Db) -> Result<(), Fault> {
        let sql =
            "INSERT INTO dead (queue, priority, reason, detail, died_ms, payload) VALUES ('q', 0, '', '', 0, x'')";
        db.sql.execute(sql, [])?;
        Ok(())
    }

    #[test]
    fn dead_letters_that_are_buried_again_meanwhile_are_left_for_the_next_call() {
        let producer = memory("buried-again");
        producer.store.write(TIMEOUT, |db, _| (0..3).try_for_each(|_| bury(db))).unwrap();
        let mut steps = 0;
        let done = producer.in_chunks(None, |db, _, id| {
            steps += 1;
            if steps > 100 {
                return Err(TransportError::Refused("it never ends".to_owned()).into());
            }
            bury(db)?;
            dead::delete(db, id)
        });
        assert_eq!(done.unwrap(), 3);
        assert_eq!(producer.dead_list(10, None).unwrap().len(), 3);
    }

    #[test]
    fn a_panic_leaves_no_route_to_a_queue_that_was_never_made() {
        let producer = memory("panic");
        let broken = catch_unwind(AssertUnwindSafe(|| {
            producer.store.write::<()>(TIMEOUT, |db, _| {
                route::route(db, "", "new")?;
                panic!("as a defect would")
            })
        }));
        assert!(broken.is_err());
        let message = Publication {
            exchange: "".into(),
            routing_key: "new".into(),
            priority: 0,
            due_ms: None,
            payload: bytes::Bytes::from_static(b"x"),
        };
        assert_eq!(producer.publish(&[message]).unwrap(), 1);
        let depths = producer.depths().unwrap();
        assert_eq!(depths.iter().map(|depth| (&*depth.name, depth.ready)).collect::<Vec<_>>(), [("new", 1)]);
    }
}
