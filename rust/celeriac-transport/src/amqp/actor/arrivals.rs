//! What the server sends: messages, and the ends of consumers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use celeriac_protocol::amqp::content::Content as Joined;
use celeriac_protocol::amqp::{ShortStr, WireError};
use celeriac_protocol::{Delivery, DeliveryTag, Message};

use super::connection::{Live, Source};
use super::{Actor, Waiting};
use crate::amqp::connection::{Carrier, Content, Event as Wire};
use crate::amqp::delayed::{Arrival, arrival};
use crate::amqp::fault::Fault;
use crate::amqp::held::{Due, Known, One};
use crate::amqp::letters;
use crate::contract::Event;

/// Tags are unique in the process, across consumers.
static LAST_TAG: AtomicU64 = AtomicU64::new(0);

impl Actor {
    /// Takes in all that came.
    pub(super) fn listen(&mut self) -> Result<(), Fault> {
        while let Some(live) = &mut self.live {
            let Some(event) = live.backlog.pop_front().or_else(|| live.link.connection.event()) else { break };
            match event {
                Wire::Content {
                    carrier: Carrier::Deliver { consumer_tag, delivery_tag, redelivered },
                    content,
                    ..
                } => match live.sources.get(&consumer_tag).cloned() {
                    Some(Source::Queue(queue)) => self.arrived(queue, delivery_tag, redelivered, &content),
                    Some(Source::Broadcast) => self.heard(&content),
                    None => live.reject(delivery_tag, true),
                },
                Wire::Cancelled { consumer_tag, .. } => self.cancelled(&consumer_tag)?,
                Wire::ChannelClosed { channel, refusal } if channel == live.channel => {
                    // What came by it is with the server again: as after a lost connection.
                    return Err(live.link.peer.refused(refusal));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn arrived(&mut self, queue: Arc<str>, tag: u64, redelivered: bool, content: &Content) {
        let Some(live) = &mut self.live else { return };
        live.acks.delivered(tag);
        if content.oversized {
            let text = format!(
                "a message of {} bytes stays in queue '{queue}': it is over max_message_bytes, and counts as one that this worker holds",
                content.header.body_size
            );
            return (self.sink)(Event::Notice(text));
        }
        let raw = match joined(content, &queue, redelivered) {
            Ok(raw) => raw,
            Err(error) => {
                return (self.sink)(Event::Notice(format!("a message stays in queue '{queue}': {error}")));
            }
        };
        let crashes = letters::crashes(&raw);
        let message = Message::scan(raw);
        if redelivered {
            match self.held.recall(&queue, &message, self.epoch, tag) {
                Some(Known::Adopted) => return,
                Some(Known::Ended(due)) => return answer(live, tag, due),
                None => {}
            }
        }
        self.waiting.push_back(Waiting { tag, queue, redelivered, crashes, message });
    }

    /// Hands over what has arrived, up to the credit.
    pub(super) fn hand_over(&mut self) {
        let credit = usize::try_from(self.credit_total.saturating_sub(self.handed)).unwrap_or(usize::MAX);
        let count = credit.min(self.waiting.len());
        if count == 0 {
            return;
        }
        let mut deliveries = Vec::with_capacity(count);
        for one in self.waiting.drain(..count) {
            let tag = DeliveryTag(LAST_TAG.fetch_add(1, Ordering::Relaxed) + 1);
            let Waiting { queue, redelivered, crashes, message, .. } = one;
            let raw = message.raw.clone();
            self.held.add(tag, One { epoch: self.epoch, tag: one.tag, queue: Arc::clone(&queue), crashes, raw });
            deliveries.push(Delivery { tag, queue, redelivered, crashes, message });
        }
        self.handed += deliveries.len() as u64;
        (self.sink)(Event::Deliveries(deliveries));
    }

    fn heard(&mut self, content: &Content) {
        if content.oversized {
            return;
        }
        let Ok(payload) = joined(content, "", false) else { return };
        let text = |name: &ShortStr| Arc::from(&*name.text());
        let (exchange, routing_key) = (text(&content.exchange), text(&content.routing_key));
        (self.sink)(Event::Broadcast { exchange, routing_key, payload });
    }

    /// A queue was deleted, or has moved to another node.
    fn cancelled(&mut self, consumer_tag: &ShortStr) -> Result<(), Fault> {
        let Some(live) = &mut self.live else { return Ok(()) };
        let Some(Source::Queue(queue)) = live.sources.get(consumer_tag).cloned() else {
            return Err(Fault::Broken("RabbitMQ ended a subscription to broadcasts".to_owned()));
        };
        let Some(spec) = self.specs.iter().find(|spec| *spec.name == *queue).cloned() else { return Ok(()) };
        (self.sink)(Event::Notice(format!(
            "RabbitMQ ended the consumer of queue '{queue}': it was deleted, or moves to another node; it is declared and consumed again"
        )));
        self.publisher.forget();
        live.forget(&queue);
        self.declare_and_consume(&spec)
    }
}

pub(super) fn answer(live: &mut Live, tag: u64, due: Due) {
    match due {
        Due::Ack => drop(live.acks.ack(tag, std::time::Instant::now())),
        Due::Reject => live.reject(tag, false),
    }
}

/// The message in the form that it has above the transport.
fn joined(content: &Content, queue: &str, redelivered: bool) -> Result<Bytes, WireError> {
    let (exchange, routing_key) = match arrival(&content.exchange.text(), &content.routing_key.text()) {
        Arrival::Direct => (content.exchange.clone(), content.routing_key.clone()),
        Arrival::Queue(name) => (ShortStr::default(), ShortStr::new(&name)?),
        Arrival::Exchange(name) => (ShortStr::new(&name)?, ShortStr::default()),
        Arrival::Topic(_) => (ShortStr::default(), ShortStr::new(queue)?),
    };
    let properties = content.header.raw().clone();
    Joined { mandatory: false, redelivered, exchange, routing_key, properties, body: content.body.clone() }.join()
}
