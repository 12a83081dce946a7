//! The consumer's thread: its state and its loop. What it does is in the files beside this one.

mod claims;
mod connection;
mod cycles;
mod leases;
mod queues;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use celeriac_protocol::DeliveryTag;

use self::cycles::Carry;
use super::back;
use super::claim::{Sizes, Sources, Taken};
use super::clock::wall_ms;
use super::ends::Memory;
use super::fault::Fault;
use super::held::Held;
use super::keys::Keys;
use super::line::{Client, Line};
use super::settings::Settings;
use super::waiter::{Waiter, Woken};
use super::watcher::Watcher;
use crate::contract::{Cycle, Event, EventSink, QueueSpec, Refusal, TransportError};

/// How often dead workers are looked for, and the queues without being told.
const TICK: Duration = Duration::from_secs(1);

/// What comes to the thread.
pub(crate) enum Mail {
    Cycle(Cycle),
    Consume(QueueSpec, bool),
    Stop,
    /// A waiter's answer.
    Woken(Woken),
    /// A list that nobody blocks on has changed.
    Changed,
    /// A broadcast.
    Heard {
        channel: Vec<u8>,
        payload: Vec<u8>,
    },
}

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other, no state of a machine")]
pub(crate) struct Actor {
    settings: Arc<Settings>,
    keys: Keys,
    timeout: Duration,
    sink: EventSink,
    inbox: Receiver<Mail>,
    /// For the threads that wait for us.
    mail: Sender<Mail>,
    worker: String,
    line: Option<Line>,
    /// The last connection, to be closed by the server before we go on: what it still had under way must not come later.
    old_client: Client,
    specs: Vec<QueueSpec>,
    /// Fanout exchanges whose messages the hub wants as they are.
    broadcasts: Vec<QueueSpec>,
    /// The server does not know `specs` yet.
    stale: bool,
    /// It had no room for them.
    undeclared: bool,
    /// A queue that cannot be consumed is the caller's error; later it is left out with a notice.
    starting: bool,
    sources: Sources,
    sizes: Sizes,
    /// Where the next claim begins among the queues.
    turn: usize,
    held: Held,
    /// Stored although their cycle failed: a later cycle that brings them again is told that they are done.
    settled: HashSet<DeliveryTag>,
    /// What the server refused by itself; the next cycle that is answered says so.
    refused: Vec<Refusal>,
    credit_total: u64,
    handed: u64,
    /// There may be messages to take.
    hungry: bool,
    /// The last claim brought all that it asked for.
    busy: bool,
    /// When parked messages were last looked at.
    promoted: Instant,
    /// When the first parked message is due: our clock for durations, as the server's wall clock need not be ours.
    due: Option<Instant>,
    /// Messages for later came lately: the server is to park those behind them by itself.
    sift: bool,
    /// Messages whose crashes are not looked up yet.
    arrived: Vec<Taken>,
    /// Claims of ours may be unknown to us: their answer was lost.
    recover: bool,
    waiters: Vec<Waiter>,
    /// Waiters that there have been: a number is not used twice.
    numbered: usize,
    watcher: Option<Watcher>,
    memory: Memory,
    /// The cycle that was under way when the connection broke.
    carry: Option<Carry>,
    down: bool,
    /// The clock's difference was told.
    skewed: bool,
    retry_at: Instant,
    pause: Duration,
    renewed: Instant,
    looked: Instant,
    refreshed: Instant,
    swept: Option<Instant>,
    /// Old claims that the last sweep left where they are: the next one begins behind them.
    sweep_from: usize,
}

