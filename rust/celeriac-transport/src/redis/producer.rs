//! The contract's producer.

use std::collections::HashMap;
use std::time::Duration;

use celeriac_protocol::Publication;

use super::clock::wall_ms;
use super::fault::Fault;
use super::keys::Keys;
use super::line::{Line, array, int, text};
use super::pack::{Args, Pack};
use super::pool::Pool;
use super::publish;
use super::route::{self, Routes};
use super::settings::Settings;
use super::{dead, depths};
use crate::contract::{DeadLetter, Producer, QueueDepth, QueueSpec, TransportError};

/// Most bytes in one transaction: the server keeps all of them until its end.
const MOST_BYTES: usize = 32 << 20;

/// See [`Producer`].
pub(crate) struct RedisProducer {
    pool: Pool,
    keys: Keys,
}

impl RedisProducer {
    pub(crate) fn new(settings: Settings, timeout: Duration) -> Self {
        Self { keys: Keys::new(&settings), pool: Pool::new(settings, timeout) }
    }

    fn check(&self, payload: &[u8]) -> Result<(), TransportError> {
        let most = self.pool.settings.max_bytes;
        if payload.len() <= most {
            return Ok(());
        }
        Err(TransportError::Refused(format!(
            "a message of {} bytes is over the broker's limit of {most}: store the data elsewhere and send its address, \
             or raise max_message_bytes",
            payload.len()
        )))
    }

    fn store(&self, line: &mut Line, batch: &[Publication]) -> Result<usize, Fault> {
        let settings = &self.pool.settings;
        let routes = Routes::read(line, &self.keys, batch.iter().map(|publication| &*publication.exchange))?;
        let stored = publish::commands(settings, &self.keys, &routes, batch, wall_ms().unsigned_abs())?;
        let fresh = self.pool.unnamed(stored.queues.iter().map(String::as_str));
        let mut count = stored.copies;
        let mut names = Args::new("SADD");
        names.add(&self.keys.queues);
        for name in &fresh {
            names.add(name);
        }
        let mut rest = &stored.commands[..];
        let mut first = true;
        while !rest.is_empty() {
            let mut bytes = 0;
            let chunk = rest
                .iter()
                .take_while(|command| {
                    let fits = bytes == 0 || bytes + command.len() <= MOST_BYTES;
                    bytes += command.len();
                    fits
                })
                .count();
            let (now, later) = rest.split_at(chunk.max(1));
            rest = later;
            let mut pack = Pack::default();
            let named = std::mem::take(&mut first) && !fresh.is_empty();
            let transaction = now.len() > 1 || named;
            if transaction {
                pack.words(&["MULTI"]);
            }
            if named {
                pack.push(&names);
            }
            for command in now {
                pack.push(command);
            }
            if transaction {
                pack.words(&["EXEC"]);
            }
            let mut replies = line.call(&pack)?;
            let replies = if transaction {
                // What was wrong with a command is said when it is queued; EXEC only says that there was something.
                for reply in replies.drain(..pack.len() - 1) {
                    line.check(reply)?;
                }
                array(line.check(replies.pop().unwrap_or_default())?)
            } else {
                replies
            };
            for (reply, command) in replies.into_iter().skip(usize::from(named)).zip(now) {
                let number = int(&line.check(reply)?).unwrap_or(0);
                if stored.broadcasts > 0 && command.is("PUBLISH") {
                    count += usize::try_from(number).unwrap_or(0);
                }
            }
        }
        if !fresh.is_empty() {
            self.pool.name(&fresh);
        }
        Ok(count)
    }
}

impl Producer for RedisProducer {
    fn publish(&self, batch: &[Publication]) -> Result<usize, TransportError> {
        for publication in batch {
            self.check(&publication.payload)?;
        }
        if batch.is_empty() { Ok(0) } else { self.pool.with(|line| self.store(line, batch)) }
    }

    fn declare(&self, queue: &QueueSpec) -> Result<(), TransportError> {
        self.pool.with(|line| route::declare(line, &self.keys, queue))
    }

    fn broadcast(&self, exchange: &str, routing_key: &str, payload: &[u8]) -> Result<(), TransportError> {
        self.check(payload)?;
        let mut publish = Args::new("PUBLISH");
        publish.add(route::channel(&self.pool.settings, exchange, routing_key)).add(payload);
        self.pool.with(|line| line.ask(&Pack::one(&publish)).map(drop))
    }

    fn purge(&self, queue: &str) -> Result<u64, TransportError> {
        let parked = self.keys.parked(queue);
        let lists = self.keys.lists(queue);
        self.pool.with(|line| {
            let mut pack = Pack::default();
            pack.words(&["MULTI"]);
            for list in &lists {
                pack.push(Args::new("LLEN").add(list));
            }
            pack.words(&["ZCARD", &parked]);
            for key in lists.iter().map(Vec::as_slice).chain([parked.as_bytes()]) {
                // Freed in the background: a million messages would stop the server for a second.
                pack.push(Args::new("UNLINK").add(key));
            }
            pack.words(&["EXEC"]);
            let counts = array(line.all(&pack)?.pop().unwrap_or_default());
            Ok(counts.iter().take(lists.len() + 1).filter_map(int).map(i64::unsigned_abs).sum())
        })
    }

    fn depths(&self) -> Result<Vec<QueueDepth>, TransportError> {
        self.pool.with(|line| depths::depths(line, &self.keys))
    }

    fn dead_list(&self, limit: usize, before: Option<i64>) -> Result<Vec<DeadLetter>, TransportError> {
        self.pool.with(|line| dead::list(line, &self.keys, limit, before))
    }

    fn dead_get(&self, id: i64) -> Result<Option<DeadLetter>, TransportError> {
        self.pool.with(|line| Ok(dead::get(line, &self.keys, &[id])?.pop()))
    }

    fn dead_replay(&self, ids: Option<&[i64]>) -> Result<u64, TransportError> {
        self.pool.with(|line| dead::in_chunks(line, &self.keys, ids, dead::replay))
    }

    fn dead_purge(&self, ids: Option<&[i64]>) -> Result<u64, TransportError> {
        self.pool.with(|line| dead::in_chunks(line, &self.keys, ids, dead::delete))
    }
}

/// Field names and values of a hash.
pub(crate) fn fields(reply: redis::Value) -> HashMap<String, redis::Value> {
    let mut fields = HashMap::new();
    let mut members = array(reply).into_iter();
    while let (Some(name), Some(value)) = (members.next(), members.next()) {
        if let Some(name) = text(&name) {
            fields.insert(name, value);
        }
    }
    fields
}
