//! Dispatch: ready deliveries to children, in batches.

use std::sync::Arc;

use celeriac_protocol::DeliveryTag;

use super::children::Job;
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
        if self.stopping != Stopping::No || self.pending.bytes > MAX_PENDING_BYTES {
            return;
        }
        while !self.ready.is_empty() {
            let Some(child) = self.freest_child(now) else { return };
            let batch = self.fill(child, now);
            if batch.is_empty() {
                return;
            }
            let state = &mut self.children[child];
            state.look_after(LOOK_US, now);
            let is_spent = !state.up;
            self.work.push_back(Work::Dispatch { child, batch });
            if is_spent {
                self.work.push_back(Work::Retire { child });
            }
        }
    }

    /// Idle ones first, then the one with the least work; none that has a batch's worth in hand.
    fn freest_child(&self, now: Now) -> Option<ChildId> {
        let takes_more = self
            .children
            .iter()
            .enumerate()
            .filter(|(_, child)| child.up && child.avoided_until_us <= now.mono_us)
            .filter(|(_, child)| child.work_us < BATCH_US && child.jobs.len() <= BATCH_MAX);
        takes_more.min_by_key(|(_, child)| (child.jobs.len().min(1), child.work_us)).map(|(id, _)| id)
    }

    fn fill(&mut self, child: ChildId, now: Now) -> Vec<Assignment> {
        let mut fill = Fill::default();
        let mut batch = Vec::new();
        let busy = !self.children[child].jobs.is_empty();
        while let Some(tag) = self.ready.peek() {
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
            let state = &mut self.children[child];
            state.jobs.insert(tag, Job { share_us });
            state.work_us += share_us;
            batch.push(assignment);
            if state.spend() {
                break;
            }
        }
        batch
    }

    /// Last checks before a task goes to a child; `None` if it is not held any more.
    fn prepare(&mut self, tag: DeliveryTag, now: Now) -> Option<(Assignment, u64)> {
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
