//! The connection, from its beginning to its end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_protocol::amqp::{Method, ShortStr, Table};

use super::Actor;
use crate::amqp::acks::Acks;
use crate::amqp::connection::Event as Wire;
use crate::amqp::fault::Fault;
use crate::amqp::held::Due;
use crate::amqp::link::{Link, Step};
use crate::amqp::settings::Settings;
use crate::amqp::{declare, delayed};
use crate::contract::{Event, QueueSpec, TransportError};

/// Seconds between signs of life, unless an option says otherwise.
const HEARTBEAT: u16 = 60;
/// Shortest pause between two attempts to connect, but for the first, which follows at once; and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Acks that are younger than this when the connection breaks may not have been heard.
const UNHEARD: Duration = Duration::from_secs(5);

/// What a consumer tag stands for.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Queue(Arc<str>),
    Broadcast,
}

/// An open connection with one channel.
pub(super) struct Live {
    pub(super) link: Link,
    pub(super) channel: u16,
    /// Came while an answer was waited for.
    pub(super) backlog: VecDeque<Wire>,
    pub(super) acks: Acks,
    /// Also those that were cancelled: what was under way then may still come.
    pub(super) sources: HashMap<ShortStr, Source>,
    /// Consumers of queues, by the queue's name.
    consumers: HashMap<Arc<str>, ShortStr>,
    numbered: usize,
    /// Most deliveries of a queue that the server sends ahead of our acks; 0 while nothing is consumed.
    pub(super) prefetch: u16,
}

impl Live {
    fn open(settings: &Settings, deadline: Instant) -> Result<Self, Fault> {
        let mut live = Self {
            link: Link::open(settings, HEARTBEAT, deadline)?,
            channel: 0,
            backlog: VecDeque::new(),
            acks: Acks::default(),
            sources: HashMap::new(),
            consumers: HashMap::new(),
            numbered: 0,
            prefetch: 0,
        };
        live.channel = live.open_channel(deadline)?;
        Ok(live)
    }

    fn open_channel(&mut self, deadline: Instant) -> Result<u16, Fault> {
        let channel = self.link.connection.open_channel().map_err(|unsent| self.link.peer.unsent(unsent))?;
        self.replies(channel, 1, deadline)?;
        Ok(channel)
    }

    /// Sends what is to be answered, in one go, and waits for all answers.
    fn calls(&mut self, channel: u16, methods: &[Method], deadline: Instant) -> Result<Vec<Method>, Fault> {
        for method in methods {
            self.link.connection.call(channel, method).map_err(|unsent| self.link.peer.unsent(unsent))?;
        }
        self.replies(channel, methods.len(), deadline)
    }

