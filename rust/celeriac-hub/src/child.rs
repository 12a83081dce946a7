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
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use crate::Clock;
use crate::inbox::{Inbox, Input};
use crate::page::Page;
#[cfg(unix)]
use crate::processes::outbox::{Came, Inlet, Outbox};

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
    pub(crate) inbox: Inbox,
    pub(crate) sent: AtomicBool,
}

impl Waker {
    fn wake(&self) {
        if !self.sent.swap(true, Ordering::AcqRel) {
            self.inbox.send(Input::Reports);
        }
    }
}

/// The way from a child to its hub.
#[derive(Debug)]
enum Way {
    /// The hub is a thread of this process.
    Here { child: ChildId, page: Box<Page>, outbox: Mutex<Vec<Told>>, waker: Arc<Waker> },
    /// The hub is in the parent process.
    #[cfg(unix)]
    Away(Outbox),
}

/// What one child and the hub share; in a child process: its end of that.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    way: Way,
    /// When the oldest news that the hub has not been shown was put in, in µs; `NEVER` if there are none.
    oldest_us: AtomicU64,
    pub(crate) has_port: AtomicBool,
    /// A forked copy has no hub, and its locks may be held for ever by threads that it has not.
    pid: u32,
}

impl Shared {
    pub(crate) fn new(child: ChildId, clock: Clock, waker: Arc<Waker>) -> Self {
        Self::over(Way::Here { child, page: Box::default(), outbox: Mutex::default(), waker }, clock)
    }

    #[cfg(unix)]
    pub(crate) fn in_child(clock: Clock, outbox: Outbox) -> Self {
        Self::over(Way::Away(outbox), clock)
    }

    fn over(way: Way, clock: Clock) -> Self {
        let (oldest_us, has_port) = (AtomicU64::new(NEVER), AtomicBool::new(false));
        Self { clock, way, oldest_us, has_port, pid: process::id() }
    }

    pub(crate) fn page(&self) -> &Page {
        match &self.way {
            Way::Here { page, .. } => page,
            #[cfg(unix)]
            Way::Away(outbox) => &outbox.area.page,
        }
    }

    fn is_forked(&self) -> bool {
        process::id() != self.pid
    }

    fn put(&self, told: Told, now_us: u64, flush: bool) {
        self.put_if(false, |_| true, told, now_us, flush);
    }

    /// Takes a slot's last step and tells of it. False, and nothing is told, if the step was not to be taken. `sure`: the
    /// step cannot fail, as the job runs.
    ///
    /// In one process both happen under the outbox's lock: whoever sees the step and then calls [`Shared::take_all`] gets
    /// the news. A child process can be killed between the two, so one that runs a job tells first: else its end
    /// would be lost although the task has ended.
    fn put_if(&self, sure: bool, step: impl FnOnce(&Page) -> bool, told: Told, now_us: u64, flush: bool) -> bool {
        match &self.way {
            Way::Here { page, outbox, .. } => {
                let mut outbox = locked(outbox);
                if !step(page) {
                    return false;
                }
                outbox.push(told);
                if outbox.len() == 1 {
                    self.oldest_us.store(now_us, Ordering::Release);
                }
            }
            #[cfg(unix)]
            Way::Away(outbox) => {
                if sure {
                    outbox.put(&told);
                    step(&outbox.area.page);
                } else {
                    if !step(&outbox.area.page) {
                        return false;
                    }
                    outbox.put(&told);
                }
                outbox.measure(now_us);
                if self.oldest_us.load(Ordering::Relaxed) == NEVER {
                    self.oldest_us.store(now_us, Ordering::Relaxed);
                }
            }
        }
        let _ = sure; // without processes it makes no difference
        if flush || self.is_old(now_us) {
            self.wake();
        }
        true
    }

    fn is_old(&self, now_us: u64) -> bool {
        let oldest = self.oldest_us.load(Ordering::Acquire);
        oldest != NEVER && now_us.saturating_sub(oldest) >= FLUSH_US
    }

    fn wake(&self) {
        match &self.way {
            Way::Here { waker, .. } => waker.wake(),
            #[cfg(unix)]
            Way::Away(outbox) => {
                self.oldest_us.store(NEVER, Ordering::Relaxed);
                outbox.wake();
            }
        }
    }

    fn flush(&self) {
        if self.oldest_us.load(Ordering::Acquire) != NEVER {
            self.wake();
        }
    }

