//! The contract's result store, in Celery's format: one string a key, and a message on the channel of that name.

use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::ResultWrite;

use super::clock::wall_ms;
use super::keys::Keys;
use super::line::{array, bytes, int};
use super::pack::{Args, Pack};
use super::pool::Pool;
use super::script::SOFT;
use super::settings::Settings;
use crate::contract::{Results, TransportError};

/// Writes in one go.
const CHUNK: usize = 500;
/// See [`Results`].
pub(crate) struct RedisResults {
    pool: Pool,
    keys: Keys,
}

impl RedisResults {
    pub(crate) fn new(settings: Settings, timeout: Duration) -> Self {
        let keys = Keys::new(&settings);
        Self { pool: Pool::new(settings, timeout), keys }
    }
}

/// How a state is stored: for how long from now; `None` if it has expired already.
fn words(write: &ResultWrite, key: &str, now_ms: i64) -> Option<Args> {
    let mut args = Args::default();
    args.add(key).add(&write.value);
    if let Some(expires) = write.expires_ms {
        if expires <= now_ms {
            return None;
        }
        // Relative, so that a difference between our clock and the server's does not count.
        args.add("PX").int(expires - now_ms);
    }
    Some(args)
}

/// The commands for `ends` that store states in order and tell who waits for them.
pub(crate) fn commands(writes: &[ResultWrite], now_ms: i64) -> Vec<Args> {
    let alive = writes.iter().filter(|write| write.expires_ms.is_none_or(|expires| expires > now_ms));
    let command = |write: &ResultWrite| {
        let mut command = Args::new(if write.success { "celeriac.result" } else { "celeriac.state" });
        command.add(&*write.key).add(&write.value);
        match write.expires_ms {
            Some(expires) => command.int(expires - now_ms),
            None => command.add(""),
        };
        command
    };
    alive.map(command).collect()
}

impl Results for RedisResults {
    fn get(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, TransportError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = Args::new("MGET");
        for key in keys {
            get.add(key);
        }
        let found = self.pool.with(|line| line.ask(&Pack::one(&get)))?;
        Ok(array(found).into_iter().map(|value| bytes(value).map(Bytes::from)).collect())
    }

    fn put(&self, writes: &[ResultWrite]) -> Result<usize, TransportError> {
        let most = self.pool.settings.max_bytes;
        if let Some(large) = writes.iter().find(|write| write.value.len() > most) {
            return Err(TransportError::Refused(format!(
                "the result '{}' has {} bytes, over the store's limit of {most}: return an address of the data, or raise \
                 max_message_bytes",
                large.key,
                large.value.len()
            )));
        }
        // In a cluster a plain message goes to every node, one of a slot stays with the slot.
        let publish = if self.pool.settings.is_cluster() { "SPUBLISH" } else { "PUBLISH" };
        let mut stored = 0;
        for chunk in writes.chunks(CHUNK) {
            stored += self.pool.with(|line| {
                let now = wall_ms();
                let mut pack = Pack::default();
                // Which replies say whether something was stored.
                let mut answers = Vec::new();
                for write in chunk {
                    let key = &*write.key;
                    let Some(words) = words(write, key, now) else {
                        pack.words(&["DEL", key]);
                        continue;
                    };
                    answers.push(pack.len());
                    if write.success {
                        let mut set = Args::new("SET");
                        pack.push(set.append(&words));
                        pack.push(Args::new(publish).add(key).add(&write.value));
                    } else {
                        let mut value = Args::default();
                        value.add(&write.value);
                        if let Some(expires) = write.expires_ms {
                            value.add("PX").int(expires - now);
                        }
                        pack.run(&SOFT, &self.keys.places([key]), &value);
                    }
                }
                let replies = line.all(&pack)?;
                Ok(answers.iter().filter(|&&at| !matches!(int(&replies[at]), Some(0))).count()
                    + (chunk.len() - answers.len()))
            })?;
        }
        Ok(stored)
    }

    fn delete(&self, keys: &[&str]) -> Result<usize, TransportError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut delete = Args::new("DEL");
        for key in keys {
            delete.add(key);
        }
        let count = self.pool.with(|line| line.ask(&Pack::one(&delete)))?;
        Ok(int(&count).and_then(|count| usize::try_from(count).ok()).unwrap_or(0))
    }

    fn cleanup(&self) -> Result<u64, TransportError> {
        Ok(0) // the server drops what has expired
    }

    fn generation(&self) -> Result<u64, TransportError> {
        Err(no_waiting())
    }

    fn wait_change(&self, _seen: u64, _timeout: Duration) -> Result<u64, TransportError> {
        Err(no_waiting())
    }
}

/// A number that counts all writes would cost each of them a command; who waits on Redis has its messages.
fn no_waiting() -> TransportError {
    TransportError::Refused(
        "results on Redis are waited for by a subscription to their keys' channels, not here".to_owned(),
    )
}
