//! Orders for the consumer's thread, and what wakes it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::publisher::Answer;
use crate::bell::Bell;
use crate::contract::{Cycle, QueueSpec};

/// What comes to the thread.
pub(crate) enum Mail {
    Cycle(Cycle),
    Consume(QueueSpec, bool),
    /// The publisher is through with a cycle.
    Published(Answer),
    Stop,
}

/// See the module.
pub(crate) struct Mailbox {
    mail: Mutex<Vec<Mail>>,
    /// There is some.
    full: AtomicBool,
    pub(crate) bell: Bell,
}

impl Mailbox {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { mail: Mutex::default(), full: AtomicBool::new(false), bell: Bell::new()? })
    }

    pub(crate) fn put(&self, mail: Mail) {
        let mut all = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(mail);
        self.full.store(true, Ordering::Release);
        drop(all);
        self.bell.ring();
    }

    /// All orders since the last call.
    pub(crate) fn take(&self) -> Vec<Mail> {
        if !self.is_full() {
            return Vec::new();
        }
        let mut all = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        self.full.store(false, Ordering::Release);
        std::mem::take(&mut *all)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Sleeps until there is mail, or until `until`.
    pub(crate) fn sleep(&self, until: Instant) {
        self.bell.lie_down();
        let left = if self.is_full() { Duration::ZERO } else { until.saturating_duration_since(Instant::now()) };
        let time = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.bell, PollFlags::IN)];
        let rung = poll(&mut fds, Some(&time)).is_ok_and(|count| count > 0);
        self.bell.get_up(rung);
    }
}
