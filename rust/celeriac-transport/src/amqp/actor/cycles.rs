//! Carrying out cycles: what is published goes first, then the answers to the server.
//!
//! Acks are not answered in AMQP. A cycle is stored when what it publishes is confirmed and its acks are written; if those are lost with the
//! connection, the messages come again and are answered then (`held`).

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use celeriac_protocol::delivery::reasons;
use celeriac_protocol::{DeliveryTag, End, Settlement};

use super::arrivals::answer;
use super::{Acked, Actor};
use crate::amqp::held::Due;
use crate::amqp::letters::settling;
use crate::amqp::publisher::{Answer, Letter, Needs};
use crate::contract::{Cycle, Event, Refusal};

/// Most acks that are remembered, and the longest message of one.
const ACKED: usize = 512;
const ACKED_BYTES: usize = 4096;

impl Actor {
    pub(super) fn carry_out(&mut self, cycle: Cycle) {
        let now_ms = wall_ms();
        let mut letters: Vec<Letter> = Vec::new();
        let mut refused = Vec::new();
        let continued = |end, message| Letter { end, message, whole: false, needs: Needs::Nothing };
        letters.extend(cycle.publish.iter().map(|message| continued(None, message.clone())));
        for end in &cycle.ends {
            let Some(one) = self.held.get(end.tag) else { continue };
            let own = if self.goes_to_exchange(end.tag, &end.settlement) {
                Ok(None)
            } else {
                let spec = self.specs.iter().find(|spec| *spec.name == *one.queue);
                settling(one, spec, &end.settlement, now_ms)
            };
            match own {
                Err(error) => refused.push(Refusal { end: Some(end.tag), why: error.to_string() }),
                Ok(own) => {
                    letters.extend(end.publish.iter().map(|message| continued(Some(end.tag), message.clone())));
                    letters.extend(own.map(|(message, needs)| Letter {
                        end: Some(end.tag),
                        message,
                        whole: true,
                        needs,
                    }));
                }
            }
        }
        let waits = |tag: DeliveryTag| letters.iter().any(|letter| letter.end == Some(tag));
        // The others do not wait for a server that takes no messages now.
        let free: Vec<&End> = cycle.ends.iter().filter(|end| !waits(end.tag)).collect();
        let free = free.into_iter().filter(|end| refused.iter().all(|refusal| refusal.end != Some(end.tag)));
        let free: Vec<(DeliveryTag, Settlement)> = free.map(|end| (end.tag, end.settlement.clone())).collect();
        for (tag, settlement) in free {
            if self.settle(tag, &settlement) {
                self.settled.insert(tag);
            }
        }
        if letters.is_empty() {
            self.finish(&cycle, refused);
        } else {
            self.publishing += 1;
            self.publisher.publish(cycle, letters, refused);
        }
    }

    pub(super) fn published(&mut self, answer: Answer) {
        self.publishing -= 1;
        let Answer { cycle, done } = answer;
        match done {
            Err(error) => (self.sink)(Event::Failed { cycle, error }),
            Ok(refused) => {
                for end in &cycle.ends {
                    if refused.iter().all(|refusal| refusal.end != Some(end.tag))
                        && self.settle(end.tag, &end.settlement)
                    {
                        self.settled.insert(end.tag);
                    }
                }
                self.finish(&cycle, refused);
            }
        }
    }

    fn finish(&mut self, cycle: &Cycle, refused: Vec<Refusal>) {
        let is_refused = |tag| refused.iter().any(|refusal| refusal.end == Some(tag));
        let mut lost = Vec::new();
        for end in &cycle.ends {
            if !self.settled.remove(&end.tag) && !is_refused(end.tag) {
                lost.push(end.tag);
            }
        }
        self.credit_total = cycle.credit_total;
        (self.sink)(Event::Cycled { id: cycle.id, lost, refused });
    }

    /// Whether the queue's own dead-letter exchange gets it.
    fn goes_to_exchange(&self, tag: DeliveryTag, settlement: &Settlement) -> bool {
        let rejected = matches!(settlement, Settlement::Dead { reason, .. } if *reason == reasons::REJECTED);
        let Some(one) = self.held.get(tag).filter(|_| rejected) else { return false };
        let has = |name| self.specs.iter().any(|spec| *spec.name == *one.queue && spec.arguments.get(name).is_some());
        has("x-dead-letter-exchange")
    }

    /// Answers the server; false if the delivery is not held.
    fn settle(&mut self, tag: DeliveryTag, settlement: &Settlement) -> bool {
        let requeue = matches!(settlement, Settlement::Requeue { crashed: false, .. });
        let due = if self.goes_to_exchange(tag, settlement) { Due::Reject } else { Due::Ack };
        let Some(one) = self.held.remove(tag) else { return false };
        let now = Instant::now();
        match self.live.as_mut().filter(|_| one.epoch == self.epoch) {
            Some(live) if requeue => live.reject(one.tag, true),
            Some(live) => {
                answer(live, one.tag, due);
                if due == Due::Ack && one.raw.len() <= ACKED_BYTES {
                    if self.acked.len() == ACKED {
                        self.acked.pop_front();
                    }
                    self.acked.push_back(Acked { at: now, queue: one.queue, raw: one.raw });
                }
            }
            None if requeue => {} // the server has put it back
            None => self.held.owe(&one.queue, &one.raw, due, now),
        }
        true
    }
}

fn wall_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