impl Actor {
    pub(crate) fn new(
        settings: Settings,
        timeout: Duration,
        specs: Vec<QueueSpec>,
        sink: EventSink,
        inbox: Receiver<Mail>,
        mail: Sender<Mail>,
    ) -> Self {
        let now = Instant::now();
        let mut actor = Self {
            keys: Keys::new(&settings),
            timeout: settings.socket_timeout.map_or(timeout, |socket| socket.min(timeout)),
            settings: Arc::new(settings),
            sink,
            inbox,
            mail,
            worker: celeriac_protocol::uuid::uuid7(wall_ms().unsigned_abs()).unwrap_or_else(|_| format!("{now:?}")),
            line: None,
            old_client: Client::default(),
            specs: Vec::new(),
            broadcasts: Vec::new(),
            stale: true,
            undeclared: false,
            starting: true,
            sources: Sources::default(),
            sizes: Sizes::default(),
            turn: 0,
            held: Held::default(),
            settled: HashSet::new(),
            refused: Vec::new(),
            credit_total: 0,
            handed: 0,
            hungry: true,
            busy: false,
            promoted: now,
            due: None,
            sift: false,
            arrived: Vec::new(),
            recover: false,
            waiters: Vec::new(),
            numbered: 0,
            watcher: None,
            memory: Memory::default(),
            carry: None,
            down: false,
            skewed: false,
            retry_at: now,
            pause: Duration::ZERO,
            renewed: now,
            looked: now,
            refreshed: now,
            swept: None,
            sweep_from: 0,
        };
        for spec in specs {
            actor.consume(spec, true);
        }
        actor
    }

    /// Connects for the first time. A broker that is away is no error here.
    pub(crate) fn open(&mut self) -> Result<(), TransportError> {
        match self.connect() {
            Err(Fault::Ours(error)) if !error.is_transient() => Err(error),
            Err(fault) => {
                self.broke(fault);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    pub(crate) fn run(mut self) {
        self.starting = false;
        let mut stop = false;
        while !stop {
            let mut cycles = VecDeque::new();
            stop = self.read(&mut cycles);
            if self.line.is_none()
                && (self.retry_at <= Instant::now() || stop)
                && let Err(fault) = self.connect()
            {
                self.broke(fault);
            }
            while let Some(cycle) = cycles.pop_front() {
                self.carry_out(cycle, cycles.is_empty() && !stop);
            }
            if !stop {
                self.go_on();
            }
        }
        self.close();
        (self.sink)(Event::Stopped);
    }

    /// Waits for mail and takes all that there is. True if we are to stop.
    pub(super) fn read(&mut self, cycles: &mut VecDeque<Cycle>) -> bool {
        let mut next = match self.inbox.recv_timeout(self.patience()) {
            Ok(mail) => Some(mail),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return true,
        };
        let mut stop = false;
        while let Some(mail) = next {
            match mail {
                Mail::Cycle(cycle) => cycles.push_back(cycle),
                Mail::Consume(spec, on) => self.consume(spec, on),
                Mail::Stop => stop = true,
                Mail::Woken(woken) => self.woken(woken),
                Mail::Changed => self.hungry = true,
                Mail::Heard { channel, payload } => self.heard(&channel, &payload),
            }
            next = self.inbox.try_recv().ok();
        }
        stop
    }

    /// How long there is nothing to do unless mail comes.
    pub(super) fn patience(&self) -> Duration {
        let now = Instant::now();
        if self.line.is_none() {
            return self.retry_at.saturating_duration_since(now);
        }
        if self.stale || (self.hungry && self.credit() > 0) {
            return Duration::ZERO;
        }
        let mut wait = self.tick().saturating_sub(self.looked.elapsed());
        if let Some(due) = self.due.filter(|_| self.credit() > 0) {
            wait = wait.min(due.saturating_duration_since(now));
        }
        wait
    }

    pub(super) fn tick(&self) -> Duration {
        TICK.min(self.settings.lease / 3)
    }

    pub(super) fn credit(&self) -> usize {
        usize::try_from(self.credit_total.saturating_sub(self.handed)).unwrap_or(usize::MAX)
    }

    pub(super) fn close(&mut self) {
        self.unwatch();
        let _ = self.call_back(true);
        self.await_waiters();
        if let Some(carry) = self.carry.take() {
            let text = format!("Redis at {} cannot be reached", self.settings.shown);
            (self.sink)(Event::Failed { cycle: carry.cycle, error: TransportError::Unavailable(text) });
        }
        if let Some(line) = &mut self.line {
            // If this fails, others do it when our lease is over.
            let _ = back::give_back(line, &self.keys, &self.worker, false);
        }
    }
}
