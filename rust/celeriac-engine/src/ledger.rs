//! Delivery ledger: which deliveries this worker holds and still owes the broker an answer for.
//!
//! Invariants (`tests/engine_props.rs` drives random schedules against them):
//! - a tag is open from `open` until exactly one `settle`; a second one is an error, not a no-op;
//! - `held()` and `bytes()` are the number and the payload of what is open.
//!
//! Not here: lease renewal (the transport), which answer to give (`outcome.rs`).

use std::collections::hash_map::Entry;

use celeriac_protocol::DeliveryTag;

use crate::Now;
use crate::hash::TagMap;

/// Misuse of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The tag was never opened, or is settled already.
    #[error("delivery {} is not open: never received here, or settled already", .0.0)]
    UnknownTag(DeliveryTag),
    /// The tag is open already: a transport must never give the same one twice.
    #[error("delivery {} is open already", .0.0)]
    OpenTwice(DeliveryTag),
}

#[derive(Debug)]
struct Open<T> {
    item: T,
    bytes: usize,
    since_us: u64,
}

/// Deliveries that are open, each with what the caller knows about it.
#[derive(Debug)]
pub struct Ledger<T> {
    open: TagMap<DeliveryTag, Open<T>>,
    bytes: usize,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self { open: TagMap::default(), bytes: 0 }
    }
}

/// A delivery that has just been settled.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled<T> {
    /// What was kept about it.
    pub item: T,
    /// How long it was held, in µs.
    pub held_us: u64,
}

impl<T> Ledger<T> {
    /// Opens `tag`, whose message has `bytes` bytes.
    ///
    /// # Errors
    /// [`LedgerError::OpenTwice`]; the entry that is open stays as it is.
    pub fn open(&mut self, tag: DeliveryTag, item: T, bytes: usize, now: Now) -> Result<(), LedgerError> {
        match self.open.entry(tag) {
            Entry::Occupied(_) => Err(LedgerError::OpenTwice(tag)),
            Entry::Vacant(slot) => {
                slot.insert(Open { item, bytes, since_us: now.mono_us });
                self.bytes += bytes;
                Ok(())
            }
        }
    }

    /// Closes `tag` and returns what was kept about it.
    ///
    /// # Errors
    /// [`LedgerError::UnknownTag`] if `tag` was never opened or is settled already.
    pub fn settle(&mut self, tag: DeliveryTag, now: Now) -> Result<Settled<T>, LedgerError> {
        let open = self.open.remove(&tag).ok_or(LedgerError::UnknownTag(tag))?;
        self.bytes -= open.bytes;
        Ok(Settled { item: open.item, held_us: now.mono_us.saturating_sub(open.since_us) })
    }

    /// What is kept about an open delivery.
    #[must_use]
    pub fn get(&self, tag: DeliveryTag) -> Option<&T> {
        self.open.get(&tag).map(|open| &open.item)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, tag: DeliveryTag) -> Option<&mut T> {
        self.open.get_mut(&tag).map(|open| &mut open.item)
    }

    /// Deliveries that are open.
    #[must_use]
    pub fn held(&self) -> usize {
        self.open.len()
    }

    /// Bytes of their messages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tags that are open, oldest first. Sorts: not for the hot path.
    #[must_use]
    pub fn tags(&self) -> Vec<DeliveryTag> {
        let mut tags: Vec<_> = self.open.keys().copied().collect();
        tags.sort_unstable();
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Now = |mono_us| Now { mono_us, wall_ms: 0 };

    #[test]
    fn a_second_settle_is_an_error() {
        let mut ledger = Ledger::default();
        let tag = DeliveryTag(7);
        ledger.open(tag, "a", 10, AT(5)).unwrap();
        assert_eq!(ledger.open(tag, "b", 10, AT(6)), Err(LedgerError::OpenTwice(tag)));
        assert_eq!((ledger.held(), ledger.bytes()), (1, 10));
        assert_eq!(ledger.settle(tag, AT(8)), Ok(Settled { item: "a", held_us: 3 }));
        assert_eq!(ledger.settle(tag, AT(9)), Err(LedgerError::UnknownTag(tag)));
        assert_eq!((ledger.held(), ledger.bytes()), (0, 0));
    }
}
