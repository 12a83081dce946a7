//! What the main thread is told: a bounded queue, with a count of what did not fit.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::Delivery;

/// Notices that wait at most; news of the hub itself is never dropped.
const CAPACITY: usize = 10_000;

/// The kinds of notice, as Python names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// log
    Log = 0,
    /// up
    Up,
    /// down
    Down,
    /// received
    Received,
    /// unknown
    Unknown,
    /// dead
    Dead,
    /// revoked
    Revoked,
    /// broadcast
    Broadcast,
    /// ready
    Ready,
    /// child
    Child,
    /// stopped
    Stopped,
}

impl NoticeKind {
    /// All, in the order of their numbers.
    pub const ALL: [(&'static str, Self); 11] = [
        ("log", Self::Log),
        ("up", Self::Up),
        ("down", Self::Down),
        ("received", Self::Received),
        ("unknown", Self::Unknown),
        ("dead", Self::Dead),
        ("revoked", Self::Revoked),
        ("broadcast", Self::Broadcast),
        ("ready", Self::Ready),
        ("child", Self::Child),
        ("stopped", Self::Stopped),
    ];
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// Only `ready` and `stopped`, which are always told.
    pub const FEWEST: Self = Self(1 << NoticeKind::Ready as u16 | 1 << NoticeKind::Stopped as u16);

    /// With one more.
    #[must_use]
    pub fn with(self, kind: NoticeKind) -> Self {
        Self(self.0 | 1 << kind as u16)
    }

    /// Whether a kind is in it.
    #[must_use]
    pub fn has(self, kind: NoticeKind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }
}

/// News of a child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildNews {
    /// It can take tasks.
    Up {
        /// Its number.
        child: usize,
        /// Its process.
        pid: i32,
    },
    /// It has ended.
    Down {
        /// Its number.
        child: usize,
        /// Its process; 0 if it never had one.
        pid: i32,
        /// Its wait status, if that is known.
        status: Option<i32>,
    },
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A line for the log: Python's level number and the text.
    Log(u8, String),
    /// The broker is there.
    Up,
    /// The broker is away: why.
    Down(String),
    /// A task came in and will run.
    Received(Arc<Delivery>),
    /// Its task is not registered here.
    Unknown(Arc<Delivery>),
    /// A message went to the dead-letter store.
    Dead {
        /// The message.
        delivery: Arc<Delivery>,
        /// One word.
        reason: &'static str,
        /// A sentence.
        detail: String,
    },
    /// A task will not run: one word why.
    Revoked(Arc<Delivery>, &'static str),
    /// A message of a fanout exchange.
    Broadcast {
        /// Exchange it came through.
        exchange: Arc<str>,
        /// Its routing key.
        routing_key: Arc<str>,
        /// The envelope.
        payload: Bytes,
    },
    /// The worker consumes.
    Ready,
    /// A child process came or went.
    Child(ChildNews),
    /// The hub has ended; if not because it was asked to: why.
    Stopped(Option<String>),
}

impl Notice {
    fn kind(&self) -> NoticeKind {
        match self {
            Self::Log(..) => NoticeKind::Log,
            Self::Up => NoticeKind::Up,
            Self::Down(_) => NoticeKind::Down,
            Self::Received(_) => NoticeKind::Received,
            Self::Unknown(_) => NoticeKind::Unknown,
            Self::Dead { .. } => NoticeKind::Dead,
            Self::Revoked(..) => NoticeKind::Revoked,
            Self::Broadcast { .. } => NoticeKind::Broadcast,
            Self::Ready => NoticeKind::Ready,
            Self::Child(_) => NoticeKind::Child,
            Self::Stopped(_) => NoticeKind::Stopped,
        }
    }

    fn is_essential(&self) -> bool {
        matches!(self, Self::Up | Self::Down(_) | Self::Child(_) | Self::Ready | Self::Stopped(_))
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Notice>,
    /// Since the last call of `take`.
    dropped_lately: u64,
    dropped: u64,
}

#[derive(Debug)]
pub(crate) struct Notices {
    wanted: Kinds,
    queue: Mutex<Queue>,
    came: Condvar,
}

impl Notices {
    pub(crate) fn new(wanted: Kinds) -> Self {
        Self { wanted: Kinds(wanted.0 | Kinds::FEWEST.0), queue: Mutex::default(), came: Condvar::new() }
    }

    pub(crate) fn wants(&self, kind: NoticeKind) -> bool {
        self.wanted.has(kind)
    }

    pub(crate) fn push(&self, notice: Notice) {
        if !self.wants(notice.kind()) {
            return;
        }
        let mut queue = self.lock();
        if queue.waiting.len() >= CAPACITY && !notice.is_essential() {
            queue.dropped_lately += 1;
            queue.dropped += 1;
            return;
        }
        queue.waiting.push_back(notice);
        drop(queue);
        self.came.notify_one();
    }

    /// Everything that waits; if nothing does, waits for something.
    pub(crate) fn take(&self, timeout: Duration) -> Vec<Notice> {
        let mut queue = self.lock();
        if queue.waiting.is_empty() && !timeout.is_zero() {
            queue = self
                .came
                .wait_timeout_while(queue, timeout, |queue| queue.waiting.is_empty())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let mut taken: Vec<_> = queue.waiting.drain(..).collect();
        let dropped = std::mem::take(&mut queue.dropped_lately);
        if dropped > 0 {
            taken.push(Notice::Log(30, format!("{dropped} notices were dropped: more came than were read")));
        }
        taken
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_the_end_is_always_told() {
        let notices = Notices::new(Kinds::FEWEST.with(NoticeKind::Log));
        notices.push(Notice::Down("not wanted".to_owned()));
        for at in 0..CAPACITY + 7 {
            notices.push(Notice::Log(20, at.to_string()));
        }
        notices.push(Notice::Stopped(None));
        let taken = notices.take(Duration::ZERO);
        assert_eq!(taken.len(), CAPACITY + 2);
        assert!(matches!(&taken[0], Notice::Log(20, text) if text == "0"));
        assert!(matches!(&taken[CAPACITY], Notice::Stopped(None)));
        assert!(matches!(&taken[CAPACITY + 1], Notice::Log(30, text) if text.starts_with("7 notices")));
        assert!(notices.take(Duration::ZERO).is_empty());
    }
}
