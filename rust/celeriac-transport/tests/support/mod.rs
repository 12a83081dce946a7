//! A consumer whose events are collected, and short ways to make messages.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses its part of it")]

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_protocol::{Delivery, DeliveryTag, End, Publication, ResultWrite, Settlement};
use celeriac_transport::contract::{Consumer, Cycle, Event, Producer, QueueSpec, Results};
use celeriac_transport::{Options, open};

/// Long enough for a loaded machine; nothing waits for it unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn queue(name: &str) -> QueueSpec {
    QueueSpec::new(name)
}

pub fn bound(name: &str, exchange: &str, kind: &str, key: &str) -> QueueSpec {
    QueueSpec::new(name).bound(exchange, kind, key)
}

pub fn message(queue: &str, text: &str) -> Publication {
    Publication {
        exchange: "".into(),
        routing_key: queue.into(),
        priority: 0,
        due_ms: None,
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

pub fn result(key: &str, value: &str, success: bool) -> ResultWrite {
    ResultWrite { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()), expires_ms: None, success }
}

pub fn end(tag: DeliveryTag, settlement: Settlement) -> End {
    End { tag, settlement, results: Vec::new(), publish: Vec::new() }
}

pub fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.raw.to_vec()).unwrap()
}

pub fn now_ms() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub fn producer(url: &str) -> Arc<dyn Producer> {
    open::producer(url, &Options::new(), PATIENCE).unwrap()
}

pub fn results(url: &str) -> Arc<dyn Results> {
    open::results(url, &Options::new(), PATIENCE).unwrap()
}

/// A worker driven by hand.
pub struct Worker {
    pub consumer: Box<dyn Consumer>,
    events: Receiver<Event>,
    /// Events that came while another was waited for.
    early: Mutex<Vec<Event>>,
    pub granted: u64,
    pub received: u64,
    cycles: u64,
}

impl Worker {
    pub fn start(url: &str, queues: &[&str]) -> Self {
        Self::with(url, queues.iter().map(|name| queue(name)).collect())
    }

    pub fn with(url: &str, queues: Vec<QueueSpec>) -> Self {
        let (sender, events) = channel();
        let sender = Mutex::new(sender);
        let mut consumer = open::consumer(url, &Options::new(), PATIENCE).unwrap();
        let sink = move |event| drop(sender.lock().unwrap().send(event));
        consumer.start(queues, Arc::new(sink)).unwrap();
        Self { consumer, events, early: Mutex::default(), granted: 0, received: 0, cycles: 0 }
    }

    /// The first event for which `pick` has an answer, others are kept.
    pub fn wait<T>(&self, mut pick: impl FnMut(&mut Option<Event>) -> Option<T>) -> T {
        let mut early = self.early.lock().unwrap();
        for at in 0..early.len() {
            let mut event = Some(early.remove(at));
            if let Some(found) = pick(&mut event) {
                return found;
            }
            early.insert(at, event.unwrap());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut event =
                Some(self.events.recv_timeout(left).unwrap_or_else(|_| panic!("waited in vain; had {early:?}")));
            if let Some(found) = pick(&mut event) {
                return found;
            }
            early.push(event.unwrap());
        }
    }

    /// Submits a cycle that allows `more` deliveries beyond those allowed before; waits until it is stored.
    pub fn cycle(&mut self, more: u64, ends: Vec<End>) -> Vec<DeliveryTag> {
        self.granted += more;
        self.submit(Cycle { ends, ..Cycle::default() })
    }

    pub fn submit(&mut self, mut cycle: Cycle) -> Vec<DeliveryTag> {
        self.cycles += 1;
        let number = self.cycles;
        cycle.id = number;
        cycle.credit_total = self.granted;
        self.consumer.submit(cycle);
        self.wait(|event| match event {
            Some(Event::Cycled { id, lost, .. }) if *id == number => Some(std::mem::take(lost)),
            Some(Event::Failed { error, .. }) => panic!("{error}"),
            _ => None,
        })
    }

    /// Exactly `count` deliveries, in the order in which they came.
    pub fn deliveries(&mut self, count: usize) -> Vec<Delivery> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.wait(|event| match event.take() {
                Some(Event::Deliveries(some)) => Some(some),
                other => {
                    *event = other;
                    None
                }
            }));
        }
        assert_eq!(all.len(), count, "too many: {:?}", all.iter().map(text).collect::<Vec<_>>());
        self.received += count as u64;
        all
    }

    pub fn take(&mut self, count: usize) -> Vec<Delivery> {
        self.cycle(count as u64, Vec::new());
        self.deliveries(count)
    }

    pub fn texts(&mut self, count: usize) -> Vec<String> {
        self.take(count).iter().map(text).collect()
    }

    /// Takes and acks.
    pub fn drain(&mut self, count: usize) -> Vec<String> {
        let taken = self.take(count);
        let ends = taken.iter().map(|one| end(one.tag, Settlement::Ack)).collect();
        assert_eq!(self.cycle(0, ends), []);
        taken.iter().map(text).collect()
    }

    pub fn stop(&mut self) {
        self.consumer.stop();
        self.wait(|event| matches!(event, Some(Event::Stopped)).then_some(()));
        self.consumer.join();
    }
}

pub fn depth(producer: &dyn Producer, name: &str) -> (u64, u64, u64) {
    let found: HashMap<_, _> = producer
        .depths()
        .unwrap()
        .into_iter()
        .map(|depth| (depth.name, (depth.ready, depth.delayed, depth.held)))
        .collect();
    found.get(name).copied().unwrap_or_default()
}