    fn replies(&mut self, channel: u16, count: usize, deadline: Instant) -> Result<Vec<Method>, Fault> {
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            match self.link.connection.event() {
                Some(Wire::Reply { channel: at, method }) if at == channel => replies.push(method),
                Some(Wire::ChannelClosed { channel: at, refusal }) if at == channel => {
                    return Err(self.link.peer.refused(refusal));
                }
                Some(other) => self.backlog.push_back(other),
                None if self.link.step(Some(deadline), None)? == Step::Late => return Err(self.link.peer.late()),
                None => {}
            }
        }
        // What is left there nobody would be woken for.
        self.backlog.extend(std::iter::from_fn(|| self.link.connection.event()));
        Ok(replies)
    }

    /// Declares, on a channel of its own: a refusal ends the channel, and must not end the deliveries.
    fn declare(&mut self, methods: &[Method], deadline: Instant) -> Result<Vec<Method>, Fault> {
        let channel = self.open_channel(deadline)?;
        let replies = self.calls(channel, methods, deadline)?;
        self.link.connection.close_channel(channel).map_err(|unsent| self.link.peer.unsent(unsent))?;
        self.replies(channel, 1, deadline)?;
        Ok(replies)
    }

    fn tag(&mut self, source: Source) -> ShortStr {
        self.numbered += 1;
        let tag = ShortStr::new(&format!("celeriac-{}", self.numbered)).unwrap_or_default();
        self.sources.insert(tag.clone(), source);
        tag
    }

    /// Begins to consume with the prefetch that is set; ends the consumer that there was, after that: without any, a queue
    /// that is deleted with its last consumer would go.
    pub(super) fn consume(&mut self, spec: &QueueSpec, deadline: Instant) -> Result<(), Fault> {
        let queue: Arc<str> = spec.name.as_str().into();
        let tag = self.tag(Source::Queue(Arc::clone(&queue)));
        let before = self.consumers.insert(queue, tag.clone());
        let qos = Method::BasicQos { prefetch_size: 0, prefetch_count: self.prefetch, global: false };
        let consume = consume(declare::name("queue", &spec.name)?, tag, false, spec.consumer_arguments.clone());
        self.calls(self.channel, &[qos, consume], deadline)?;
        before.map_or(Ok(()), |tag| self.end(tag))
    }

    /// Has no more of a queue sent.
    pub(super) fn cancel(&mut self, queue: &str) -> Result<(), Fault> {
        self.consumers.remove(queue).map_or(Ok(()), |tag| self.end(tag))
    }

    /// The server ended the consumer of a queue.
    pub(super) fn forget(&mut self, queue: &str) {
        self.consumers.remove(queue);
    }

    fn end(&mut self, consumer_tag: ShortStr) -> Result<(), Fault> {
        let cancel = Method::BasicCancel { consumer_tag, nowait: true };
        self.link.connection.call(self.channel, &cancel).map_err(|unsent| self.link.peer.unsent(unsent))
    }

    /// Begins to listen to an exchange.
    pub(super) fn subscribe(&mut self, spec: &QueueSpec, deadline: Instant) -> Result<(), Fault> {
        let mut own = spec.clone();
        (own.exclusive, own.auto_delete, own.durable) = (true, true, false);
        let tag = self.tag(Source::Broadcast);
        own.name = format!("celeriac.{}", celeriac_protocol::uuid::uuid7(0).unwrap_or_else(|_| format!("{tag:?}")));
        self.declare(&declare::queue(&own)?, deadline)?;
        let queue = declare::name("queue", &own.name)?;
        if let Some(binding) = spec.subscription() {
            self.consumers.insert(broadcast(&binding.exchange.name), tag.clone());
        }
        self.calls(self.channel, &[consume(queue, tag, true, Table::default())], deadline).map(drop)
    }

    /// Sends the acks for which it is time; `all` of them.
    pub(super) fn flush(&mut self, now: Instant, all: bool) {
        let Self { acks, link, channel, .. } = self;
        // One that cannot be sent is on a connection that is no more: the next step says so.
        acks.flush(now, all, |tag, multiple| drop(link.connection.ack(*channel, tag, multiple)));
    }

    pub(super) fn reject(&mut self, tag: u64, requeue: bool) {
        if self.acks.answered(tag) {
            drop(self.link.connection.call(self.channel, &Method::BasicReject { delivery_tag: tag, requeue }));
        }
    }
}

fn consume(queue: ShortStr, consumer_tag: ShortStr, no_ack: bool, arguments: Table) -> Method {
    Method::BasicConsume { queue, consumer_tag, no_local: false, no_ack, exclusive: false, nowait: false, arguments }
}

/// Under which name a subscription stands among the consumers: no queue's, as those have no line break.
pub(super) fn broadcast(exchange: &str) -> Arc<str> {
    format!("\n{exchange}").into()
}

