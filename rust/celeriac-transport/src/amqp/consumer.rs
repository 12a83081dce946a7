//! The contract's consumer: a thread that owns a worker's connection, and one that publishes for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::actor::Actor;
use super::mailbox::{Mail, Mailbox};
use super::settings::Settings;
use crate::contract::{Consumer, Cycle, Event, EventSink, QueueSpec, TransportError};

/// See [`Consumer`].
pub(crate) struct AmqpConsumer {
    settings: Settings,
    timeout: Duration,
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
    /// Of the process that has the thread.
    pid: u32,
}

impl AmqpConsumer {
    /// `timeout` bounds the opening of a connection, each answer, and what is published in one go.
    pub(crate) fn new(settings: Settings, timeout: Duration) -> Result<Self, TransportError> {
        let mailbox = Mailbox::new()
            .map_err(|error| TransportError::Unavailable(format!("no descriptors for a consumer: {error}")))?;
        Ok(Self { settings, timeout, mailbox: Arc::new(mailbox), thread: None, pid: std::process::id() })
    }

    fn order(&self, mail: Mail) {
        if self.pid == std::process::id() {
            self.mailbox.put(mail);
        }
    }
}

impl Consumer for AmqpConsumer {
    fn start(&mut self, queues: Vec<QueueSpec>, sink: EventSink) -> Result<(), TransportError> {
        let told = EventSink::clone(&sink);
        let mut actor = Actor::new(self.settings.clone(), self.timeout, queues, sink, Arc::clone(&self.mailbox))?;
        actor.open()?;
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| actor.run())).is_err() {
                told(Event::Stopped); // else the hub would wait for its answers for ever
            }
        };
        let thread = std::thread::Builder::new().name("celeriac-amqp".into()).spawn(run);
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

impl Drop for AmqpConsumer {
    fn drop(&mut self) {
        self.stop();
    }
}
