//! Ends: outcomes become settlements, and settlements become cycles, one under way at a time.
//!
//! While a cycle is under way everything piles up for the next: batches grow with load, and an idle worker's cycle leaves
//! at once. A cycle that failed is put back in front of what came since; one that the broker refuses is taken
//! apart until the one end that it refuses is alone, and that message goes to the dead-letter store; so does that of an end
//! which the broker refuses by itself, beside others that it stores.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use celeriac_protocol::delivery::reasons;
use celeriac_protocol::{DeliveryTag, End, Publication, ResultWrite, Settlement};

use super::{ChildId, Cycle, Engine, Failure, Fatal, Notice, Report, Stopping};
use crate::Now;
use crate::outcome::settlement;

/// Most ends in one cycle: bounds the transaction.
const MAX_ENDS: usize = 512;
const FIRST_RETRY_US: u64 = 100_000;
const LAST_RETRY_US: u64 = 5_000_000;

/// What waits for the next cycle.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) ends: Vec<End>,
    /// Ends of a refused cycle: each goes alone.
    alone: VecDeque<End>,
    /// Deliveries whose end was refused: should that as a dead letter be, too, nothing is left to try.
    buried: HashSet<DeliveryTag>,
    /// The next cycle carries no end at all: what belongs to none was refused with the rest. It goes before `alone`, so
    /// that no older state overwrites the end of a task.
    loose_alone: bool,
    /// States of tasks that go on, by their key: of many between two cycles only the last is stored.
    progress: BTreeMap<Arc<str>, (DeliveryTag, ResultWrite)>,
    results: Vec<ResultWrite>,
    publish: Vec<Publication>,
    pub(super) started: Vec<DeliveryTag>,
    /// Bytes of results and continuations in all of the above.
    pub(super) bytes: usize,
    under_way: Option<u64>,
    /// Deliveries that were lost while a cycle was under way: should it fail, nothing of theirs is tried again.
    lost_meanwhile: Vec<DeliveryTag>,
    next_id: u64,
    credit_sent: u64,
    down: bool,
    retry_at_us: Option<u64>,
    retry_step_us: u64,
}

fn weight(results: &[ResultWrite], publish: &[Publication]) -> usize {
    let stored: usize = results.iter().map(|write| write.value.len()).sum();
    stored + publish.iter().map(|publication| publication.payload.len()).sum::<usize>()
}

impl Pending {
    pub(super) fn push(&mut self, end: End) {
        self.bytes += weight(&end.results, &end.publish);
        self.ends.push(end);
    }

    /// Nothing of that delivery may be stored any more.
    pub(super) fn forget(&mut self, tag: DeliveryTag) {
        self.ends.retain(|end| end.tag != tag);
        self.alone.retain(|end| end.tag != tag);
        self.progress.retain(|_, (of, _)| *of != tag);
        self.started.retain(|of| *of != tag);
        if self.under_way.is_some() {
            self.lost_meanwhile.push(tag);
        }
        self.weigh();
    }

    fn weigh(&mut self) {
        let ends = self.ends.iter().chain(&self.alone).map(|end| weight(&end.results, &end.publish)).sum::<usize>();
        let progress = self.progress.values().map(|(_, write)| write.value.len()).sum::<usize>();
        self.bytes = ends + progress + weight(&self.results, &self.publish);
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty()
            && self.alone.is_empty()
            && self.progress.is_empty()
            && self.results.is_empty()
            && self.publish.is_empty()
            && self.started.is_empty()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_empty() && self.under_way.is_none()
    }

    /// When the next cycle may leave, if only time holds it back.
    pub(super) fn retry_at_us(&self) -> Option<u64> {
        self.retry_at_us.filter(|_| !self.down && self.under_way.is_none())
    }

    pub(super) fn is_down(&self) -> bool {
        self.down
    }

    /// The broker is there, and no failure is so young that a cycle must wait.
    pub(super) fn may_leave(&self, now: Now) -> bool {
        !self.down && self.retry_at_us.is_none_or(|at| now.mono_us >= at)
    }

    /// The end of `tag` may not be stored yet.
    pub(super) fn owes(&self, tag: DeliveryTag) -> bool {
        self.under_way.is_some() || self.ends.iter().chain(&self.alone).any(|end| end.tag == tag)
    }
}

