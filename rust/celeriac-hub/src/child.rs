//! A child's end of the hub: batches in, outcomes out.
//!
//! What a child finishes goes into its outbox, which the hub empties; *flush* only wakes the hub. It happens when a batch
//! ends, when the next one is asked for, and when the oldest outcome is a millisecond old at the start or end of
//! a job. The hub also empties the outbox of a child that is stuck in a long job.

use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use celeriac_engine::{ChildId, Outcome, Report, Verdict};
use celeriac_protocol::{Delivery, DeliveryTag, Publication, ResultWrite};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use crate::Clock;
use crate::page::Page;
use crate::run::Input;

const FLUSH_US: u64 = 1_000;
const NEVER: u64 = u64::MAX;

/// What a child tells the hub.
#[derive(Debug)]
pub(crate) enum Told {
    End { slot: usize, report: Report },
    Progress { tag: DeliveryTag, results: Vec<ResultWrite> },
    Dropped { slot: usize, tag: DeliveryTag, started: bool },
}

/// Wakes the hub: one message however many children have something.
#[derive(Debug)]
pub(crate) struct Waker {
    pub(crate) inbox: Sender<Input>,
    pub(crate) sent: AtomicBool,
}

impl Waker {
    fn wake(&self) {
        if !self.sent.swap(true, Ordering::AcqRel) {
            drop(self.inbox.send(Input::Reports)); // a hub that has ended needs no news
        }
    }
}

/// What one child and the hub share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) child: ChildId,
    pub(crate) page: Page,
    pub(crate) clock: Clock,
    outbox: Mutex<Vec<Told>>,
    /// When the oldest entry of `outbox` was put in, in µs; `NEVER` if it is empty.
    oldest_us: AtomicU64,
    pub(crate) has_port: AtomicBool,
    pub(crate) waker: Arc<Waker>,
    /// A forked copy has no hub, and its locks may be held for ever by threads that it has not.
    pid: u32,
}

impl Shared {
    pub(crate) fn new(child: ChildId, clock: Clock, waker: Arc<Waker>) -> Self {
        Self {
            child,
            page: Page::new(),
            clock,
            outbox: Mutex::default(),
            oldest_us: AtomicU64::new(NEVER),
            has_port: AtomicBool::new(false),
            waker,
            pid: process::id(),
        }
    }

    fn is_forked(&self) -> bool {
        process::id() != self.pid
    }

    fn outbox(&self) -> MutexGuard<'_, Vec<Told>> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, told: Told, now_us: u64, flush: bool) {
        let mut outbox = self.outbox();
        outbox.push(told);
        if outbox.len() == 1 {
            self.oldest_us.store(now_us, Ordering::Release);
        }
        drop(outbox);
        if flush || self.is_old(now_us) {
            self.waker.wake();
        }
    }

    fn is_old(&self, now_us: u64) -> bool {
        let oldest = self.oldest_us.load(Ordering::Acquire);
        oldest != NEVER && now_us.saturating_sub(oldest) >= FLUSH_US
    }

    fn flush(&self) {
        if self.oldest_us.load(Ordering::Acquire) != NEVER {
            self.waker.wake();
        }
    }

    /// Hub: everything that was told, oldest first, into the empty `into`.
    pub(crate) fn take(&self, into: &mut Vec<Told>) {
        if self.oldest_us.load(Ordering::Acquire) == NEVER {
            return;
        }
        let mut outbox = self.outbox();
        self.oldest_us.store(NEVER, Ordering::Release);
        std::mem::swap(&mut *outbox, into);
    }
}

/// A job on its way to a child.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) verdict: Verdict,
    pub(crate) slot: usize,
    pub(crate) sequence: u64,
}

/// What a child gets when it asks.
#[derive(Debug)]
pub enum Next {
    /// Jobs, to be run in order.
    Batch(Vec<Job>),
    /// Nothing yet.
    Nothing,
    /// The pool must end.
    End,
}

/// One child's end. Used by one thread at a time; dropping it takes the child down.
#[derive(Debug)]
pub struct Port {
    shared: Arc<Shared>,
    /// Always there; taken out only to forget it.
    batches: Option<Receiver<Vec<Ticket>>>,
}

impl Port {
    pub(crate) fn new(shared: Arc<Shared>, batches: Receiver<Vec<Ticket>>) -> Self {
        Self { shared, batches: Some(batches) }
    }

