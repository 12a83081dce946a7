//! Ids of tasks that must not run any more: a limited set whose entries expire.
//!
//! Celery's limits: 50 000 ids, 3 hours, and expiry is applied only when the set is over its limit.

use std::collections::{HashMap, VecDeque};

use crate::Now;

/// Most ids that are remembered.
pub const LIMIT: usize = 50_000;
/// How long an id is worth remembering, in µs.
pub const KEEP_US: u64 = 10_800 * 1_000_000;

/// The set.
#[derive(Debug)]
pub struct Revoked {
    since: HashMap<Box<str>, u64>,
    order: VecDeque<(u64, Box<str>)>,
    limit: usize,
}

impl Default for Revoked {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl Revoked {
    /// A set of at most `limit` ids.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { since: HashMap::new(), order: VecDeque::new(), limit }
    }

    /// Adds an id, or renews it.
    pub fn add(&mut self, id: &str, now: Now) {
        self.since.insert(id.into(), now.mono_us);
        self.order.push_back((now.mono_us, id.into()));
        while self.since.len() > self.limit || self.order.len() > self.limit.saturating_mul(2) {
            let Some((since, oldest)) = self.order.pop_front() else { break };
            // A renewed id has a younger entry further back, which is the one that counts.
            if self.since.get(&oldest) == Some(&since) {
                self.since.remove(&oldest);
            }
        }
    }

    /// Whether the id was revoked not too long ago.
    #[must_use]
    pub fn contains(&self, id: &str, now: Now) -> bool {
        !self.since.is_empty() && self.since.get(id).is_some_and(|since| now.mono_us.saturating_sub(*since) < KEEP_US)
    }

    /// Ids in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.since.len()
    }

    /// Nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.since.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_full_and_ids_expire() {
        let at = |mono_us| Now { mono_us, wall_ms: 0 };
        let mut revoked = Revoked::with_limit(2);
        revoked.add("a", at(0));
        revoked.add("b", at(1));
        revoked.add("a", at(2)); // renewed: younger than b now
        revoked.add("c", at(3));
        assert_eq!(revoked.len(), 2);
        assert!(revoked.contains("a", at(3)) && revoked.contains("c", at(3)) && !revoked.contains("b", at(3)));
        assert!(!revoked.contains("a", at(2 + KEEP_US)));
        (0..1000).for_each(|_| revoked.add("x", at(4)));
        assert!(revoked.order.len() <= 5, "renewals do not pile up");
    }
}
