//! What this worker holds: pure state.
//!
//! - A tag is here from its claim until it is settled, given back or found lost.
//! - A batch (messages that one claim took from one list) is recorded in the server until none of it is here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use celeriac_protocol::DeliveryTag;

/// Crashes of a message, kept under a key of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crashes {
    pub(crate) key: String,
    pub(crate) counted: u32,
    /// Deaths of workers that held it before it began.
    pub(crate) strays: u32,
}

impl Crashes {
    /// `counted strays`, as it is stored.
    pub(crate) fn parse(key: String, text: Option<&str>) -> Self {
        let mut numbers = text.unwrap_or_default().split(' ').map(|number| number.parse().unwrap_or(0));
        Self { key, counted: numbers.next().unwrap_or(0), strays: numbers.next().unwrap_or(0) }
    }

    /// After a crash while it ran: whoever died with it before probably died of it.
    pub(crate) fn crashed(&self) -> Self {
        Self { key: self.key.clone(), counted: self.counted + 1 + self.strays, strays: 0 }
    }

    /// After the death of a worker that had not begun with it.
    pub(crate) fn strayed(&self) -> Self {
        Self { key: self.key.clone(), counted: self.counted, strays: self.strays + 1 }
    }

    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.counted, self.strays)
    }
}

/// A queue as far as its messages care.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) queue: Arc<str>,
    pub(crate) list: Vec<u8>,
    pub(crate) step: u8,
    /// What follows the message in its claim's record.
    pub(crate) tail: String,
}

/// One message that is held.
#[derive(Debug, Clone)]
pub(crate) struct One {
    pub(crate) batch: u64,
    pub(crate) home: Arc<Home>,
    pub(crate) started: bool,
    /// For messages that somebody had before.
    pub(crate) crashes: Option<Crashes>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Held {
    ones: HashMap<u64, One>,
    left: HashMap<u64, usize>,
    /// Batches of which nothing is left, and tasks that had begun and ended: to be forgotten by the server.
    pub(crate) emptied: Vec<u64>,
    pub(crate) ended: Vec<u64>,
}

/// So many numbers are worth a command that nothing else would need.
const MANY: usize = 32;

impl Held {
    /// Whether the server should be told of `emptied` and `ended` now. What it does not know of yet costs it a field each;
    /// a command a task, when tasks come one at a time, was a tenth of what their ends cost it.
    pub(crate) fn tells(&self) -> bool {
        self.emptied.len() + self.ended.len() >= MANY
    }

    pub(crate) fn add(&mut self, tag: DeliveryTag, one: One) {
        *self.left.entry(one.batch).or_insert(0) += 1;
        self.ones.insert(tag.0, one);
    }

    pub(crate) fn get(&self, tag: DeliveryTag) -> Option<&One> {
        self.ones.get(&tag.0)
    }

    pub(crate) fn start(&mut self, tag: DeliveryTag) -> bool {
        self.ones.get_mut(&tag.0).is_some_and(|one| !std::mem::replace(&mut one.started, true))
    }

    pub(crate) fn remove(&mut self, tag: DeliveryTag) -> Option<One> {
        let one = self.ones.remove(&tag.0)?;
        if one.started {
            self.ended.push(tag.0);
        }
        if let Some(left) = self.left.get_mut(&one.batch) {
            *left -= 1;
            if *left == 0 {
                self.left.remove(&one.batch);
                self.emptied.push(one.batch);
            }
        }
        Some(one)
    }

    /// Batches of which messages went back before they were held: to be forgotten by the server, too, unless some of them
    /// are here.
    pub(crate) fn forget(&mut self, batches: HashSet<u64>) {
        self.emptied.extend(batches.into_iter().filter(|batch| !self.left.contains_key(batch)));
    }

    /// All tags, oldest first.
    pub(crate) fn tags(&self) -> Vec<DeliveryTag> {
        let mut tags: Vec<u64> = self.ones.keys().copied().collect();
        tags.sort_unstable();
        tags.into_iter().map(DeliveryTag).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_empty_with_its_last_message() {
        let home = Arc::new(Home { queue: "q".into(), list: b"q".to_vec(), step: 0, tail: String::new() });
        let mut held = Held::default();
        for tag in 5..8 {
            held.add(DeliveryTag(tag), One { batch: 5, home: Arc::clone(&home), started: false, crashes: None });
        }
        assert!(held.start(DeliveryTag(6)));
        assert!(!held.start(DeliveryTag(6)));
        assert!(!held.start(DeliveryTag(99)));
        for tag in [6, 5] {
            held.remove(DeliveryTag(tag)).unwrap();
        }
        assert!(held.emptied.is_empty());
        assert!(held.remove(DeliveryTag(6)).is_none());
        held.remove(DeliveryTag(7)).unwrap();
        assert_eq!((held.emptied, held.ended, held.ones.len()), (vec![5], vec![6], 0));
    }

    #[test]
    fn what_is_over_is_told_many_at_a_time() {
        let mut held = Held::default();
        held.forget((1..MANY as u64).collect());
        assert!(!held.tells());
        held.forget([0].into());
        assert!(held.tells());
    }

    #[test]
    fn a_message_that_kills_before_it_begins_is_found_out_by_the_next_crash() {
        let none = Crashes::parse("k".into(), None);
        let stray = Crashes::parse("k".into(), Some(&none.strayed().text()));
        assert_eq!((stray.counted, stray.strays), (0, 1));
        assert_eq!((stray.crashed().counted, stray.crashed().strays), (2, 0));
    }
}
