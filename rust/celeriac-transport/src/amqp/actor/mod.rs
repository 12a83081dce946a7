//! The consumer's thread: its state and its loop. What it does is in the files beside this one.
//!
//! Invariants:
//! - deliveries beyond the credit wait here; how many the server sends ahead follows what the hub wants to hold;
//! - a delivery is settled only after what follows from it is confirmed;
//! - a tag of the broker is used on the connection that it came by, and on no other.

mod arrivals;
mod connection;
mod cycles;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_protocol::{DeliveryTag, Message};

use self::connection::Live;
use super::fault::Fault;
use super::held::Held;
use super::link::{Sleeper, Step};
use super::mailbox::{Mail, Mailbox};
use super::publisher::Publisher;
use super::settings::Settings;
use crate::contract::{Event, EventSink, QueueSpec, TransportError};

/// How long there may be nothing to do.
const TICK: Duration = Duration::from_secs(1);

/// A delivery for which there is no credit yet.
struct Waiting {
    tag: u64,
    queue: Arc<str>,
    redelivered: bool,
    crashes: u32,
    message: Message,
}

/// A delivery that was acked lately: the server may not have heard of it when the connection breaks.
struct Acked {
    at: Instant,
    queue: Arc<str>,
    raw: Bytes,
}

/// See the module.
pub(crate) struct Actor {
    settings: Settings,
    timeout: Duration,
    sink: EventSink,
    mailbox: Arc<Mailbox>,
    publisher: Publisher,
    /// Cycles that are with the publisher.
    publishing: usize,
    specs: Vec<QueueSpec>,
    /// Exchanges whose messages the hub wants as they are.
    broadcasts: Vec<QueueSpec>,
    /// A queue that cannot be consumed is the caller's error; later it is left out with a notice.
    starting: bool,
    live: Option<Live>,
    /// Number of the connection.
    epoch: u64,
    held: Held,
    waiting: VecDeque<Waiting>,
    acked: VecDeque<Acked>,
    /// Settled although their cycle failed: a later cycle that brings them again is told that they are done.
    settled: HashSet<DeliveryTag>,
    credit_total: u64,
    handed: u64,
    stopping: bool,
    down: bool,
    retry_at: Instant,
    pause: Duration,
}

impl Actor {
    pub(crate) fn new(
        settings: Settings,
        timeout: Duration,
        specs: Vec<QueueSpec>,
        sink: EventSink,
        mailbox: Arc<Mailbox>,
    ) -> Result<Self, TransportError> {
        let (broadcasts, specs) = specs.into_iter().partition(|spec| spec.subscription().is_some());
        Ok(Self {
            publisher: Publisher::start(settings.clone(), timeout, Arc::clone(&mailbox))?,
            settings,
            timeout,
            sink,
            mailbox,
            publishing: 0,
            specs,
            broadcasts,
            starting: true,
            live: None,
            epoch: 0,
            held: Held::default(),
            waiting: VecDeque::new(),
            acked: VecDeque::new(),
            settled: HashSet::new(),
            credit_total: 0,
            handed: 0,
            stopping: false,
            down: false,
            retry_at: Instant::now(),
            pause: Duration::ZERO,
        })
    }

    /// Connects for the first time. A broker that is away is no error here.
    pub(crate) fn open(&mut self) -> Result<(), TransportError> {
        match self.connect().map_err(Fault::into_error) {
            Err(error) if !error.is_transient() => Err(error),
            Err(error) => {
                self.broke(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    pub(crate) fn run(mut self) {
        self.starting = false;
        loop {
            self.read();
            if self.stopping && self.publishing == 0 {
                break;
            }
            if let Err(fault) = self.go_on() {
                self.broke(fault.into_error());
            }
            self.sleep();
        }
        self.close();
        (self.sink)(Event::Stopped);
    }

    fn read(&mut self) {
        for mail in self.mailbox.take() {
            match mail {
                Mail::Cycle(cycle) => self.carry_out(cycle),
                Mail::Published(answer) => self.published(answer),
                Mail::Consume(spec, on) => {
                    if let Err(fault) = self.consume(spec, on) {
                        self.broke(fault.into_error());
                    }
                }
                Mail::Stop => self.stopping = true,
            }
        }
    }

    /// Everything that nobody asks for.
    fn go_on(&mut self) -> Result<(), Fault> {
        if self.live.is_none() {
            if self.stopping || Instant::now() < self.retry_at {
                return Ok(());
            }
            self.connect()?;
        }
        self.listen()?;
        if !self.stopping {
            self.hand_over();
            self.adjust()?;
        }
        if let Some(live) = &mut self.live {
            live.flush(Instant::now(), false);
        }
        Ok(())
    }

    fn sleep(&mut self) {
        let now = Instant::now();
        let Some(live) = &mut self.live else {
            let until = if self.stopping { now + TICK } else { self.retry_at };
            return self.mailbox.sleep(until);
        };
        if !live.backlog.is_empty() {
            return;
        }
        let until = live.acks.wake_at().unwrap_or(now + TICK);
        let mailbox = Arc::clone(&self.mailbox);
        let is_wanted = || mailbox.is_full();
        let sleeper = Sleeper { bell: &mailbox.bell, is_wanted: &is_wanted };
        match live.link.step(Some(until), Some(sleeper)) {
            Ok(Step::Moved | Step::Rung | Step::Late) => {}
            Err(fault) => self.broke(fault.into_error()),
        }
    }
}