    /// Hub, before it empties outboxes: what comes from now on wakes it again.
    pub(crate) fn heard(&self) {
        if let Way::Here { waker, .. } = &self.way {
            waker.sent.store(false, Ordering::Release);
        }
    }

    /// Hub: everything that was told, oldest first, into the empty `into`.
    pub(crate) fn take(&self, into: &mut Vec<Told>) {
        if self.oldest_us.load(Ordering::Acquire) != NEVER {
            self.take_all(into);
        }
    }

    /// The same, and waits for a child that is just putting something in.
    pub(crate) fn take_all(&self, into: &mut Vec<Told>) {
        if let Way::Here { outbox, .. } = &self.way {
            let mut outbox = locked(outbox);
            self.oldest_us.store(NEVER, Ordering::Release);
            std::mem::swap(&mut *outbox, into);
        }
    }
}

fn locked(outbox: &Mutex<Vec<Told>>) -> MutexGuard<'_, Vec<Told>> {
    outbox.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A job on its way to a child.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) verdict: Verdict,
    pub(crate) cause: Option<Arc<str>>,
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

#[derive(Debug)]
enum Batches {
    Channel(Receiver<Vec<Ticket>>),
    #[cfg(unix)]
    Socket(Inlet),
}

/// One child's end. Used by one thread at a time; dropping it takes the child down.
#[derive(Debug)]
pub struct Port {
    shared: Arc<Shared>,
    /// Always there until the drop.
    batches: Option<Batches>,
}

impl Port {
    pub(crate) fn new(shared: Arc<Shared>, batches: Receiver<Vec<Ticket>>) -> Self {
        Self { shared, batches: Some(Batches::Channel(batches)) }
    }

    #[cfg(unix)]
    pub(crate) fn over_socket(shared: Arc<Shared>, inlet: Inlet) -> Self {
        Self { shared, batches: Some(Batches::Socket(inlet)) }
    }

    /// Waiting ends early when a signal comes.
    #[must_use]
    pub fn hears_signals(&self) -> bool {
        !matches!(self.batches, Some(Batches::Channel(_)))
    }

    /// Whether the soft time limit of the job that runs is over; true once.
    #[must_use]
    pub fn take_limit(&self) -> bool {
        self.shared.page().take_limit()
    }

    /// Shows the hub what was finished.
    pub fn flush(&self) {
        self.shared.flush();
    }

    /// A batch, if one is there. Flushes.
    #[must_use]
    pub fn try_next(&self) -> Next {
        self.shared.flush();
        match &self.batches {
            Some(Batches::Channel(batches)) => match batches.try_recv() {
                Ok(tickets) => self.jobs(tickets),
                Err(TryRecvError::Empty) => Next::Nothing,
                Err(TryRecvError::Disconnected) => Next::End,
            },
            #[cfg(unix)]
            Some(Batches::Socket(inlet)) => self.came(inlet.try_take()),
            None => Next::End,
        }
    }

    /// Waits for a batch. Flushes.
    #[must_use]
    pub fn wait_next(&self, timeout: Duration) -> Next {
        self.shared.flush();
        match &self.batches {
            Some(Batches::Channel(batches)) => match batches.recv_timeout(timeout) {
                Ok(tickets) => self.jobs(tickets),
                Err(RecvTimeoutError::Timeout) => Next::Nothing,
                Err(RecvTimeoutError::Disconnected) => Next::End,
            },
            #[cfg(unix)]
            Some(Batches::Socket(inlet)) => self.came(inlet.take(timeout)),
            None => Next::End,
        }
    }

    #[cfg(unix)]
    fn came(&self, came: Came) -> Next {
        match came {
            Came::Batch(tickets) => self.jobs(tickets),
            Came::Nothing => Next::Nothing,
            Came::End => Next::End,
        }
    }

