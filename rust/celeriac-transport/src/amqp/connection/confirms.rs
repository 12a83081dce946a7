//! Publisher confirms: which of the numbered messages of a channel the server has not answered for.

use std::collections::VecDeque;

/// Messages are numbered from 1 in the order in which they are written.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    /// Answered for, all below the first entry of `open`.
    base: u64,
    /// Whether each message from `base + 1` on is answered for.
    open: VecDeque<bool>,
    unanswered: usize,
}

impl Confirms {
    /// The number of the message that is written now.
    pub(super) fn publish(&mut self) -> u64 {
        self.open.push_back(false);
        self.unanswered += 1;
        self.base + self.open.len() as u64
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// The server answers for message `tag`, or for all up to it; 0 and `multiple` is all. Calls `settled` with the first
    /// and last number of each run that was open before. `None`: there is no such message.
    pub(super) fn answer(&mut self, tag: u64, multiple: bool, mut settled: impl FnMut(u64, u64)) -> Option<()> {
        let last = self.base + self.open.len() as u64;
        let tag = if tag == 0 && multiple { last } else { tag };
        if tag > last || (tag == 0 && !multiple) {
            return None;
        }
        if tag <= self.base {
            return Some(());
        }
        let end = usize::try_from(tag - self.base).ok()?;
        let start = if multiple { 0 } else { end - 1 };
        let mut run: Option<u64> = None;
        for at in start..end {
            let number = self.base + at as u64 + 1;
            if std::mem::replace(&mut self.open[at], true) {
                if let Some(first) = run.take() {
                    settled(first, number - 1);
                }
            } else {
                self.unanswered -= 1;
                run.get_or_insert(number);
            }
        }
        if let Some(first) = run {
            settled(first, tag);
        }
        while self.open.front() == Some(&true) {
            self.open.pop_front();
            self.base += 1;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Confirms;

    fn answers(confirms: &mut Confirms, tag: u64, multiple: bool) -> Vec<(u64, u64)> {
        let mut runs = Vec::new();
        confirms.answer(tag, multiple, |first, last| runs.push((first, last))).unwrap();
        runs
    }

    #[test]
    fn an_answer_counts_once() {
        let mut confirms = Confirms::default();
        assert_eq!((confirms.publish(), confirms.publish(), confirms.publish(), confirms.publish()), (1, 2, 3, 4));
        assert_eq!(answers(&mut confirms, 2, false), [(2, 2)]);
        assert_eq!(answers(&mut confirms, 2, false), []);
        assert_eq!(answers(&mut confirms, 3, true), [(1, 1), (3, 3)]);
        assert_eq!(confirms.unanswered(), 1);
        assert_eq!(confirms.answer(5, true, |_, _| {}), None);
        assert_eq!(answers(&mut confirms, 0, true), [(4, 4)]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_open_numbers(
            schedule in prop::collection::vec((any::<bool>(), 0u64..40, any::<bool>()), 0..200)
        ) {
            let mut confirms = Confirms::default();
            let mut open = BTreeSet::new();
            let mut last = 0;
            for (publish, tag, multiple) in schedule {
                if publish {
                    last += 1;
                    prop_assert_eq!(confirms.publish(), last);
                    open.insert(last);
                } else {
                    let mut told = BTreeSet::new();
                    let known = confirms.answer(tag, multiple, |first, last| told.extend(first..=last)).is_some();
                    prop_assert_eq!(known, tag <= last && (tag > 0 || multiple));
                    let all = multiple && tag == 0;
                    let gone: BTreeSet<u64> = open
                        .iter()
                        .copied()
                        .filter(|&number| known && (number == tag || multiple && number <= tag || all))
                        .collect();
                    prop_assert_eq!(&told, &gone);
                    open.retain(|number| !gone.contains(number));
                }
                prop_assert_eq!(confirms.unanswered(), open.len());
            }
        }
    }
}
