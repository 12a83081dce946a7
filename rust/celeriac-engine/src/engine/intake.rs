//! Reception: each delivery is opened, and is ready, waiting, or on its way back.

use std::sync::Arc;

use celeriac_protocol::{Delivery, DeliveryTag, End, Settlement};

use super::{Engine, Held, Notice, Place, Stopping};
use crate::reception::Reception;
use crate::{Now, Verdict};

impl Engine {
    /// Messages were handed to this worker.
    pub fn deliveries(&mut self, batch: Vec<Delivery>, now: Now) {
        for delivery in batch {
            self.received += 1;
            self.stats.received += 1;
            let bytes = delivery.message.raw.len();
            self.window.observe(bytes);
            self.take(Arc::new(delivery), bytes, now);
        }
    }

    fn take(&mut self, delivery: Arc<Delivery>, bytes: usize, now: Now) {
        let tag = delivery.tag;
        if self.stopping != Stopping::No {
            self.answer(tag, Settlement::Requeue { front: true, crashed: false });
            return;
        }
        let reception = self.checks.receive(&delivery, now);
        match reception {
            Reception::Dead { reason, detail } => {
                self.answer(tag, Settlement::Dead { reason, detail: detail.clone() });
                self.notices.push(Notice::Dead { delivery, reason, detail });
                return;
            }
            Reception::Park(until_ms) => {
                self.answer(tag, Settlement::Park { until_ms });
                return;
            }
            Reception::Ready | Reception::Wait(_) => {}
        }
        let name = delivery.message.head.as_ref().map_or("", |head| delivery.message.text(&head.task));
        let task = self.tasks.find(name);
        let max_crashes = self.tasks.policy(task).max_crashes;
        let mut verdict = Verdict::Run;
        if task.is_none() {
            verdict = Verdict::Unknown;
            self.notices.push(Notice::Unknown(Arc::clone(&delivery)));
        } else if max_crashes > 0 && delivery.crashes >= max_crashes {
            verdict = Verdict::Crashed;
        } else if self.notify_received {
            self.notices.push(Notice::Received(Arc::clone(&delivery)));
        }
        let place = match reception {
            Reception::Wait(wait_ms) if verdict == Verdict::Run => {
                let due_us = now.mono_us.saturating_add(u64::try_from(wait_ms).unwrap_or(0) * 1000);
                Place::Waiting(self.waiting.insert(due_us, tag))
            }
            _ => Place::Ready,
        };
        if self
            .ledger
            .open(tag, Held { delivery, task, verdict, place, begun: false, cause: None, answer: None }, bytes, now)
            .is_err()
        {
            // The first one is still under way and will settle it; a transport that does this is broken.
            self.notices.push(Notice::Error(format!("the transport gave delivery {} twice", tag.0)));
            if let Place::Waiting(timer) = place {
                self.waiting.cancel(timer);
            }
        } else if place == Place::Ready {
            self.line_up(tag, false);
        }
    }

    /// An answer to a delivery that was never opened here: it is owed at once, with nothing to store.
    fn answer(&mut self, tag: DeliveryTag, settlement: Settlement) {
        self.count(&settlement);
        self.pending.ends.push(End { tag, settlement, results: Vec::new(), publish: Vec::new() });
    }

    /// The transport says that somebody else has these deliveries now.
    pub fn lost(&mut self, tags: &[DeliveryTag], now: Now) {
        for &tag in tags {
            self.stats.lost += 1;
            if let Ok(settled) = self.ledger.settle(tag, now) {
                match settled.item.place {
                    Place::Waiting(timer) => drop(self.waiting.cancel(timer)),
                    Place::Child(_) => self.orphan(tag, settled.item),
                    Place::Named(child) => self.children[child].careful = None,
                    Place::Ready => {}
                }
            }
            if let Some(held) = self.acked.remove(&tag) {
                self.orphan(tag, held); // its ack is not stored
            }
            self.pending.forget(tag);
        }
        self.free_ended();
        if !tags.is_empty() {
            let text = format!("{} deliveries were lost: their lease ran out and others have them now", tags.len());
            self.notices.push(Notice::Warning(text));
        }
    }

    pub(super) fn count(&mut self, settlement: &Settlement) {
        let counter = match settlement {
            Settlement::Ack => &mut self.stats.acked,
            Settlement::Requeue { .. } => &mut self.stats.requeued,
            Settlement::Park { .. } => &mut self.stats.parked,
            Settlement::Dead { .. } => &mut self.stats.dead,
        };
        *counter += 1;
    }
}
