//! The contract's result store on a [`Store`].

use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::ResultWrite;

use super::records;
use super::settings::Settings;
use super::store::Store;
use crate::contract::{Results, TransportError};

/// Expired results dropped in one transaction, so that others get their turn.
const CHUNK: i64 = 2000;

/// See [`Results`].
pub(crate) struct SqliteResults {
    store: &'static Store,
    timeout: Duration,
    max_bytes: usize,
}

impl SqliteResults {
    pub(crate) fn new(settings: &Settings, timeout: Duration) -> Self {
        Self { store: Store::of(settings), timeout, max_bytes: settings.max_bytes }
    }
}

impl Results for SqliteResults {
    fn get(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, TransportError> {
        self.store.read(self.timeout, |db| keys.iter().map(|key| records::get(db, key)).collect())
    }

    fn put(&self, writes: &[ResultWrite]) -> Result<usize, TransportError> {
        if let Some(large) = writes.iter().find(|write| write.value.len() > self.max_bytes) {
            return Err(TransportError::Refused(format!(
                "the result '{}' has {} bytes, over the store's limit of {}: return an address of the data, or raise \
                 max_message_bytes",
                large.key,
                large.value.len(),
                self.max_bytes
            )));
        }
        self.store.write(self.timeout, |db, wakes| records::put(db, wakes, writes))
    }

    fn delete(&self, keys: &[&str]) -> Result<usize, TransportError> {
        self.store.write(self.timeout, |db, _| {
            let mut count = 0;
            for key in keys {
                count += usize::from(records::delete(db, key)?);
            }
            Ok(count)
        })
    }

    fn cleanup(&self) -> Result<u64, TransportError> {
        let mut count = 0;
        loop {
            let done = self.store.write(self.timeout, |db, _| records::expire(db, CHUNK))?;
            count += done as u64;
            if done == 0 {
                return Ok(count);
            }
        }
    }

    fn generation(&self) -> Result<u64, TransportError> {
        self.store.waiting.generation(self.store, self.timeout)
    }

    fn wait_change(&self, seen: u64, timeout: Duration) -> Result<u64, TransportError> {
        self.store.waiting.wait(self.store, seen, timeout)
    }
}
