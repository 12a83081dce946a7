//! Deliveries that the hub holds, across connections.
//!
//! A broker's tag is good on its connection alone. When that breaks the server puts back what was open, and it may come again to us, who may be running
//! it: then the delivery goes on under the new tag instead of running twice. A delivery that ended meanwhile is owed its answer until then.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_protocol::{DeliveryTag, Message};

/// How long an answer is owed: what comes later than that is run again.
const OWED: Duration = Duration::from_secs(3600);
/// Most answers that are owed.
const MOST: usize = 10_000;

/// What makes us know a message that comes again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    queue: Arc<str>,
    id: Box<str>,
    retries: u32,
}

impl Name {
    /// `None` for what is no message of a task.
    pub(crate) fn of(queue: &Arc<str>, message: &Message) -> Option<Self> {
        let head = message.head.as_ref().ok()?;
        Some(Self { queue: Arc::clone(queue), id: message.text(&head.id).into(), retries: head.retries })
    }
}

/// A delivery.
#[derive(Debug, Clone)]
pub(crate) struct One {
    /// Which connection `tag` belongs to.
    pub(crate) epoch: u64,
    pub(crate) tag: u64,
    pub(crate) queue: Arc<str>,
    pub(crate) crashes: u32,
    /// In AMQP's form.
    pub(crate) raw: Bytes,
}

/// An answer that a message is still owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Ack,
    /// To the dead-letter exchange of its queue.
    Reject,
}

/// What is to be done with a message that comes again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It has ended: this is its answer.
    Ended(Due),
    /// It is still held, and has its new tag.
    Adopted,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Held {
    all: HashMap<DeliveryTag, One>,
    /// Of earlier connections.
    orphans: HashMap<Name, VecDeque<DeliveryTag>>,
    owed: HashMap<Name, (Due, Instant)>,
}

impl Held {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn add(&mut self, tag: DeliveryTag, one: One) {
        self.all.insert(tag, one);
    }

    pub(crate) fn get(&self, tag: DeliveryTag) -> Option<&One> {
        self.all.get(&tag)
    }

    pub(crate) fn remove(&mut self, tag: DeliveryTag) -> Option<One> {
        self.all.remove(&tag)
    }

    /// The connection broke: everything held is an orphan.
    pub(crate) fn orphan(&mut self) {
        self.orphans.clear();
        for (tag, one) in &self.all {
            if let Some(name) = Name::of(&one.queue, &Message::scan(one.raw.clone())) {
                self.orphans.entry(name).or_default().push_back(*tag);
            }
        }
    }

    /// A delivery of an earlier connection has ended.
    pub(crate) fn owe(&mut self, queue: &Arc<str>, raw: &Bytes, due: Due, now: Instant) {
        let Some(name) = Name::of(queue, &Message::scan(raw.clone())) else { return };
        self.owed.retain(|_, (_, since)| now.saturating_duration_since(*since) < OWED);
        if self.owed.len() < MOST {
            self.owed.insert(name, (due, now));
        }
    }

    /// What is known of a message that comes again as `tag` of connection `epoch`.
    pub(crate) fn recall(&mut self, queue: &Arc<str>, message: &Message, epoch: u64, tag: u64) -> Option<Known> {
        if self.orphans.is_empty() && self.owed.is_empty() {
            return None;
        }
        let name = Name::of(queue, message)?;
        while let Some(orphan) = self.orphans.get_mut(&name).and_then(VecDeque::pop_front) {
            if let Some(one) = self.all.get_mut(&orphan).filter(|one| one.epoch < epoch) {
                (one.epoch, one.tag) = (epoch, tag);
                return Some(Known::Adopted);
            }
        }
        self.orphans.remove(&name);
        self.owed.remove(&name).map(|(due, _)| Known::Ended(due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, retries: u32) -> Message {
        let text = format!(
            r#"{{"body": "W10=", "content-type": "application/json", "content-encoding": "utf-8",
                "headers": {{"task": "t", "id": "{id}", "retries": {retries}}},
                "properties": {{"body_encoding": "base64"}}}}"#
        );
        let message = Message::scan(text.into());
        assert!(message.head.is_ok(), "{message:?}");
        message
    }

    fn one(id: &str) -> One {
        One { epoch: 1, tag: 7, queue: "q".into(), crashes: 0, raw: message(id, 0).raw }
    }

    #[test]
    fn what_is_held_is_adopted_once_under_its_new_tag() {
        let (mut held, queue) = (Held::default(), "q".into());
        held.add(DeliveryTag(1), one("a"));
        assert_eq!(held.recall(&queue, &message("a", 0), 2, 9), None, "nothing broke");
        held.orphan();
        assert_eq!(held.recall(&queue, &message("b", 0), 2, 9), None);
        assert_eq!(held.recall(&queue, &message("a", 1), 2, 9), None, "a retry is another message");
        assert_eq!(held.recall(&"p".into(), &message("a", 0), 2, 9), None);
        assert_eq!(held.recall(&queue, &message("a", 0), 2, 9), Some(Known::Adopted));
        assert_eq!(held.get(DeliveryTag(1)).map(|one| (one.epoch, one.tag)), Some((2, 9)));
        assert_eq!(held.recall(&queue, &message("a", 0), 2, 10), None, "a second copy is one more message");
    }

    #[test]
    fn what_ended_meanwhile_is_answered_once() {
        let (mut held, queue) = (Held::default(), "q".into());
        let now = Instant::now();
        held.add(DeliveryTag(1), one("a"));
        held.orphan();
        let ended = held.remove(DeliveryTag(1)).unwrap();
        held.owe(&queue, &ended.raw, Due::Reject, now);
        assert_eq!(held.recall(&queue, &message("a", 0), 2, 9), Some(Known::Ended(Due::Reject)));
        assert_eq!(held.recall(&queue, &message("a", 0), 2, 9), None);
        held.owe(&queue, &ended.raw, Due::Ack, now);
        held.owe(&queue, &one("b").raw, Due::Ack, now + OWED);
        assert_eq!(held.recall(&queue, &message("a", 0), 2, 9), None, "too long ago");
        assert_eq!(held.len(), 0);
    }
}