impl Engine {
    /// A child reports the end of an attempt.
    pub fn outcome(&mut self, child: ChildId, report: Report, now: Now) {
        let tag = report.tag;
        let careful =
            self.children.get(child).and_then(|state| state.careful).is_some_and(|careful| careful.is_of(tag));
        if !self.children.get_mut(child).is_some_and(|state| state.done(tag)) {
            self.stats.refused += 1;
            return;
        }
        self.children[child].look_after_outcome(now);
        let Some(held) = self.find_mut(tag) else {
            self.stats.refused += 1; // lost or handed back while it ran: somebody else stores its end
            return;
        };
        let (task, verdict, crashes) = (held.task, held.verdict, held.delivery.crashes);
        if let Some(run_ns) = report.run_ns {
            self.tasks.observe(task, run_ns);
        }
        self.stats.ended += 1;
        if !self.pending.progress.is_empty() && !report.results.is_empty() {
            self.pending.progress.retain(|_, (of, _)| *of != tag);
        }
        if !self.pending.started.is_empty() {
            self.pending.started.retain(|of| *of != tag);
        }
        if let Ok(settled) = self.ledger.settle(tag, now) {
            let policy = self.tasks.policy(task);
            let decide = || settlement(report.outcome, verdict, policy, crashes, report.detail.as_deref());
            let answer = settled.item.answer.unwrap_or_else(decide);
            self.count(&answer);
            if let Settlement::Dead { reason, detail } = &answer {
                let detail = detail.clone();
                self.notices.push(Notice::Dead { delivery: settled.item.delivery, reason, detail });
            }
            let Report { results, publish, .. } = report;
            self.pending.push(End { tag, settlement: answer, results, publish });
        } else {
            self.acked.remove(&tag);
            self.pending.bytes += weight(&report.results, &report.publish);
            self.pending.results.extend(report.results);
            self.pending.publish.extend(report.publish);
        }
        if careful {
            self.careful_ended(child, tag);
        }
    }

    /// States of a task that goes on.
    pub fn progress(&mut self, tag: DeliveryTag, results: Vec<ResultWrite>) {
        if self.find_mut(tag).is_none() {
            return;
        }
        let pending = &mut self.pending;
        for write in results {
            let bytes = write.value.len();
            match pending.progress.entry(Arc::clone(&write.key)) {
                Entry::Vacant(slot) => {
                    slot.insert((tag, write));
                    pending.bytes += bytes;
                }
                // Nothing unmakes a success, not here either.
                Entry::Occupied(slot) if slot.get().1.success => {}
                Entry::Occupied(mut slot) => {
                    pending.bytes = (pending.bytes + bytes).saturating_sub(slot.get().1.value.len());
                    slot.insert((tag, write));
                }
            }
        }
    }

    /// Settles an open delivery with nothing to store.
    pub(super) fn settle(&mut self, tag: DeliveryTag, answer: Settlement, now: Now) {
        if self.ledger.settle(tag, now).is_ok() {
            self.count(&answer);
            self.pending.push(End { tag, settlement: answer, results: Vec::new(), publish: Vec::new() });
        }
    }

    /// The next cycle, if one may leave now and has something to say.
    pub fn next_cycle(&mut self, now: Now) -> Option<Cycle> {
        if self.pending.under_way.is_some() || !self.pending.may_leave(now) {
            return None;
        }
        self.pending.retry_at_us = None;
        let ends_now = self.pending.ends.len().min(MAX_ENDS);
        let cut_off = self.pending.alone.len() + self.pending.ends.len() - ends_now;
        let credit = self.credit().saturating_sub(cut_off as u64);
        let credit_total = self.received + credit;
        let pending = &mut self.pending;
        let unused = pending.credit_sent.saturating_sub(self.received);
        let wants_more = credit_total > pending.credit_sent && unused.saturating_mul(2) <= credit;
        let takes_back = self.stopping != Stopping::No && unused > 0;
        if pending.is_empty() && !wants_more && !takes_back {
            return None;
        }
        pending.next_id += 1;
        let mut cycle = Cycle { id: pending.next_id, credit_total, ..Cycle::default() };
        let loose_alone = std::mem::take(&mut pending.loose_alone);
        if loose_alone || !pending.alone.is_empty() {
            cycle.credit_total = self.received;
        }
        if !loose_alone && let Some(end) = pending.alone.pop_front() {
            cycle.ends.push(end);
        } else {
            if !loose_alone {
                cycle.ends.extend(pending.ends.drain(..ends_now));
            }
            // What a failed cycle had comes first: it is older than any state of the same task.
            cycle.results.append(&mut pending.results);
            cycle.results.extend(std::mem::take(&mut pending.progress).into_values().map(|(_, write)| write));
            cycle.publish.append(&mut pending.publish);
            cycle.started.append(&mut pending.started);
        }
        pending.weigh_after_cycle();
        pending.under_way = Some(cycle.id);
        pending.credit_sent = cycle.credit_total;
        if !cycle.started.is_empty() {
            self.starts_submitted();
        }
        Some(cycle)
    }

    /// Deliveries that may be received now, in addition to those received.
    fn credit(&self) -> u64 {
        let children = self.children_up();
        if self.stopping != Stopping::No || children == 0 || self.pending.bytes > super::dispatch::MAX_PENDING_BYTES {
            return 0;
        }
        let expected = self.tasks.overall.expected_us();
        self.window.credit(self.ledger.held(), self.ledger.bytes(), children, expected) as u64
    }

