//! Which deliveries of one channel are open, and which acks are still to be sent: few frames for many acks.
//!
//! What is acked below the oldest open delivery goes as one ack of all up to it. What is acked above one that is still open
//! waits a little for it to close, then goes one by one. Bounded by what is open, whatever the tags' numbers: a task that
//! runs for a day must not make the books grow.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long an ack waits for those before it.
const PATIENCE: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    open: BTreeSet<u64>,
    /// Acked, not sent.
    acked: Vec<u64>,
    /// Since when the oldest of `acked` waits.
    since: Option<Instant>,
}

impl Acks {
    /// A delivery came that wants an answer.
    pub(crate) fn delivered(&mut self, tag: u64) {
        self.open.insert(tag);
    }

    /// To be acked; false if it is not open.
    pub(crate) fn ack(&mut self, tag: u64, now: Instant) -> bool {
        let known = self.open.remove(&tag);
        if known {
            self.acked.push(tag);
            self.since.get_or_insert(now);
        }
        known
    }

    /// Answered in another way by the caller (reject, nack); false if it is not open.
    pub(crate) fn answered(&mut self, tag: u64) -> bool {
        self.open.remove(&tag)
    }

    /// Deliveries that are open.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Gives `send` what is to be sent now, `true` for all up to that tag. `all`: nothing waits any longer.
    pub(crate) fn flush(&mut self, now: Instant, all: bool, mut send: impl FnMut(u64, bool)) {
        let Some(since) = self.since else { return };
        let oldest = self.open.first().copied().unwrap_or(u64::MAX);
        let mut below = 0;
        let mut last = 0;
        self.acked.retain(|&tag| {
            if tag < oldest {
                below += 1;
                last = last.max(tag);
            }
            tag > oldest
        });
        if below > 0 {
            send(last, below > 1);
        }
        if all || now.saturating_duration_since(since) >= PATIENCE {
            self.acked.drain(..).for_each(|tag| send(tag, false));
        }
        if self.acked.is_empty() {
            self.since = None;
        }
    }

    /// When to flush at the latest.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn acks_below_the_oldest_open_one_are_one_frame() {
        let now = Instant::now();
        let mut acks = Acks::default();
        (1..=6).for_each(|tag| acks.delivered(tag));
        let sent = |acks: &mut Acks, at: Instant| {
            let mut sent = Vec::new();
            acks.flush(at, false, |tag, multiple| sent.push((tag, multiple)));
            sent
        };
        assert!([2, 1, 3, 5].into_iter().all(|tag| acks.ack(tag, now)));
        assert!(!acks.ack(5, now) && !acks.ack(9, now));
        assert_eq!(sent(&mut acks, now), [(3, true)]);
        assert_eq!(sent(&mut acks, now), []);
        assert_eq!(acks.wake_at(), Some(now + PATIENCE));
        assert_eq!(sent(&mut acks, now + PATIENCE), [(5, false)]);
        assert!(acks.answered(4) && acks.ack(6, now));
        assert_eq!(sent(&mut acks, now), [(6, false)]);
        assert_eq!((acks.open(), acks.wake_at()), (0, None));
    }

    proptest! {
        /// A server that knows what is unacked: each frame names an open delivery, and in the end all acked ones are gone.
        #[test]
        fn a_server_agrees(steps in prop::collection::vec((0u8..4, 0usize..8), 0..300)) {
            let start = Instant::now();
            let (mut acks, mut next) = (Acks::default(), 0);
            let (mut mine, mut server) = (Vec::new(), BTreeSet::new());
            for (at, (step, which)) in steps.into_iter().enumerate() {
                let now = start + Duration::from_millis(at as u64);
                match step {
                    0 => {
                        next += 1;
                        acks.delivered(next);
                        mine.push(next);
                        server.insert(next);
                    }
                    1 if which < mine.len() => prop_assert!(acks.ack(mine.remove(which), now)),
                    2 if which < mine.len() => {
                        let tag = mine.remove(which);
                        prop_assert!(acks.answered(tag) && server.remove(&tag));
                    }
                    _ => {
                        let mut frames = Vec::new();
                        acks.flush(now, which == 7, |tag, multiple| frames.push((tag, multiple)));
                        for (tag, multiple) in frames {
                            prop_assert!(server.remove(&tag));
                            if multiple {
                                server.retain(|&other| other > tag);
                            }
                        }
                        prop_assert!(mine.iter().all(|tag| server.contains(tag)));
                    }
                }
            }
            let mut frames = Vec::new();
            acks.flush(start, true, |tag, multiple| frames.push((tag, multiple)));
            for (tag, multiple) in frames {
                prop_assert!(server.remove(&tag));
                if multiple {
                    server.retain(|&other| other > tag);
                }
            }
            prop_assert_eq!(server.into_iter().collect::<Vec<u64>>(), mine);
            prop_assert_eq!(acks.open(), acks.open.len());
        }
    }
}
