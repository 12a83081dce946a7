//! The hub's end of one child: slots, and the door for batches.
//!
//! The process pool's link will write frames to a socket where this one sends a vector to a channel; slots, states, looks
//! and recall are the same (docs/adr/0005-executor-seam.md).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use celeriac_engine::Assignment;
use celeriac_protocol::DeliveryTag;
use crossbeam_channel::Sender;

use crate::child::{Shared, Ticket, Told};
use crate::page::{SLOTS, SlotState};

#[derive(Debug, Clone, Copy)]
struct Taken {
    tag: DeliveryTag,
    sequence: u64,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    door: Option<Sender<Vec<Ticket>>>,
    slots: Vec<Option<Taken>>,
    free: Vec<usize>,
    sequence: u64,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, door: None, slots: vec![None; SLOTS], free: (0..SLOTS).rev().collect(), sequence: 0 }
    }

    pub(crate) fn open(&mut self, door: Sender<Vec<Ticket>>) {
        self.door = Some(door);
    }

    /// No batch will follow: the child ends when it has seen what it has.
    pub(crate) fn close(&mut self) {
        self.door = None;
    }

    /// Sends a batch. Returns what the child cannot take.
    pub(crate) fn send(&mut self, batch: Vec<Assignment>) -> Vec<DeliveryTag> {
        let Some(door) = &self.door else { return batch.iter().map(|one| one.delivery.tag).collect() };
        let mut refused = Vec::new();
        let mut tickets = Vec::with_capacity(batch.len());
        for Assignment { delivery, verdict } in batch {
            let tag = delivery.tag;
            let Some(slot) = self.free.pop() else {
                refused.push(tag);
                continue;
            };
            self.sequence += 1;
            let sequence = self.sequence;
            self.slots[slot] = Some(Taken { tag, sequence });
            self.shared.page.queue(slot, sequence);
            tickets.push(Ticket { delivery, verdict, slot, sequence });
        }
        if let Err(lost) = door.send(tickets) {
            for ticket in lost.into_inner() {
                self.release(ticket.slot);
                refused.push(ticket.delivery.tag);
            }
        }
        refused
    }

    /// The job in `slot` is over.
    pub(crate) fn release(&mut self, slot: usize) {
        if self.slots.get_mut(slot).and_then(Option::take).is_some() {
            self.free.push(slot);
        }
    }

    /// Takes back everything that was not started.
    pub(crate) fn recall(&mut self) -> Vec<DeliveryTag> {
        let mut tags = Vec::new();
        for slot in 0..self.slots.len() {
            if let Some(taken) = self.slots[slot]
                && self.shared.page.recall(slot, taken.sequence)
            {
                tags.push(taken.tag);
                self.release(slot);
            }
        }
        tags
    }

    /// The task that runs, and since when (µs).
    pub(crate) fn running(&self) -> Option<(DeliveryTag, u64)> {
        let (slot, sequence, since_us) = self.shared.page.running()?;
        let taken = self.slots.get(slot).copied().flatten()?;
        (taken.sequence == sequence).then_some((taken.tag, since_us))
    }

    /// Before a cold stop: nothing starts any more, and every job is either taken back, or seen to have begun, or heard
    /// of in `told`. Returns the first two.
    pub(crate) fn last_look(&mut self, told: &mut Vec<Told>) -> (Vec<DeliveryTag>, Vec<DeliveryTag>) {
        let back = self.recall();
        // By the slots: the page's `current` is written a moment after the start.
        let runs =
            |slot: usize, taken: &Taken| self.shared.page.state(slot, taken.sequence) == Some(SlotState::Running);
        let taken = self.slots.iter().enumerate().filter_map(|(slot, taken)| Some((slot, taken.as_ref()?)));
        let begun = taken.filter(|(slot, taken)| runs(*slot, taken)).map(|(_, taken)| taken.tag).collect();
        self.shared.take_all(told);
        self.release_ended(told);
        (back, begun)
    }

    /// What the child has told, into the empty `told`; slots of ended jobs are free again.
    pub(crate) fn reports(&mut self, told: &mut Vec<Told>) {
        self.shared.take(told);
        self.release_ended(told);
    }

    fn release_ended(&mut self, told: &[Told]) {
        for one in told {
            if let Told::End { slot, .. } | Told::Dropped { slot, .. } = one {
                self.release(*slot);
            }
        }
    }

    pub(crate) fn has_port(&self) -> bool {
        self.shared.has_port.load(Ordering::Acquire)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::AtomicBool;

    use bytes::Bytes;
    use celeriac_engine::Verdict;
    use celeriac_protocol::{Delivery, Message};

    use super::*;
    use crate::Clock;
    use crate::child::{Port, Waker};
    use crate::run::Input;

    /// Both ends of a child, without a hub.
    pub(crate) fn linked() -> (Link, Port) {
        linked_to(crossbeam_channel::unbounded().0)
    }

    pub(crate) fn linked_to(inbox: Sender<Input>) -> (Link, Port) {
        let waker = Arc::new(Waker { inbox, sent: AtomicBool::new(false) });
        let shared = Arc::new(Shared::new(0, Clock::new(), waker));
        shared.has_port.store(true, Ordering::Release);
        let mut link = Link::new(Arc::clone(&shared));
        let (door, batches) = crossbeam_channel::unbounded();
        link.open(door);
        (link, Port::new(shared, batches))
    }

    pub(crate) fn assignment(tag: u64) -> Assignment {
        let message = Message::scan(Bytes::from_static(b"{}"));
        let delivery =
            Delivery { tag: DeliveryTag(tag), queue: "celery".into(), redelivered: false, crashes: 0, message };
        Assignment { delivery: Arc::new(delivery), verdict: Verdict::Run }
    }
}
