//! Stop: warm lets running tasks end and hands the rest back; cold hands everything back.

use celeriac_protocol::{DeliveryTag, Settlement};

use super::{Engine, Place, Stopping};
use crate::Now;

impl Engine {
    /// No more deliveries from now on. A cold stop may follow a warm one; not the other way round.
    pub fn stop(&mut self, how: Stopping, now: Now) {
        if how <= self.stopping {
            return;
        }
        self.stopping = how;
        for child in 0..self.children.len() {
            if !self.children[child].jobs.is_empty() {
                self.want_recall(child);
            }
        }
        // Last one first: each goes to the head of its queue, so the first is its head in the end.
        for tag in self.ledger.tags().into_iter().rev() {
            let Some(place) = self.ledger.get(tag).map(|held| held.place) else { continue };
            match place {
                Place::Child(_) if how == Stopping::Warm => {} // recalled or ended
                Place::Waiting(timer) => {
                    self.waiting.cancel(timer);
                    self.hand_back(tag, now);
                }
                Place::Named(child) => {
                    self.children[child].careful = None;
                    self.pending.started.retain(|of| *of != tag);
                    self.hand_back(tag, now);
                }
                Place::Ready | Place::Child(_) => self.hand_back(tag, now),
            }
        }
        // What was acked and never started again (a verdict that waits) has no message to hand back.
        self.acked.retain(|_, held| matches!(held.place, Place::Child(_)));
        while self.ready.pop().or_else(|| self.careful.pop()).is_some() {}
    }

    pub(super) fn hand_back(&mut self, tag: DeliveryTag, now: Now) {
        self.settle(tag, Settlement::Requeue { front: true, crashed: false }, now);
    }

    /// How far a stop has gone.
    #[must_use]
    pub fn stopping(&self) -> Stopping {
        self.stopping
    }

    /// A stop is complete: everything is settled, and the transport has stored it. A cold stop does not wait for a broker
    /// that is away (leases run out by themselves), nor for tasks that still run.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        match self.stopping {
            Stopping::No => false,
            Stopping::Warm => {
                self.ledger.held() == 0
                    && self.children.iter().all(|child| child.jobs.is_empty())
                    && self.pending.is_settled()
            }
            Stopping::Cold => self.pending.is_down() || (self.ledger.held() == 0 && self.pending.is_settled()),
        }
    }
}
