//! ETA wheel: items that wait for their time, in µs of the monotonic clock.
//!
//! One-second buckets, and a heap for what is due within the bucket that has begun: an insert costs a push, and only what
//! is nearly due is ever sorted. `cancel` leaves a tombstone that is skipped when its time comes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::hash::TagMap;

const BUCKET_US: u64 = 1_000_000;

/// The name of one entry; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(u64);

#[derive(Debug)]
struct Waiting<T> {
    due_us: u64,
    item: T,
}

/// Items by due time. Of equal times, the one inserted first comes first.
#[derive(Debug)]
pub struct Wheel<T> {
    items: TagMap<u64, Waiting<T>>,
    buckets: BTreeMap<u64, Vec<u64>>,
    near: BinaryHeap<Reverse<(u64, u64)>>,
    /// Buckets up to and including this one have been emptied into `near`.
    opened: Option<u64>,
    next: u64,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self { items: TagMap::default(), buckets: BTreeMap::new(), near: BinaryHeap::new(), opened: None, next: 0 }
    }
}

impl<T> Wheel<T> {
    /// Adds an item; a time that has passed is due at once.
    pub fn insert(&mut self, due_us: u64, item: T) -> TimerId {
        let id = self.next;
        self.next += 1;
        self.items.insert(id, Waiting { due_us, item });
        let bucket = due_us / BUCKET_US;
        if self.opened.is_some_and(|opened| bucket <= opened) {
            self.near.push(Reverse((due_us, id)));
        } else {
            self.buckets.entry(bucket).or_default().push(id);
        }
        TimerId(id)
    }

    /// Takes an item out before its time.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.items.remove(&id.0).map(|waiting| waiting.item)
    }

    /// The next item whose time has come.
    pub fn pop_due(&mut self, now_us: u64) -> Option<T> {
        self.open_until(now_us / BUCKET_US);
        while let Some(&Reverse((due_us, id))) = self.near.peek() {
            if due_us > now_us && self.items.contains_key(&id) {
                return None;
            }
            self.near.pop();
            if let Some(waiting) = self.items.remove(&id) {
                return Some(waiting.item);
            }
        }
        None
    }

    /// When to look again: never later than the next item's time, perhaps earlier.
    pub fn next_due(&mut self) -> Option<u64> {
        while let Some(&Reverse((due_us, id))) = self.near.peek() {
            if self.items.contains_key(&id) {
                return Some(due_us);
            }
            self.near.pop();
        }
        let (_, ids) = self.buckets.first_key_value()?;
        // A bucket is not sorted; its items are few or far, so the exact minimum is cheap or rarely asked for.
        ids.iter().filter_map(|id| self.items.get(id)).map(|waiting| waiting.due_us).min().or_else(|| {
            self.buckets.pop_first();
            self.next_due()
        })
    }

    /// Items that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn open_until(&mut self, bucket: u64) {
        while let Some(entry) = self.buckets.first_entry() {
            if *entry.key() > bucket {
                break;
            }
            for id in entry.remove() {
                if let Some(waiting) = self.items.get(&id) {
                    self.near.push(Reverse((waiting.due_us, id)));
                }
            }
        }
        self.opened = Some(self.opened.map_or(bucket, |opened| opened.max(bucket)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cancelled_item_never_comes() {
        let mut wheel = Wheel::default();
        let first = wheel.insert(2_500_000, "a");
        wheel.insert(2_600_000, "b");
        assert_eq!(wheel.next_due(), Some(2_500_000));
        assert_eq!(wheel.cancel(first), Some("a"));
        assert_eq!(wheel.cancel(first), None);
        assert_eq!(wheel.next_due(), Some(2_600_000));
        assert_eq!(wheel.pop_due(2_599_999), None);
        assert_eq!(wheel.pop_due(2_600_000), Some("b"));
        assert_eq!((wheel.next_due(), wheel.len()), (None, 0));
    }

    proptest! {
        #[test]
        fn items_come_in_order_and_never_early(dues in prop::collection::vec(0u64..10_000_000, 0..200), step in 1u64..3_000_000) {
            let mut wheel = Wheel::default();
            for (at, &due) in dues.iter().enumerate() {
                wheel.insert(due, (due, at));
            }
            let mut expected: Vec<_> = dues.iter().copied().enumerate().map(|(at, due)| (due, at)).collect();
            expected.sort_unstable();
            let mut got = Vec::new();
            let mut now = 0;
            while !wheel.is_empty() {
                if let Some(next) = wheel.next_due() {
                    prop_assert_eq!(next, expected[got.len()].0);
                }
                while let Some((due, at)) = wheel.pop_due(now) {
                    prop_assert!(due <= now);
                    got.push((due, at));
                }
                now += step;
            }
            prop_assert_eq!(got, expected);
        }
    }
}
