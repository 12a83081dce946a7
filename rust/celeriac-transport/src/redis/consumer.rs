//! The contract's consumer: a thread that owns a worker's claims, with helpers that wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::actor::{Actor, Mail};
use super::settings::Settings;
use crate::contract::{Consumer, Cycle, Event, EventSink, QueueSpec, TransportError};

/// See [`Consumer`].
pub(crate) struct RedisConsumer {
    settings: Settings,
    timeout: Duration,
    orders: Sender<Mail>,
    inbox: Option<Receiver<Mail>>,
    thread: Option<JoinHandle<()>>,
    /// Of the process that has the thread.
    pid: u32,
}

impl RedisConsumer {
    /// `timeout` bounds the opening of a connection and each answer.
    pub(crate) fn new(settings: Settings, timeout: Duration) -> Self {
        let (orders, inbox) = channel();
        Self { settings, timeout, orders, inbox: Some(inbox), thread: None, pid: std::process::id() }
    }

    fn order(&self, mail: Mail) {
        if self.pid == std::process::id() {
            drop(self.orders.send(mail)); // it ends only after a stop, which is the last order
        }
    }
}

impl Consumer for RedisConsumer {
    fn start(&mut self, queues: Vec<QueueSpec>, sink: EventSink) -> Result<(), TransportError> {
        let Some(inbox) = self.inbox.take() else { return Ok(()) };
        let told = EventSink::clone(&sink);
        let mut actor = Actor::new(self.settings.clone(), self.timeout, queues, sink, inbox, self.orders.clone());
        actor.open()?;
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| actor.run())).is_err() {
                told(Event::Stopped); // else the hub would wait for its answers for ever
            }
        };
        let thread = std::thread::Builder::new().name("celeriac-redis".into()).spawn(run);
        self.thread = Some(thread.map_err(|error| TransportError::Unavailable(format!("no thread: {error}")))?);
        Ok(())
    }

    fn submit(&self, cycle: Cycle) {
        self.order(Mail::Cycle(cycle));
    }

    fn set_consuming(&self, queue: QueueSpec, on: bool) {
        self.order(Mail::Consume(queue, on));
    }

    fn stop(&self) {
        self.order(Mail::Stop);
    }

    fn join(&mut self) {
        if self.pid == std::process::id()
            && let Some(thread) = self.thread.take()
        {
            drop(thread.join());
        }
    }
}

impl Drop for RedisConsumer {
    fn drop(&mut self) {
        self.stop();
    }
}
