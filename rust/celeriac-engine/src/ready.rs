//! Ready queues: deliveries that may run now, most urgent priority first, oldest first within one.

use std::collections::VecDeque;

use celeriac_protocol::DeliveryTag;

const LEVELS: usize = 10; // priorities 0..=9

/// Tags by priority. Entries whose delivery has gone are skipped by the caller when they surface.
#[derive(Debug, Default)]
pub struct Ready {
    levels: [VecDeque<DeliveryTag>; LEVELS],
    len: usize,
}

impl Ready {
    /// To the end of its priority's queue. Priorities above 9 count as 9.
    pub fn push(&mut self, priority: u8, tag: DeliveryTag) {
        self.levels[usize::from(priority).min(LEVELS - 1)].push_back(tag);
        self.len += 1;
    }

    /// Back to the head of its priority's queue. Several go back in reverse order.
    pub fn push_front(&mut self, priority: u8, tag: DeliveryTag) {
        self.levels[usize::from(priority).min(LEVELS - 1)].push_front(tag);
        self.len += 1;
    }

    /// The next to run.
    pub fn pop(&mut self) -> Option<DeliveryTag> {
        let tag = self.levels.iter_mut().find_map(VecDeque::pop_front)?;
        self.len -= 1;
        Some(tag)
    }

    /// The last to run: the least urgent, and of those the youngest.
    pub fn pop_last(&mut self) -> Option<DeliveryTag> {
        let tag = self.levels.iter_mut().rev().find_map(VecDeque::pop_back)?;
        self.len -= 1;
        Some(tag)
    }

    /// The next to run, left where it is, and its level: comparing two of these says which comes first.
    #[must_use]
    pub fn first(&self) -> Option<(usize, DeliveryTag)> {
        self.levels.iter().enumerate().find_map(|(at, level)| Some((at, *level.front()?)))
    }

    /// The last to run, in the same way.
    #[must_use]
    pub fn last(&self) -> Option<(usize, DeliveryTag)> {
        self.levels.iter().enumerate().rev().find_map(|(at, level)| Some((at, *level.back()?)))
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_first_then_oldest_and_a_recalled_one_before_all_of_its_priority() {
        let mut ready = Ready::default();
        for (priority, tag) in [(3, 1), (0, 2), (3, 3), (99, 4)] {
            ready.push(priority, DeliveryTag(tag));
        }
        ready.push_front(3, DeliveryTag(5));
        ready.push(9, DeliveryTag(6));
        assert_eq!(ready.last(), Some((9, DeliveryTag(6))));
        assert_eq!(ready.pop_last(), Some(DeliveryTag(6)));
        assert_eq!(ready.first(), Some((0, DeliveryTag(2))));
        let order: Vec<_> = std::iter::from_fn(|| ready.pop()).map(|tag| tag.0).collect();
        assert_eq!(order, [2, 5, 1, 3, 4]);
        assert!(ready.is_empty());
    }
}
