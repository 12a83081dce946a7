//! Careful starts: a message that was delivered before may be what killed the worker that had it, in the moment it
//! began, before anybody could note that. So it begins only once its start is stored, alone on a child that has nothing
//! else in hand. If the worker dies then, the broker knows whom to blame, and that what was merely held is innocent.
//!
//! - Fresh deliveries pay nothing; those that are careful wait for one cycle each.
//! - The oldest of them that finds no idle child keeps the freest one from being fed, so its turn comes; the other
//!   children go on, and so does what was there before it.
//! - The child gets nothing else until the end is stored, too: what begins meanwhile may kill the worker, and the careful
//!   task would be blamed for it.
//! - What runs on other children at that moment is blamed as well: of several tasks that run nobody can tell.
//! - While no cycle can be stored nothing is careful: those tasks wait in line, and their children do other work.

use celeriac_protocol::DeliveryTag;

use super::children::Job;
use super::{ChildId, Engine, Held, Place, priority};
use crate::{Now, Verdict};

/// What a child is kept free for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Careful {
    tag: DeliveryTag,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Its start is in the next cycle.
    Named,
    /// Its start is in the cycle under way.
    Submitted,
    /// Its start is stored: it goes to the child.
    Stored,
    /// The child has it.
    Given,
    /// It has ended; its end is not stored yet.
    Ended,
}

impl Careful {
    pub(super) fn is_of(self, tag: DeliveryTag) -> bool {
        self.tag == tag
    }
}

impl Held {
    fn is_careful(&self) -> bool {
        self.delivery.redelivered && self.verdict == Verdict::Run
    }
}

impl Engine {
    /// Puts a delivery in line for a child: last of its priority, or first.
    pub(super) fn line_up(&mut self, tag: DeliveryTag, first: bool) {
        let Some(held) = self.find_mut(tag) else { return };
        held.place = Place::Ready;
        let (level, careful) = (priority(&held.delivery), held.is_careful());
        let line = if careful { &mut self.careful } else { &mut self.ready };
        if first {
            line.push_front(level, tag);
        } else {
            line.push(level, tag);
        }
    }

    /// Takes the last in line: the least urgent, and of those the youngest.
    pub(super) fn pop_last(&mut self) -> Option<DeliveryTag> {
        let line = if self.careful.last() > self.ready.last() { &mut self.careful } else { &mut self.ready };
        line.pop_last()
    }

    /// The first delivery that begins carefully, with its level, if it may do so now.
    pub(super) fn first_careful(&mut self, now: Now) -> Option<(usize, DeliveryTag)> {
        if self.careful.is_empty() || !self.pending.may_leave(now) {
            return None;
        }
        while let Some((_, tag)) = self.careful.first() {
            if self.ledger.get(tag).is_some() {
                break;
            }
            self.careful.pop(); // settled in the meantime
        }
        self.careful.first()
    }

    /// Names the first careful delivery as begun. `child`, which has nothing in hand, is kept free for it.
    pub(super) fn name(&mut self, child: ChildId) {
        let Some(tag) = self.careful.pop() else { return };
        let Some(held) = self.ledger.get_mut(tag) else { return };
        held.place = Place::Named(child);
        self.pending.started.push(tag);
        self.children[child].careful = Some(Careful { tag, step: Step::Named });
    }

    /// A cycle that names what has begun is under way.
    pub(super) fn starts_submitted(&mut self) {
        self.step(Step::Named, Step::Submitted);
    }

    /// That cycle is stored.
    pub(super) fn starts_stored(&mut self) {
        self.step(Step::Submitted, Step::Stored);
        self.free_ended();
    }

    fn step(&mut self, from: Step, to: Step) {
        for careful in self.children.iter_mut().filter_map(|child| child.careful.as_mut()) {
            if careful.step == from {
                careful.step = to;
            }
        }
    }

    /// Gives children the tasks whose start is stored.
    pub(super) fn give_stored(&mut self, now: Now) {
        for child in 0..self.children.len() {
            let Some(Careful { tag, step: Step::Stored }) = self.children[child].careful else { continue };
            self.children[child].careful = None;
            let Some((assignment, share_us)) = self.prepare(tag, now) else { continue };
            if let Some(held) = self.ledger.get_mut(tag) {
                held.place = Place::Child(child);
                // With early ack the ack is still to come, once it has run for a while.
                held.begun |= self.tasks.policy(held.task).acks_late;
            }
            let state = &mut self.children[child];
            state.careful = Some(Careful { tag, step: Step::Given });
            state.take(tag, Job::new(share_us));
            self.hand_over(child, vec![assignment], now);
        }
    }

    /// The careful task of a child has ended: the child stays free until that is stored.
    pub(super) fn careful_ended(&mut self, child: ChildId, tag: DeliveryTag) {
        if self.pending.owes(tag) {
            self.children[child].careful = Some(Careful { tag, step: Step::Ended });
        }
    }

    /// Children whose careful task's end is stored, or will never be, may be fed again.
    pub(super) fn free_ended(&mut self) {
        for child in &mut self.children {
            let waits = |careful: &Careful| careful.step != Step::Ended || self.pending.owes(careful.tag);
            child.careful = child.careful.filter(waits);
        }
    }

    /// What waits for its start to be stored goes back in line, as the start was not stored or cannot be now. One that is
    /// in a cycle under way stays if `submitted_too` is not set: its start may yet be stored.
    pub(super) fn unname_all(&mut self, submitted_too: bool) {
        let waits = |careful: Careful| match careful.step {
            Step::Named => true,
            Step::Submitted => submitted_too,
            Step::Stored | Step::Given | Step::Ended => false,
        };
        let mut tags = Vec::new();
        for child in &mut self.children {
            if let Some(careful) = child.careful.filter(|careful| waits(*careful)) {
                child.careful = None;
                tags.push(careful.tag);
            }
        }
        tags.sort_unstable();
        for tag in tags.into_iter().rev() {
            self.unname(tag);
        }
    }

    /// The child takes nothing more: what was to begin there goes back in line.
    pub(super) fn unname_on(&mut self, child: ChildId) {
        if let Some(Careful { tag, step: Step::Named | Step::Submitted | Step::Stored }) = self.children[child].careful
        {
            self.children[child].careful = None;
            self.unname(tag);
        }
    }

    fn unname(&mut self, tag: DeliveryTag) {
        self.pending.started.retain(|of| *of != tag);
        self.line_up(tag, true);
    }

    /// Deliveries that wait for their start to be stored.
    pub(super) fn named(&self) -> usize {
        self.children
            .iter()
            .filter_map(|child| child.careful)
            .filter(|careful| matches!(careful.step, Step::Named | Step::Submitted | Step::Stored))
            .count()
    }
}