impl Actor {
    pub(super) fn connect(&mut self) -> Result<(), Fault> {
        let mut live = Live::open(&self.settings, self.deadline())?;
        self.epoch += 1;
        for spec in self.broadcasts.clone() {
            live.subscribe(&spec, self.deadline())?;
        }
        self.live = Some(live);
        for spec in self.specs.clone() {
            self.declare(&spec)?;
        }
        self.pause = Duration::ZERO;
        if std::mem::take(&mut self.down) {
            (self.sink)(Event::Up);
        }
        Ok(())
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Makes a queue. One that the server refuses is left out with a notice, once we have started.
    pub(super) fn declare(&mut self, spec: &QueueSpec) -> Result<(), Fault> {
        let deadline = self.deadline();
        let Some(live) = &mut self.live else { return Ok(()) };
        let mut methods = declare::queue(spec)?;
        if spec.is_quorum() {
            // Celery's workers do so for these, and its producers count on it.
            let steps = delayed::levels(&self.settings.delayed_queue_type).into_iter().chain(delayed::way(spec));
            for step in steps {
                methods.push(declare::step(&step)?);
            }
        }
        let done = live.declare(&methods, deadline);
        self.leave_out(spec, done.map(drop))
    }

    /// Whether what failed for one queue is that queue's alone.
    fn leave_out(&mut self, spec: &QueueSpec, done: Result<(), Fault>) -> Result<(), Fault> {
        match done {
            Err(fault @ (Fault::Refused(..) | Fault::Ours(_))) if !self.starting => {
                let error = fault.clone().into_error();
                if error.is_transient() {
                    return Err(fault);
                }
                self.specs.retain(|known| known.name != spec.name);
                (self.sink)(Event::Notice(format!("queue '{}' is not consumed: {error}", spec.name)));
                Ok(())
            }
            done => done,
        }
    }

    /// Consumes one more queue, or one less.
    pub(super) fn consume(&mut self, spec: QueueSpec, on: bool) -> Result<(), Fault> {
        let deadline = self.deadline();
        if let Some(binding) = spec.subscription() {
            let exchange = binding.exchange.name.clone();
            self.broadcasts.retain(|known| known.subscription().is_none_or(|one| one.exchange.name != exchange));
            let Some(live) = &mut self.live else {
                self.broadcasts.extend(on.then_some(spec));
                return Ok(());
            };
            live.cancel(&broadcast(&exchange))?;
            if on {
                live.subscribe(&spec, deadline)?;
                self.broadcasts.push(spec);
            }
            return Ok(());
        }
        self.specs.retain(|known| known.name != spec.name);
        if let Some(live) = &mut self.live {
            live.cancel(&spec.name)?;
        }
        if on {
            self.specs.push(spec.clone());
            return self.declare_and_consume(&spec);
        }
        self.give_back(Some(&spec.name));
        Ok(())
    }

    /// Makes a queue and consumes it, if anything is consumed now.
    pub(super) fn declare_and_consume(&mut self, spec: &QueueSpec) -> Result<(), Fault> {
        self.declare(spec)?;
        let deadline = self.deadline();
        let wanted = self.specs.iter().any(|known| known.name == spec.name);
        match &mut self.live {
            Some(live) if wanted && live.prefetch > 0 => {
                let done = live.consume(spec, deadline);
                self.consumed(spec, done)
            }
            _ => Ok(()),
        }
    }

    /// A refusal to consume ended the channel with all that came by it; without that queue the next one will do.
    fn consumed(&mut self, spec: &QueueSpec, done: Result<(), Fault>) -> Result<(), Fault> {
        let Err(fault) = done else { return Ok(()) };
        self.leave_out(spec, Err(fault.clone()))?;
        Err(Fault::Broken(fault.into_error().to_string()))
    }

    /// Has the server send ahead as much as the hub wants to hold. It takes a new number for new consumers alone.
    pub(super) fn adjust(&mut self) -> Result<(), Fault> {
        let held = self.held.len() as u64;
        let wanted = self.credit_total.saturating_sub(self.handed).saturating_add(held);
        let wanted = u16::try_from(wanted).unwrap_or(u16::MAX);
        let Some(live) = &mut self.live else { return Ok(()) };
        let before = live.prefetch;
        // Hardly ever: the hub's window swings, and each change is a round trip.
        if wanted > before {
            live.prefetch = if before == 0 { wanted } else { wanted.max(before.saturating_mul(2)) };
        } else if !self.waiting.is_empty() && wanted < before / 8 {
            live.prefetch = wanted.max(1);
        } else {
            return Ok(());
        }
        for spec in self.specs.clone() {
            let deadline = self.deadline();
            let Some(live) = &mut self.live else { return Ok(()) };
            let done = live.consume(&spec, deadline);
            self.consumed(&spec, done)?;
        }
        if wanted < before {
            self.give_back(None); // another worker may be idle
        }
        Ok(())
    }

    /// Puts back what nobody has been given, of one queue or of all.
    pub(super) fn give_back(&mut self, queue: Option<&str>) {
        let Some(live) = &mut self.live else { return };
        self.waiting.retain(|one| {
            let kept = queue.is_some_and(|queue| *one.queue != *queue);
            if !kept {
                live.reject(one.tag, true);
            }
            kept
        });
    }

    pub(super) fn broke(&mut self, error: TransportError) {
        if self.live.take().is_some() {
            self.held.orphan();
            self.waiting.clear();
            self.publisher.forget();
            let now = Instant::now();
            for acked in std::mem::take(&mut self.acked) {
                if now.saturating_duration_since(acked.at) < UNHEARD {
                    self.held.owe(&acked.queue, &acked.raw, Due::Ack, now);
                }
            }
        }
        self.retry_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).clamp(PAUSE.0, PAUSE.1);
        if !std::mem::replace(&mut self.down, true) {
            (self.sink)(Event::Down(error));
        }
    }

    /// Sends the last acks and waits until the server has them; closing the channel puts back what is open.
    pub(super) fn close(&mut self) {
        self.publisher.stop();
        let deadline = self.deadline();
        let Some(live) = &mut self.live else { return };
        live.flush(Instant::now(), true);
        let channel = live.channel;
        if live.link.connection.close_channel(channel).is_ok() {
            drop(live.replies(channel, 1, deadline)); // if this fails the server does it by itself
        }
        self.live = None;
    }
}
