//! The control page of one child: per slot a state and a start time, written by both sides without a syscall.
//!
//! 4096 bytes with a fixed layout, so that the process pool can map the same page into a child. A slot's word is
//! `sequence << 8 | state`: a job names its slot *and* sequence, so what a child holds of a recalled job can never touch
//! the job that has the slot next. Moves:
//!
//! ```text
//! FREE --hub--> QUEUED --child--> RUNNING --child--> DONE --hub--> FREE
//!                  |   `--child (verdict, undecodable)--^
//!                  `--hub (recall), or child (dropped)--> RECALLED --hub--> FREE
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

/// Slots in a page.
pub(crate) const SLOTS: usize = 252;
const IDLE: u64 = u64::MAX;

/// Where a slot's job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SlotState {
    /// No job.
    Free = 0,
    /// Given to the child, not started.
    Queued = 1,
    /// The child runs it.
    Running = 2,
    /// The child has reported its end.
    Done = 3,
    /// Taken back before it started.
    Recalled = 4,
}

#[derive(Debug)]
#[repr(C)]
struct Slot {
    word: AtomicU64,
    started_us: AtomicU64,
}

/// See the module.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Page {
    /// `sequence << 8 | slot` of the job that runs; all ones for none.
    current: AtomicU64,
    /// Hub: `sequence << 8 | slot` of the job whose soft time limit is over.
    soft_target: AtomicU64,
    /// Child: the memory it has, in KiB.
    pub(crate) resident_kib: AtomicU64,
    /// Hub: the origin of its clock, in ns of the machine's monotonic clock.
    pub(crate) clock_origin_ns: AtomicU64,
    reserved: [AtomicU64; 4],
    slots: [Slot; SLOTS],
}

const _: () = assert!(size_of::<Page>() == 4096, "one page");

impl Page {
    /// All slots free.
    #[must_use]
    pub fn new() -> Self {
        Self {
            current: AtomicU64::new(IDLE),
            soft_target: AtomicU64::new(IDLE),
            resident_kib: AtomicU64::new(0),
            clock_origin_ns: AtomicU64::new(0),
            reserved: [const { AtomicU64::new(0) }; 4],
            slots: [const { Slot { word: AtomicU64::new(0), started_us: AtomicU64::new(0) } }; SLOTS],
        }
    }

    /// Makes zeroed memory a page with all slots free.
    #[cfg(unix)]
    pub(crate) fn clear(&self) {
        self.current.store(IDLE, Ordering::Relaxed);
        self.soft_target.store(IDLE, Ordering::Relaxed);
    }

    /// Hub: names the job whose soft limit is over; a signal follows.
    pub fn limit(&self, slot: usize, sequence: u64) {
        self.soft_target.store(sequence << 8 | slot as u64, Ordering::Release);
    }

    /// Child: whether that is the job that runs. Says so once.
    pub fn take_limit(&self) -> bool {
        let target = self.soft_target.swap(IDLE, Ordering::AcqRel);
        target != IDLE && target == self.current.load(Ordering::Acquire)
    }

    /// Hub: a job takes a free slot.
    pub fn queue(&self, slot: usize, sequence: u64) {
        self.slots[slot].word.store(word(sequence, SlotState::Queued), Ordering::Release);
    }

    /// Hub or child: takes back a job that has not started. False if it has.
    pub fn recall(&self, slot: usize, sequence: u64) -> bool {
        self.step(slot, sequence, SlotState::Queued, SlotState::Recalled)
    }

    /// Child: starts a job. False if it was recalled.
    pub fn start(&self, slot: usize, sequence: u64, now_us: u64) -> bool {
        // Written first, so that whoever sees RUNNING sees its time. Only this child writes it.
        self.slots[slot].started_us.store(now_us, Ordering::Relaxed);
        let started = self.step(slot, sequence, SlotState::Queued, SlotState::Running);
        if started {
            self.current.store(sequence << 8 | slot as u64, Ordering::Release);
        }
        started
    }

    /// Child: ends a job, started or not. False if it was recalled.
    pub fn finish(&self, slot: usize, sequence: u64) -> bool {
        if self.step(slot, sequence, SlotState::Running, SlotState::Done) {
            self.current.store(IDLE, Ordering::Release);
            return true;
        }
        self.step(slot, sequence, SlotState::Queued, SlotState::Done)
    }

    /// Hub: the slot that runs, its sequence and its start.
    #[must_use]
    pub fn running(&self) -> Option<(usize, u64, u64)> {
        let current = self.current.load(Ordering::Acquire);
        if current == IDLE {
            return None;
        }
        let (slot, sequence) = ((current & 0xff) as usize, current >> 8);
        let cell = self.slots.get(slot)?;
        let started_us = cell.started_us.load(Ordering::Relaxed);
        (cell.word.load(Ordering::Acquire) == word(sequence, SlotState::Running))
            .then_some((slot, sequence, started_us))
    }

    /// A job's state; `None` if the slot belongs to another job.
    #[must_use]
    pub fn state(&self, slot: usize, sequence: u64) -> Option<SlotState> {
        use SlotState::{Done, Free, Queued, Recalled, Running};
        let found = self.slots[slot].word.load(Ordering::Acquire);
        [Free, Queued, Running, Done, Recalled].into_iter().find(|&state| found == word(sequence, state))
    }

    fn step(&self, slot: usize, sequence: u64, from: SlotState, to: SlotState) -> bool {
        let (from, to) = (word(sequence, from), word(sequence, to));
        self.slots[slot].word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

fn word(sequence: u64, state: SlotState) -> u64 {
    sequence << 8 | state as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_recalled_job_cannot_start_nor_touch_the_slots_next_job() {
        let page = Page::new();
        page.queue(3, 1);
        assert!(page.recall(3, 1));
        assert!(!page.start(3, 1, 10));
        page.queue(3, 2);
        assert!(!page.start(3, 1, 11) && !page.finish(3, 1) && !page.recall(3, 1));
        assert!(page.start(3, 2, 12));
        assert_eq!(page.running(), Some((3, 2, 12)));
        assert!(!page.recall(3, 2));
        assert!(page.finish(3, 2));
        assert_eq!((page.running(), page.state(3, 2)), (None, Some(SlotState::Done)));
    }

    #[test]
    fn hub_and_child_never_both_get_a_job() {
        let page = Page::new();
        let (started, recalled) = (AtomicUsize::new(0), AtomicUsize::new(0));
        for round in 1..200u64 {
            (0..SLOTS).for_each(|slot| page.queue(slot, round));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let count = (0..SLOTS).filter(|&slot| page.start(slot, round, 1)).count();
                    started.fetch_add(count, Ordering::Relaxed);
                });
                scope.spawn(|| {
                    let count = (0..SLOTS).rev().filter(|&slot| page.recall(slot, round)).count();
                    recalled.fetch_add(count, Ordering::Relaxed);
                });
            });
        }
        assert_eq!(started.into_inner() + recalled.into_inner(), 199 * SLOTS);
    }
}
