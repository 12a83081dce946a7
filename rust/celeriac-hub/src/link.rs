//! The hub's end of one child: slots, and the door for batches.
//!
//! A child of this process gets its batches through a channel, a child process through a socket; slots, states, looks
//! and recall are the same (docs/adr/0005-executor-seam.md).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use celeriac_engine::Assignment;
use celeriac_protocol::DeliveryTag;
use crossbeam_channel::Sender;

use crate::child::{Shared, Ticket, Told};
use crate::page::{Page, SLOTS, SlotState};
#[cfg(unix)]
use crate::processes::{away::Away, frame};

#[derive(Debug, Clone, Copy)]
struct Taken {
    tag: DeliveryTag,
    sequence: u64,
}

/// Where the child is.
#[derive(Debug)]
enum Far {
    Here {
        shared: Arc<Shared>,
        door: Option<Sender<Vec<Ticket>>>,
    },
    /// A process, or the place of one.
    #[cfg(unix)]
    Away(Option<Box<Away>>),
}

#[derive(Debug)]
pub(crate) struct Link {
    far: Far,
    slots: Vec<Option<Taken>>,
    free: Vec<usize>,
    sequence: u64,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self::to(Far::Here { shared, door: None })
    }

    /// The place of a child process.
    #[cfg(unix)]
    pub(crate) fn vacant() -> Self {
        Self::to(Far::Away(None))
    }

    fn to(far: Far) -> Self {
        Self { far, slots: vec![None; SLOTS], free: (0..SLOTS).rev().collect(), sequence: 0 }
    }

    pub(crate) fn open(&mut self, to: Sender<Vec<Ticket>>) {
        if let Far::Here { door, .. } = &mut self.far {
            *door = Some(to);
        }
    }

    /// A new process takes the place; no job is in it.
    #[cfg(unix)]
    pub(crate) fn occupy(&mut self, away: Away) {
        let sequence = self.sequence;
        *self = Self { sequence, ..Self::to(Far::Away(Some(Box::new(away)))) };
    }

    /// The process is gone, with whatever jobs it had.
    #[cfg(unix)]
    pub(crate) fn vacate(&mut self) {
        let sequence = self.sequence;
        *self = Self { sequence, ..Self::vacant() };
    }

    #[cfg(unix)]
    pub(crate) fn away(&mut self) -> Option<&mut Away> {
        match &mut self.far {
            Far::Away(away) => away.as_deref_mut(),
            Far::Here { .. } => None,
        }
    }

    /// Its slot and sequence, if the job is still with the child.
    #[cfg(unix)]
    pub(crate) fn limit(&self, tag: DeliveryTag) -> bool {
        let found = self
            .slots
            .iter()
            .enumerate()
            .find_map(|(slot, taken)| Some((slot, (*taken)?)).filter(|(_, one)| one.tag == tag));
        let (Some((slot, taken)), Some(page)) = (found, self.page()) else { return false };
        let runs = page.state(slot, taken.sequence) == Some(SlotState::Running);
        if runs {
            page.limit(slot, taken.sequence);
        }
        runs
    }

    fn page(&self) -> Option<&Page> {
        match &self.far {
            Far::Here { shared, .. } => Some(shared.page()),
            #[cfg(unix)]
            Far::Away(away) => away.as_ref().map(|away| away.page()),
        }
    }

    /// No batch will follow: the child ends when it has seen what it has.
    pub(crate) fn close(&mut self) {
        match &mut self.far {
            Far::Here { door, .. } => *door = None,
            #[cfg(unix)]
            Far::Away(Some(away)) => away.close(),
            #[cfg(unix)]
            Far::Away(None) => {}
        }
    }

    fn takes_batches(&self) -> bool {
        match &self.far {
            Far::Here { door, .. } => door.is_some(),
            #[cfg(unix)]
            Far::Away(away) => away.as_ref().is_some_and(|away| away.takes_batches()),
        }
    }

    /// Sends a batch. Returns what the child cannot take.
    pub(crate) fn send(&mut self, batch: Vec<Assignment>) -> Vec<DeliveryTag> {
        if !self.takes_batches() {
            return batch.iter().map(|one| one.delivery.tag).collect();
        }
        let mut refused = Vec::new();
        let mut tickets = Vec::with_capacity(batch.len());
        for Assignment { delivery, verdict, cause } in batch {
            let tag = delivery.tag;
            let Some(slot) = self.free.pop() else {
                refused.push(tag);
                continue;
            };
            self.sequence += 1;
            let sequence = self.sequence;
            self.slots[slot] = Some(Taken { tag, sequence });
            if let Some(page) = self.page() {
                page.queue(slot, sequence);
            }
            tickets.push(Ticket { delivery, verdict, cause, slot, sequence });
        }
        match &mut self.far {
            Far::Here { door, .. } => {
                let lost = door.as_ref().and_then(|door| door.send(tickets).err());
                for ticket in lost.map(crossbeam_channel::SendError::into_inner).into_iter().flatten() {
                    self.release(ticket.slot);
                    refused.push(ticket.delivery.tag);
                }
            }
            #[cfg(unix)]
            Far::Away(Some(away)) => away.send(&tickets),
            #[cfg(unix)]
            Far::Away(None) => {}
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
                && self.page().is_some_and(|page| page.recall(slot, taken.sequence))
            {
                tags.push(taken.tag);
                self.release(slot);
            }
        }
        tags
    }

    /// The task that runs, and since when (µs).
    pub(crate) fn running(&self) -> Option<(DeliveryTag, u64)> {
        let (slot, sequence, since_us) = self.page()?.running()?;
        let taken = self.slots.get(slot).copied().flatten()?;
        (taken.sequence == sequence).then_some((taken.tag, since_us))
    }

    /// The task that runs, by the slots: the page's `current` is written a moment after the start.
    #[cfg(unix)]
    pub(crate) fn begun(&self) -> Option<DeliveryTag> {
        let page = self.page()?;
        let taken = self.slots.iter().enumerate().filter_map(|(slot, taken)| Some((slot, (*taken)?)));
        let mut runs = taken.filter(|(slot, taken)| page.state(*slot, taken.sequence) == Some(SlotState::Running));
        runs.next().map(|(_, taken)| taken.tag)
    }

    /// Whether the child has no job.
    #[cfg(unix)]
    pub(crate) fn is_idle(&self) -> bool {
        self.free.len() == SLOTS
    }

    /// Before a cold stop: nothing starts any more, and every job is either taken back, or seen to have begun, or heard
    /// of in `told`. Returns the first two.
    pub(crate) fn last_look(&mut self, told: &mut Vec<Told>) -> (Vec<DeliveryTag>, Vec<DeliveryTag>) {
        let back = self.recall();
        // By the slots: the page's `current` is written a moment after the start.
        let runs = |slot: usize, taken: &Taken| {
            self.page().and_then(|page| page.state(slot, taken.sequence)) == Some(SlotState::Running)
        };
        let taken = self.slots.iter().enumerate().filter_map(|(slot, taken)| Some((slot, taken.as_ref()?)));
        let begun = taken.filter(|(slot, taken)| runs(*slot, taken)).map(|(_, taken)| taken.tag).collect();
        self.hear(told, true);
        (back, begun)
    }

    /// What the child has told, into the empty `told`; slots of ended jobs are free again.
    pub(crate) fn reports(&mut self, told: &mut Vec<Told>) {
        self.hear(told, false);
    }

    fn hear(&mut self, told: &mut Vec<Told>, wait: bool) {
        match &mut self.far {
            Far::Here { shared, .. } if wait => shared.take_all(told),
            Far::Here { shared, .. } => shared.take(told),
            #[cfg(unix)]
            Far::Away(Some(away)) => {
                away.take(told);
                told.retain_mut(|one| self.slots_tag(one));
            }
            #[cfg(unix)]
            Far::Away(None) => {}
        }
        self.release_ended(told);
    }

    /// Puts the delivery's tag in the place of the job's name. False: the child has no such job.
    #[cfg(unix)]
    fn slots_tag(&self, told: &mut Told) -> bool {
        let (Told::End { report: celeriac_engine::Report { tag, .. }, .. }
        | Told::Progress { tag, .. }
        | Told::Dropped { tag, .. }) = told;
        let (slot, sequence) = frame::unname(*tag);
        let taken = self.slots.get(slot).copied().flatten().filter(|taken| taken.sequence == sequence);
        taken.inspect(|taken| *tag = taken.tag).is_some()
    }

    fn release_ended(&mut self, told: &[Told]) {
        for one in told {
            if let Told::End { slot, .. } | Told::Dropped { slot, .. } = one {
                self.release(*slot);
            }
        }
    }

    pub(crate) fn has_port(&self) -> bool {
        match &self.far {
            Far::Here { shared, .. } => shared.has_port.load(Ordering::Acquire),
            #[cfg(unix)]
            Far::Away(away) => away.is_some(),
        }
    }

    pub(crate) fn heard(&self) {
        if let Far::Here { shared, .. } = &self.far {
            shared.heard();
        }
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
    use crate::inbox::Input;

    /// Both ends of a child, without a hub.
    pub(crate) fn linked() -> (Link, Port) {
        linked_to(crossbeam_channel::unbounded().0)
    }

    pub(crate) fn linked_to(inbox: Sender<Input>) -> (Link, Port) {
        let waker = Arc::new(Waker { inbox: inbox.into(), sent: AtomicBool::new(false) });
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
        Assignment { delivery: Arc::new(delivery), verdict: Verdict::Run, cause: None }
    }
}