    /// A cycle is stored; the ends of `lost` were refused, as others have them, and so were those in `refused`, for the
    /// reason beside them. A reason without an end says by itself what was.
    pub fn cycled(
        &mut self,
        id: u64,
        lost: &[DeliveryTag],
        refused: impl IntoIterator<Item = (Option<DeliveryTag>, String)>,
    ) {
        if self.pending.under_way == Some(id) {
            self.pending.under_way = None;
        }
        let lost_meanwhile = std::mem::take(&mut self.pending.lost_meanwhile);
        for (end, why) in refused {
            match end {
                Some(tag) if lost_meanwhile.contains(&tag) => {}
                Some(tag) => self.bury_refused(tag, &why),
                None => self.notices.push(Notice::Error(format!("refused by the broker: {why}"))),
            }
        }
        self.pending.retry_step_us = 0;
        self.stats.cycles += 1;
        self.stats.lost += lost.len() as u64;
        for tag in lost {
            if let Some(held) = self.acked.remove(tag) {
                self.orphan(*tag, held); // its ack was refused: whoever has it now stores its end
            }
        }
        if !lost.is_empty() {
            let text =
                format!("the ends of {} tasks were refused: others have them, their lease had run out", lost.len());
            self.notices.push(Notice::Warning(text));
        }
        self.starts_stored();
    }

    /// Nothing of a cycle was done.
    ///
    /// # Errors
    /// [`Fatal`]: no cycle can ever succeed again.
    pub fn failed(&mut self, mut cycle: Cycle, failure: Failure, why: &str, now: Now) -> Result<(), Fatal> {
        self.stats.failed_cycles += 1;
        if self.pending.under_way == Some(cycle.id) {
            self.pending.under_way = None;
        }
        let lost = std::mem::take(&mut self.pending.lost_meanwhile);
        let ends = cycle.ends.len();
        cycle.ends.retain(|end| !lost.contains(&end.tag));
        let whole = cycle.ends.len() == ends;
        cycle.started.retain(|tag| self.ledger.get(*tag).is_some());
        self.pending.started.append(&mut cycle.started);
        self.unname_all(true);
        self.pending.credit_sent = self.pending.credit_sent.min(self.received); // nobody has heard of it
        if failure == Failure::Transient {
            let step = (self.pending.retry_step_us * 2).clamp(FIRST_RETRY_US, LAST_RETRY_US);
            self.pending.retry_step_us = step;
            self.pending.retry_at_us = Some(now.mono_us + step);
            self.put_back(cycle);
            self.free_ended();
            return Ok(());
        }
        if failure == Failure::Permanent {
            return Err(Fatal(why.to_owned()));
        }
        self.take_apart(cycle, whole, why);
        self.free_ended();
        Ok(())
    }

    fn put_back(&mut self, mut cycle: Cycle) {
        let pending = &mut self.pending;
        cycle.ends.append(&mut pending.ends);
        pending.ends = cycle.ends;
        cycle.results.append(&mut pending.results);
        pending.results = cycle.results;
        cycle.publish.append(&mut pending.publish);
        pending.publish = cycle.publish;
        pending.weigh();
    }

    /// `whole`: else what the broker refused may be what was lost meanwhile.
    fn take_apart(&mut self, mut cycle: Cycle, whole: bool, why: &str) {
        let single = whole && cycle.ends.len() == 1 && cycle.results.is_empty() && cycle.publish.is_empty();
        if !cycle.results.is_empty() || !cycle.publish.is_empty() {
            // Nobody waits for a state of a task that goes on; the end of an early-acked one has no message to keep.
            let (results, publish) = (cycle.results.len(), cycle.publish.len());
            if cycle.ends.is_empty() {
                let text = format!("{results} states and {publish} messages were refused and are gone: {why}");
                self.notices.push(Notice::Error(text));
                return;
            }
            self.pending.results.splice(0..0, cycle.results.drain(..));
            self.pending.publish.splice(0..0, cycle.publish.drain(..));
            self.pending.loose_alone = true;
        }
        if !single {
            self.pending.alone.extend(cycle.ends);
            self.pending.weigh();
            return;
        }
        for end in cycle.ends {
            self.bury_refused(end.tag, why);
        }
        self.pending.weigh();
    }

    /// The broker will not store the end of `tag`: its message is kept as a dead letter.
    fn bury_refused(&mut self, tag: DeliveryTag, why: &str) {
        if !self.pending.buried.insert(tag) {
            let text = format!("delivery {} cannot be settled, its lease will run out: {why}", tag.0);
            self.notices.push(Notice::Error(text));
            return;
        }
        let detail = format!("its end was refused by the broker: {why}");
        self.notices.push(Notice::Error(format!("delivery {}: {detail}", tag.0)));
        let settlement = Settlement::Dead { reason: reasons::REJECTED, detail };
        self.pending.alone.push_back(End { tag, settlement, results: Vec::new(), publish: Vec::new() });
    }

    /// The transport lost its broker.
    pub fn down(&mut self) {
        self.pending.down = true;
        self.unname_all(false);
    }

    /// The transport has its broker again.
    pub fn up(&mut self) {
        self.pending.down = false;
        self.pending.retry_at_us = None;
    }
}

impl Pending {
    fn weigh_after_cycle(&mut self) {
        if self.is_empty() {
            self.bytes = 0; // the usual case: everything left
        } else {
            self.weigh();
        }
    }
}
