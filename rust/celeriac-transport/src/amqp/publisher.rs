//! What the ends of deliveries publish: retries, callbacks, messages for later, dead letters. A thread of its own with connections of its own: a server
//! in alarm stops reading from those that publish, and acks must not wait behind that.
//!
//! Only what the server has confirmed is answered as done; the delivery that it follows from is settled after that.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use celeriac_protocol::{DeliveryTag, Publication};

use super::delayed;
use super::mailbox::{Mail, Mailbox};
use super::producer::AmqpProducer;
use super::settings::Settings;
use crate::contract::{Cycle, Producer, QueueSpec, Refusal, TransportError};

/// Where messages go that cannot be run, nor be given to a dead-letter exchange.
pub(crate) const DEAD: &str = "celeriac.dead";

/// A message of a cycle.
pub(crate) struct Letter {
    /// The delivery whose end it belongs to.
    pub(crate) end: Option<DeliveryTag>,
    pub(crate) message: Publication,
    /// It is the delivery itself on its way elsewhere: that no queue takes it is an error.
    pub(crate) whole: bool,
    pub(crate) needs: Needs,
}

impl Letter {
    /// Those of one group are taken by a queue all together, or not at all: of one that is not, none was.
    fn group(&self) -> &str {
        match (self.whole, &*self.message.exchange) {
            (false, _) => "", // an order among them is kept
            (true, "") => &self.message.routing_key,
            (true, exchange) => exchange,
        }
    }
}

/// What must be there first.
pub(crate) enum Needs {
    Nothing,
    /// The way of delayed messages to this queue.
    Way(Box<QueueSpec>),
    /// The queue of dead letters.
    Dead,
}

/// Orders to the thread.
enum Order {
    /// The last: what is refused already.
    Publish(Cycle, Vec<Letter>, Vec<Refusal>),
    /// What was declared may be gone.
    Forget,
}

/// How it went.
pub(crate) struct Answer {
    pub(crate) cycle: Cycle,
    /// Parts that the server will never take; or that nothing may be taken for done.
    pub(crate) done: Result<Vec<Refusal>, TransportError>,
}

/// See the module.
pub(crate) struct Publisher {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    pub(crate) fn start(
        mut settings: Settings,
        timeout: Duration,
        mailbox: Arc<Mailbox>,
    ) -> Result<Self, TransportError> {
        let (orders, inbox) = channel();
        let queue_type = settings.delayed_queue_type.clone();
        // Nobody would send signs of life between two calls.
        settings.heartbeat = Some(0);
        let mut work = Work { producer: AmqpProducer::new(settings, timeout), queue_type, declared: HashSet::new() };
        let run = move || work.run(&inbox, &mailbox);
        let thread = std::thread::Builder::new().name("celeriac-amqp-publisher".into()).spawn(run);
        let thread = thread.map_err(|error| TransportError::Unavailable(format!("no thread: {error}")))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Answered by [`Mail::Published`].
    pub(crate) fn publish(&self, cycle: Cycle, letters: Vec<Letter>, refused: Vec<Refusal>) {
        self.order(Order::Publish(cycle, letters, refused));
    }

    /// What was declared may be gone: it is declared again when it is needed.
    pub(crate) fn forget(&self) {
        self.order(Order::Forget);
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            drop(orders.send(order)); // it ends when the sender is dropped
        }
    }

    pub(crate) fn stop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Work {
    producer: AmqpProducer,
    queue_type: String,
    /// Queues whose way is there; [`DEAD`] for itself.
    declared: HashSet<String>,
}

impl Work {
    fn run(&mut self, inbox: &Receiver<Order>, mailbox: &Mailbox) {
        for order in inbox {
            match order {
                Order::Forget => self.declared.clear(),
                Order::Publish(cycle, letters, refused) => {
                    let done = self.publish(&letters, refused);
                    mailbox.put(Mail::Published(Answer { cycle, done }));
                }
            }
        }
    }

    fn publish(&mut self, letters: &[Letter], mut refused: Vec<Refusal>) -> Result<Vec<Refusal>, TransportError> {
        let mut left: Vec<&Letter> = Vec::new();
        let mut groups: BTreeMap<&str, Vec<&Letter>> = BTreeMap::new();
        for letter in letters {
            groups.entry(letter.group()).or_default().push(letter);
        }
        for batch in groups.into_values() {
            match self.send(&batch) {
                Ok(()) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => left.extend(batch),
            }
        }
        // One of them is refused: the others must not wait for it.
        for letter in left {
            if letter.end.is_some() && refused.iter().any(|refusal| refusal.end == letter.end) {
                continue;
            }
            match self.send(&[letter]) {
                Ok(()) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => refused.push(Refusal { end: letter.end, why: error.to_string() }),
            }
        }
        Ok(refused)
    }

    /// All of them whole, or none.
    fn send(&mut self, letters: &[&Letter]) -> Result<(), TransportError> {
        for letter in letters {
            self.declare(&letter.needs)?;
        }
        let batch: Vec<Publication> = letters.iter().map(|letter| letter.message.clone()).collect();
        let taken = self.producer.publish(&batch)?;
        if letters.iter().all(|letter| !letter.whole) || taken == batch.len() {
            return Ok(());
        }
        self.declared.clear(); // it may have been deleted
        Err(TransportError::Refused(format!(
            "no queue takes {} of {} messages that were to go to a queue (the first to '{}'): it is gone, or not bound any more",
            batch.len() - taken,
            batch.len(),
            batch[0].routing_key
        )))
    }

    fn declare(&mut self, needs: &Needs) -> Result<(), TransportError> {
        match needs {
            Needs::Nothing => {}
            Needs::Dead if self.declared.contains(DEAD) => {}
            Needs::Dead => {
                self.producer.declare(&QueueSpec::new(DEAD))?;
                self.declared.insert(DEAD.to_owned());
            }
            Needs::Way(queue) if self.declared.contains(&queue.name) => {}
            Needs::Way(queue) => {
                let mut steps = delayed::levels(&self.queue_type);
                steps.extend(delayed::way(queue));
                self.producer.carry_out(&steps)?;
                self.declared.insert(queue.name.clone());
            }
        }
        Ok(())
    }
}