    /// Shows the hub what was finished.
    pub fn flush(&self) {
        self.shared.flush();
    }

    /// A batch, if one is there. Flushes.
    #[must_use]
    pub fn try_next(&self) -> Next {
        self.shared.flush();
        let Some(batches) = &self.batches else { return Next::End };
        match batches.try_recv() {
            Ok(tickets) => self.jobs(tickets),
            Err(TryRecvError::Empty) => Next::Nothing,
            Err(TryRecvError::Disconnected) => Next::End,
        }
    }

    /// Waits for a batch. Flushes.
    #[must_use]
    pub fn wait_next(&self, timeout: Duration) -> Next {
        self.shared.flush();
        let Some(batches) = &self.batches else { return Next::End };
        match batches.recv_timeout(timeout) {
            Ok(tickets) => self.jobs(tickets),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    fn jobs(&self, tickets: Vec<Ticket>) -> Next {
        let last = tickets.len().saturating_sub(1);
        let jobs = tickets.into_iter().enumerate().map(|(at, ticket)| Job {
            delivery: ticket.delivery,
            verdict: ticket.verdict,
            slot: ticket.slot,
            sequence: ticket.sequence,
            last: at == last,
            started_ns: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            shared: Arc::clone(&self.shared),
        });
        Next::Batch(jobs.collect())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if self.shared.is_forked() {
            std::mem::forget(self.batches.take());
            return;
        }
        self.shared.has_port.store(false, Ordering::Release);
        drop(self.shared.waker.inbox.send(Input::PortDown(self.shared.child)));
    }
}

/// One attempt of one task. Dropping it unfinished hands it back, or reports the child's death if it was started.
#[derive(Debug)]
pub struct Job {
    delivery: Arc<Delivery>,
    verdict: Verdict,
    slot: usize,
    sequence: u64,
    last: bool,
    started_ns: AtomicU64,
    ended: AtomicBool,
    shared: Arc<Shared>,
}

impl Job {
    /// Its message and where it came from.
    #[must_use]
    pub fn delivery(&self) -> &Arc<Delivery> {
        &self.delivery
    }

    /// Whether it may run.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Marks it as running. False if the hub has taken it back: skip it.
    pub fn start(&self) -> bool {
        let now_ns = self.shared.clock.mono_ns();
        if !self.shared.page.start(self.slot, self.sequence, now_ns / 1000) {
            self.shared.flush(); // the batch may end here
            return false;
        }
        self.started_ns.store(now_ns.max(1), Ordering::Relaxed);
        if self.shared.is_old(now_ns / 1000) {
            self.shared.waker.wake();
        }
        true
    }

    /// States of a task that goes on; seen by the hub at once.
    pub fn progress(&self, results: Vec<ResultWrite>) {
        let told = Told::Progress { tag: self.delivery.tag, results };
        self.shared.put(told, self.shared.clock.mono_ns() / 1000, true);
    }

    /// Ends it. False if the hub had taken it back, or it has ended already: then nothing is stored.
    pub fn finish(
        &self,
        outcome: Outcome,
        results: Vec<ResultWrite>,
        publish: Vec<Publication>,
        detail: Option<String>,
    ) -> bool {
        if self.ended.swap(true, Ordering::AcqRel) || !self.shared.page.finish(self.slot, self.sequence) {
            return false;
        }
        let now_ns = self.shared.clock.mono_ns();
        let started_ns = self.started_ns.load(Ordering::Relaxed);
        let run_ns = (started_ns > 0).then(|| now_ns.saturating_sub(started_ns));
        let report = Report { tag: self.delivery.tag, outcome, results, publish, detail, run_ns };
        self.shared.put(Told::End { slot: self.slot, report }, now_ns / 1000, self.last);
        true
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if *self.ended.get_mut() || self.shared.is_forked() {
            return;
        }
        let started = *self.started_ns.get_mut() > 0;
        // Either it runs and nobody will end it, or it is given back; a recalled one is the hub's already.
        let page = &self.shared.page;
        let ours = if started { page.finish(self.slot, self.sequence) } else { page.recall(self.slot, self.sequence) };
        if ours {
            let told = Told::Dropped { slot: self.slot, tag: self.delivery.tag, started };
            self.shared.put(told, self.shared.clock.mono_ns() / 1000, true);
        }
    }
}
