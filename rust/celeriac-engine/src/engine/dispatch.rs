//! Dispatch: ready deliveries to children, in batches.

use std::sync::Arc;

use celeriac_protocol::DeliveryTag;

use super::children::{Child, Job};
use super::{Assignment, ChildId, Engine, Notice, Place, Stopping, Work};
use crate::policy::{BATCH_MAX, BATCH_US, Fill};
use crate::{Now, Verdict};

/// Outcomes that may wait for the transport before no more tasks are started, in bytes of results and continuations.
pub(super) const MAX_PENDING_BYTES: usize = 8 << 20;

/// What a task that must not run costs its child.
const VERDICT_US: u64 = 50;

/// First look at a child after it was given work, in µs.
pub(super) const LOOK_US: u64 = 2_000;

impl Engine {
    /// Gives ready deliveries to children that can take more; see [`Engine::next_work`].
    pub fn dispatch(&mut self, now: Now) {
        // In a warm stop nothing is in line but what is to be told, and only children that are started for it are up.
        if self.stopping == Stopping::Cold || self.pending.bytes > MAX_PENDING_BYTES {
            return;
        }
        self.give_stored(now);
        let mut kept_free = None;
        loop {
            let careful = if kept_free.is_none() { self.first_careful(now) } else { None };
            let fresh = self.first_fresh();
            if careful.is_some_and(|first| fresh.is_none_or(|fresh| first < fresh)) {
                match self.freest_child(|_, _| true) {
                    Some(child) if self.children[child].jobs.is_empty() => {
                        self.name(child);
                        continue;
                    }
                    busy => kept_free = busy,
                }
            }
            if fresh.is_none() {
                return;
            }
            let takes_more =
                |id, child: &Child| Some(id) != kept_free && child.work_us < BATCH_US && child.jobs.len() <= BATCH_MAX;
            let Some(child) = self.freest_child(takes_more) else { return };
            let batch = self.fill(child, careful.filter(|_| kept_free.is_none()), now);
            if batch.is_empty() {
                return;
            }
            self.hand_over(child, batch, now);
        }
    }

    /// Gives a child what it has taken; one that may have no more is replaced once it has ended that.
    pub(super) fn hand_over(&mut self, child: ChildId, batch: Vec<Assignment>, now: Now) {
        let state = &mut self.children[child];
        state.look_after(LOOK_US, now);
        let is_spent = !state.up;
        self.work.push_back(Work::Dispatch { child, batch });
        if is_spent {
            self.work.push_back(Work::Retire { child });
        }
    }

    /// The first delivery that begins like any other, with its level.
    pub(super) fn first_fresh(&mut self) -> Option<(usize, DeliveryTag)> {
        while let Some(first @ (_, tag)) = self.ready.first() {
            if self.find_mut(tag).is_some() {
                return Some(first);
            }
            self.ready.pop(); // settled in the meantime
        }
        None
    }

    /// Of those that `may` take something, and are not kept free for one task: idle ones first, then the one with the
    /// least work.
    fn freest_child(&self, may: impl Fn(ChildId, &Child) -> bool) -> Option<ChildId> {
        let free = self.children.iter().enumerate().filter(|(id, child)| {
            child.up && child.careful.is_none() && child.avoided_until_us == 0 && may(*id, child)
        });
        free.min_by_key(|(_, child)| (child.jobs.len().min(1), child.work_us)).map(|(id, _)| id)
    }

    /// A batch of what is in line before `end`.
    fn fill(&mut self, child: ChildId, end: Option<(usize, DeliveryTag)>, now: Now) -> Vec<Assignment> {
        let mut fill = Fill::default();
        let mut batch = Vec::new();
        let busy = !self.children[child].jobs.is_empty();
        while let Some(place @ (_, tag)) = self.ready.first() {
            if end.is_some_and(|end| end < place) {
                break;
            }
            let Some((assignment, share_us)) = self.prepare(tag, now) else {
                self.ready.pop(); // settled in the meantime
                continue;
            };
            // A long task is not queued behind others: it would wait there while another child becomes free.
            if !fill.fits(share_us) || (busy && batch.is_empty() && share_us >= BATCH_US) {
                break;
            }
            self.ready.pop();
            fill.add(share_us);
            if let Some(held) = self.find_mut(tag) {
                held.place = Place::Child(child);
            }
            self.children[child].take(tag, Job::new(share_us));
            batch.push(assignment);
            if !self.children[child].up {
                break;
            }
        }
        batch
    }

    /// Last checks before a task goes to a child; `None` if it is not held any more.
    pub(super) fn prepare(&mut self, tag: DeliveryTag, now: Now) -> Option<(Assignment, u64)> {
        let held = match self.ledger.get_mut(tag) {
            Some(held) => held,
            None => self.acked.get_mut(&tag)?,
        };
        let message = &held.delivery.message;
        if held.verdict == Verdict::Run
            && let Ok(head) = &message.head
        {
            if self.revoked.contains(message.text(&head.id), now) {
                held.verdict = Verdict::Revoked;
            } else if self.checks.expired(head, now) {
                held.verdict = Verdict::Expired;
                self.revoked.add(message.text(&head.id), now);
            }
            if held.verdict != Verdict::Run {
                self.notices.push(Notice::Revoked(Arc::clone(&held.delivery), held.verdict));
            }
        }
        let share_us = if held.verdict == Verdict::Run { self.tasks.share_us(held.task) } else { VERDICT_US };
        let cause = held.cause.clone();
        Some((Assignment { delivery: Arc::clone(&held.delivery), verdict: held.verdict, cause }, share_us))
    }
}
