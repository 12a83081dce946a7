//! Checks on reception: whether a message may run, must wait, or is dead on arrival.

use std::collections::HashSet;

use celeriac_protocol::delivery::reasons;
use celeriac_protocol::{Delivery, Head};

use crate::{EngineConfig, Now};

/// Messages due within this time wait here; later ones are parked on the broker.
pub(crate) const WAIT_HERE_MS: i64 = 1_000;

/// Whether a task may run; if not, a child still stores its end, in one step with the settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verdict {
    /// It may.
    #[default]
    Run,
    /// No task of that name is registered here.
    Unknown,
    /// Its time was over before it could start.
    Expired,
    /// Somebody revoked it.
    Revoked,
    /// It took down as many processes as it may.
    Crashed,
    /// The process that ran it died; this child only tells of that.
    Lost,
    /// The process that ran it was killed as its time was over; this child only tells of that.
    TimeLimit,
}

impl Verdict {
    /// The word that Python sees; `None` for [`Verdict::Run`].
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Run => None,
            Self::Unknown => Some("unknown"),
            Self::Expired => Some("expired"),
            Self::Revoked => Some("revoked"),
            Self::Crashed => Some("crashed"),
            Self::Lost => Some("lost"),
            Self::TimeLimit => Some("timelimit"),
        }
    }
}

/// What to do with a message that has just come in and can be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reception {
    Ready,
    /// Due in so many ms.
    Wait(i64),
    /// Due at that time: too far off to be held here.
    Park(i64),
    Dead {
        reason: &'static str,
        detail: String,
    },
}

/// The settings that reception needs.
#[derive(Debug)]
pub(crate) struct Checks {
    accept: HashSet<String>,
    timezone_offset_ms: i64,
    max_message_bytes: usize,
}

impl Checks {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            accept: config.accept.clone(),
            timezone_offset_ms: config.timezone_offset_ms,
            max_message_bytes: config.max_message_bytes,
        }
    }

    /// A naive date was read as UTC; `timezone` says what it really is.
    fn wall(&self, head: &Head, ms: i64) -> i64 {
        if head.naive_dates { ms.saturating_sub(self.timezone_offset_ms) } else { ms }
    }

    pub(crate) fn expired(&self, head: &Head, now: Now) -> bool {
        head.expires_ms.is_some_and(|ms| self.wall(head, ms) < now.wall_ms)
    }

    pub(crate) fn receive(&self, delivery: &Delivery, now: Now) -> Reception {
        let message = &delivery.message;
        let bytes = message.raw.len();
        if bytes > self.max_message_bytes {
            let detail = format!("{bytes} bytes, more than worker_max_message_bytes = {}", self.max_message_bytes);
            return Reception::Dead { reason: reasons::OVERSIZED, detail };
        }
        let head = match &message.head {
            Ok(head) => head,
            Err(malformed) => {
                return Reception::Dead { reason: reasons::MALFORMED, detail: malformed.to_string() };
            }
        };
        let content_type = message.text(&head.content_type);
        if !self.accept.contains(content_type) {
            let shown: String = content_type.chars().take(100).collect();
            let detail = format!("content type {shown:?} is not in accept_content");
            return Reception::Dead { reason: reasons::CONTENT_TYPE, detail };
        }
        let Some(eta_ms) = head.eta_ms.map(|ms| self.wall(head, ms)) else { return Reception::Ready };
        match eta_ms.saturating_sub(now.wall_ms) {
            ..=0 => Reception::Ready,
            // Expires while it waits: its end can be told now.
            _ if self.expired(head, now) => Reception::Ready,
            wait if wait <= WAIT_HERE_MS => Reception::Wait(wait),
            _ => Reception::Park(eta_ms),
        }
    }
}
