//! Stop: warm lets running tasks end and hands the rest back; cold hands everything back.
//!
//! What dies with its child process in a warm stop is told by another child, as ever. The others take nothing any more, so
//! the hub starts one for it ([`Engine::has_to_tell`]), or says that it cannot ([`Engine::leave_untold`]).

use celeriac_protocol::{DeliveryTag, Settlement};

use super::{Engine, Notice, Place, Stopping};
use crate::Now;

impl Engine {
    /// No more deliveries from now on. A cold stop may follow a warm one; not the other way round.
    pub fn stop(&mut self, how: Stopping, now: Now) {
        if how <= self.stopping {
            return;
        }
        self.stopping = how;
        for child in 0..self.children.len() {
            self.children[child].up = false;
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
                Place::Ready if self.is_to_be_told(tag) => {}
                Place::Ready | Place::Child(_) => self.let_go(tag, now),
            }
        }
        let mut told = Vec::new();
        while let Some(tag) = self.ready.pop().or_else(|| self.careful.pop()) {
            if self.is_to_be_told(tag) {
                told.push(tag);
            } else {
                self.let_go(tag, now);
            }
        }
        for tag in told.into_iter().rev() {
            self.line_up(tag, true);
        }
    }

    /// No child has it, nor will any. Its message goes back, unless it has its answer already.
    pub(super) fn let_go(&mut self, tag: DeliveryTag, now: Now) {
        let answer = self.find(tag).and_then(|held| held.answer.clone());
        match answer {
            Some(answer) if self.stopping == Stopping::Warm => self.settle_untold(tag, answer, now),
            _ => {
                self.acked.remove(&tag); // it was to be told: there is no message to hand back
                self.hand_back(tag, now);
            }
        }
    }

    /// Its child died with it, and another one can tell of that.
    pub(super) fn is_to_be_told(&self, tag: DeliveryTag) -> bool {
        self.may_tell() && self.find(tag).is_some_and(|held| held.answer.is_some())
    }

    pub(super) fn may_tell(&self) -> bool {
        match self.stopping {
            Stopping::No => true,
            Stopping::Warm => self.tells,
            Stopping::Cold => false,
        }
    }

    /// In a warm stop: the end of a task that died with its child waits for a child to tell it. One must be started, for
    /// [`Engine::child_up`].
    pub fn has_to_tell(&mut self) -> bool {
        self.stopping == Stopping::Warm && self.first_fresh().is_some()
    }

    /// In a warm stop: no child can be started any more. What was to be told is settled, and its failure stored nowhere.
    pub fn leave_untold(&mut self, now: Now) {
        self.tells = false;
        while let Some(tag) = self.ready.pop() {
            self.let_go(tag, now);
        }
    }

    /// Settles a task that died with its child, which nobody can tell.
    pub(super) fn settle_untold(&mut self, tag: DeliveryTag, answer: Settlement, now: Now) {
        if self.stopping == Stopping::Warm
            && !matches!(answer, Settlement::Requeue { .. })
            && let Some(delivery) = self.delivery(tag)
            && let Ok(head) = &delivery.message.head
        {
            let (task, id) = (delivery.message.text(&head.task), delivery.message.text(&head.id));
            let text =
                format!("{task}[{id}] was lost with its child, and no child is left to store that as its result");
            self.notices.push(Notice::Error(text));
        }
        self.acked.remove(&tag);
        self.settle(tag, answer, now);
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
                    && self.acked.is_empty()
                    && self.children.iter().all(|child| child.jobs.is_empty())
                    && self.pending.is_settled()
            }
            Stopping::Cold => self.pending.is_down() || (self.ledger.held() == 0 && self.pending.is_settled()),
        }
    }
}
