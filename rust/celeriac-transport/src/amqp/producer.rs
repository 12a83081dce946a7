//! The contract's producer.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use celeriac_protocol::Publication;
use celeriac_protocol::amqp::{Method, Table, content, envelope};

use super::declare::{self, name};
use super::delayed::Step;
use super::fault::Fault;
use super::line::{Fate, Line, Parcel};
use super::settings::Settings;
use crate::contract::{DeadLetter, Producer, QueueDepth, QueueSpec, TransportError};
use crate::slots::Slots;

/// First and longest wait before a server that cannot serve now is asked again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// See [`Producer`].
pub(crate) struct AmqpProducer {
    settings: Settings,
    timeout: Duration,
    lines: Slots<Line>,
    /// Queues that this process declared: AMQP has no way to ask which there are.
    declared: Mutex<BTreeSet<String>>,
}

impl AmqpProducer {
    pub(crate) fn new(settings: Settings, timeout: Duration) -> Self {
        Self { lines: Slots::new(settings.max_connections), settings, timeout, declared: Mutex::default() }
    }

    /// Runs `work` on a connection; on a fresh one, if the one that was kept turns out to be dead.
    fn with<T>(&self, mut work: impl FnMut(&mut Line, Instant) -> Result<T, Fault>) -> Result<T, TransportError> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = PAUSE.0;
        let mut kept = self.lines.take();
        loop {
            let stale = kept.take().filter(Line::is_sound).and_then(|mut line| line.is_alive().then_some(line));
            let fresh = stale.is_none();
            let done = stale.map_or_else(|| Line::open(&self.settings, deadline), Ok).and_then(|mut line| {
                let done = work(&mut line, deadline);
                if line.is_sound() {
                    self.lines.keep(line);
                }
                done
            });
            match done {
                Ok(value) => return Ok(value),
                Err(Fault::Broken(_)) if !fresh && Instant::now() < deadline => {}
                Err(Fault::Later(_)) if Instant::now() + pause < deadline => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE.1);
                }
                Err(fault) => return Err(fault.into_error()),
            }
        }
    }

    /// What a call that changes queues did; 0 where there is no such queue.
    fn count(&self, method: &Method) -> Result<u64, TransportError> {
        self.with(|line, deadline| match line.call(method.clone(), deadline) {
            Ok(Method::QueuePurgeOk { messages } | Method::QueueDeleteOk { messages }) => Ok(messages.into()),
            Err(Fault::Refused(refusal, _)) if refusal.code == 404 => Ok(0),
            Ok(_) => Ok(0),
            Err(fault) => Err(fault),
        })
    }

    /// Makes what delayed messages need.
    pub(crate) fn carry_out(&self, steps: &[Step]) -> Result<(), TransportError> {
        let methods = steps.iter().map(declare::step).collect::<Result<Vec<_>, _>>()?;
        self.with(|line, deadline| line.calls(&methods, deadline).map(drop))
    }

    fn parcel<'a>(&self, publication: (&str, &str, &'a [u8]), mandatory: bool) -> Result<Parcel<'a>, TransportError> {
        let (exchange, routing_key, payload) = publication;
        if payload.len() > self.settings.max_bytes {
            return Err(TransportError::Refused(format!(
                "a message of {} bytes is over the broker's limit of {}: store the data elsewhere and send its address, or \
                 raise max_message_bytes",
                payload.len(),
                self.settings.max_bytes
            )));
        }
        let wrong = |error: &dyn std::fmt::Display| {
            TransportError::Refused(format!("the message for '{routing_key}' cannot be sent by AMQP: {error}"))
        };
        let (properties, body) = if content::is_content(payload) {
            let sections = content::sections(payload).map_err(|error| wrong(&error))?;
            (sections.properties.into(), sections.body.into())
        } else {
            // Made for another broker: in a worker that takes from one and publishes to the other.
            let parts = envelope::parts(payload).map_err(|error| wrong(&error))?;
            (parts.properties.into(), parts.body)
        };
        Ok(Parcel {
            exchange: name("exchange", exchange)?,
            routing_key: name("routing key", routing_key)?,
            mandatory,
            properties,
            body,
        })
    }
}

fn no_store<T>() -> Result<T, TransportError> {
    Err(TransportError::Refused(
        "dead letters on RabbitMQ cannot be listed here: look into the queue 'celeriac.dead' on the server, or the one that the \
         dead-letter exchange of your queue feeds (queue argument x-dead-letter-exchange)"
            .to_owned(),
    ))
}