    fn jobs(&self, tickets: Vec<Ticket>) -> Next {
        let last = tickets.len().saturating_sub(1);
        let jobs = tickets.into_iter().enumerate().map(|(at, ticket)| Job {
            delivery: ticket.delivery,
            verdict: ticket.verdict,
            cause: ticket.cause,
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
        let Way::Here { child, waker, .. } = &self.shared.way else { return };
        if self.shared.is_forked() {
            std::mem::forget(self.batches.take());
            return;
        }
        // Closed before anybody hears of it: a batch sent from now on is refused rather than lost with the channel.
        drop(self.batches.take());
        self.shared.has_port.store(false, Ordering::Release);
        waker.inbox.send(Input::PortDown(*child));
    }
}

/// One attempt of one task. Dropping it unfinished hands it back, or reports the child's death if it was started.
#[derive(Debug)]
pub struct Job {
    delivery: Arc<Delivery>,
    verdict: Verdict,
    cause: Option<Arc<str>>,
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

    /// What took down the child that ran it before, when this one only tells of that.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Marks it as running. False if the hub has taken it back: skip it.
    pub fn start(&self) -> bool {
        let now_ns = self.shared.clock.mono_ns();
        if !self.shared.page().start(self.slot, self.sequence, now_ns / 1000) {
            self.shared.flush(); // the batch may end here
            return false;
        }
        self.started_ns.store(now_ns.max(1), Ordering::Relaxed);
        if self.shared.is_old(now_ns / 1000) {
            self.shared.wake();
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
        if self.ended.swap(true, Ordering::AcqRel) {
            return false;
        }
        let now_ns = self.shared.clock.mono_ns();
        let started_ns = self.started_ns.load(Ordering::Relaxed);
        let run_ns = (started_ns > 0).then(|| now_ns.saturating_sub(started_ns));
        let report = Report { tag: self.delivery.tag, outcome, results, publish, detail, run_ns };
        let told = Told::End { slot: self.slot, report };
        let step = |page: &Page| page.finish(self.slot, self.sequence);
        self.shared.put_if(started_ns > 0, step, told, now_ns / 1000, self.last)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if *self.ended.get_mut() || self.shared.is_forked() {
            return;
        }
        let (slot, sequence) = (self.slot, self.sequence);
        let started = *self.started_ns.get_mut() > 0;
        let told = Told::Dropped { slot, tag: self.delivery.tag, started };
        // Either it runs and nobody will end it, or it is given back; a recalled one is the hub's already.
        let step = |page: &Page| if started { page.finish(slot, sequence) } else { page.recall(slot, sequence) };
        self.shared.put_if(started, step, told, self.shared.clock.mono_ns() / 1000, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Link;
    use crate::link::tests::{assignment, linked, linked_to};

    fn jobs(link: &mut Link, port: &Port, tags: std::ops::Range<u64>) -> Vec<Job> {
        assert!(link.send(tags.map(assignment).collect()).is_empty());
        let Next::Batch(jobs) = port.try_next() else { panic!("no batch") };
        jobs
    }

    #[test]
    fn a_last_look_sees_every_job_that_runs() {
        let (mut link, port) = linked();
        let jobs = jobs(&mut link, &port, 1..4);
        assert!(jobs[0].start() && jobs[1].start(), "the page names one of them");
        let mut told = Vec::new();
        let (back, begun) = link.last_look(&mut told);
        assert_eq!((back, begun), (vec![DeliveryTag(3)], vec![DeliveryTag(1), DeliveryTag(2)]));
        assert!(told.is_empty());
    }

    #[test]
    fn a_last_look_waits_for_the_news_of_a_job_that_has_just_ended() {
        let (mut link, port) = linked();
        let jobs = jobs(&mut link, &port, 1..2);
        assert!(jobs[0].start());
        let (said, stepped) = crossbeam_channel::bounded(0);
        let told = std::thread::scope(|scope| {
            let job = &jobs[0];
            scope.spawn(move || {
                let step = |page: &Page| {
                    let done = page.finish(job.slot, job.sequence);
                    said.send(()).unwrap_or_default();
                    std::thread::sleep(Duration::from_millis(20)); // for a look that does not wait
                    done
                };
                let told = Told::Dropped { slot: job.slot, tag: job.delivery.tag, started: true };
                assert!(job.shared.put_if(true, step, told, 1, false));
            });
            assert!(stepped.recv().is_ok());
            let mut told = Vec::new();
            let (back, begun) = link.last_look(&mut told);
            assert!(back.is_empty() && begun.is_empty());
            told
        });
        assert_eq!(told.len(), 1);
        jobs[0].ended.store(true, Ordering::Relaxed);
    }

    #[test]
    fn a_port_is_closed_before_it_is_said_to_be_free() {
        let (inbox, news) = crossbeam_channel::bounded(0);
        let (mut link, port) = linked_to(inbox);
        std::thread::scope(|scope| {
            let shared = Arc::clone(&port.shared);
            scope.spawn(move || drop(port)); // which waits until its news is taken
            while shared.has_port.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            let refused = link.send(vec![assignment(1)]);
            assert!(matches!(news.recv(), Ok(Input::PortDown(0))));
            assert_eq!(refused, [DeliveryTag(1)]);
        });
    }
}