impl Producer for AmqpProducer {
    fn publish(&self, batch: &[Publication]) -> Result<usize, TransportError> {
        if batch.is_empty() {
            return Ok(0);
        }
        let parcels: Vec<Parcel<'_>> = batch
            .iter()
            .map(|one| self.parcel((&one.exchange, &one.routing_key, &one.payload), true))
            .collect::<Result<_, _>>()?;
        let mut fates = vec![Fate::Open; parcels.len()];
        let mut returned = 0;
        let confirmed = self.settings.confirm_timeout;
        self.with(|line, deadline| {
            let deadline = confirmed.map_or(deadline, |most| deadline.min(Instant::now() + most));
            line.publish(&parcels, &mut fates, &mut returned, deadline)
        })?;
        let refused = fates.iter().filter(|fate| **fate == Fate::Refused).count();
        if refused > 0 {
            return Err(TransportError::Full(format!(
                "RabbitMQ did not keep {refused} of {} messages: a queue is full (x-max-length with overflow reject-publish) \
                 or a node cannot write; the others are stored",
                batch.len()
            )));
        }
        let mandatory = |one: &Publication| content::sections(&one.payload).is_ok_and(|sections| sections.mandatory);
        if returned > 0 && batch.iter().any(mandatory) {
            return Err(TransportError::Refused(format!(
                "no queue took {returned} of {} messages that were sent with mandatory=True (exchange '{}', routing key \
                 '{}'): declare and bind a queue first",
                batch.len(),
                batch[0].exchange,
                batch[0].routing_key
            )));
        }
        Ok(batch.len() - returned)
    }

    fn declare(&self, queue: &QueueSpec) -> Result<(), TransportError> {
        let methods = declare::queue(queue)?;
        self.with(|line, deadline| line.calls(&methods, deadline).map(drop))?;
        if let Ok(mut declared) = self.declared.try_lock() {
            declared.insert(queue.name.clone());
        }
        Ok(())
    }

    fn broadcast(&self, exchange: &str, routing_key: &str, payload: &[u8]) -> Result<(), TransportError> {
        let parcels = [self.parcel((exchange, routing_key, payload), false)?];
        self.with(|line, deadline| match line.publish(&parcels, &mut [Fate::Open], &mut 0, deadline) {
            // Listeners declare the exchange: where it is not, nobody listens.
            Err(Fault::Refused(refusal, _)) if refusal.code == 404 => Ok(()),
            done => done,
        })
    }

    fn purge(&self, queue: &str) -> Result<u64, TransportError> {
        self.count(&Method::QueuePurge { queue: name("queue", queue)?, nowait: false })
    }

    fn depths(&self) -> Result<Vec<QueueDepth>, TransportError> {
        let queues: Vec<String> =
            self.declared.try_lock().map(|known| known.iter().cloned().collect()).unwrap_or_default();
        let mut depths = Vec::with_capacity(queues.len());
        for queue in queues {
            let ask = Method::QueueDeclare {
                queue: name("queue", &queue)?,
                passive: true,
                durable: false,
                exclusive: false,
                auto_delete: false,
                nowait: false,
                arguments: Table::default(),
            };
            let ready = self.with(|line, deadline| match line.call(ask.clone(), deadline) {
                Ok(Method::QueueDeclareOk { messages, .. }) => Ok(Some(messages)),
                Err(Fault::Refused(refusal, _)) if refusal.code == 404 => Ok(None),
                Ok(_) => Ok(None),
                Err(fault) => Err(fault),
            })?;
            depths.extend(ready.map(|ready| QueueDepth { name: queue, ready: ready.into(), delayed: 0, held: 0 }));
        }
        Ok(depths)
    }

    fn dead_list(&self, _: usize, _: Option<i64>) -> Result<Vec<DeadLetter>, TransportError> {
        no_store()
    }

    fn dead_get(&self, _: i64) -> Result<Option<DeadLetter>, TransportError> {
        no_store()
    }

    fn dead_replay(&self, _: Option<&[i64]>) -> Result<u64, TransportError> {
        no_store()
    }

    fn dead_purge(&self, _: Option<&[i64]>) -> Result<u64, TransportError> {
        no_store()
    }
}
