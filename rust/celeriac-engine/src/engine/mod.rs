//! The one state machine of a worker: deliveries in, batches for children and cycles for the transport out.
//!
//! A delivery is in exactly one place: ready, waiting for its time, or with a child; then its end is pending, then
//! part of the one cycle that is under way. Invariants (`tests/engine_props.rs`):
//! - each delivery that was opened is settled exactly once, or the transport said that it is lost;
//! - deliveries held, plus credit not used up, are at most the prefetch;
//! - after a stop every delivery is settled or handed back;
//! - nothing is stored for a delivery that was lost;
//! - what was delivered before begins only once its start is stored, alone on an idle child.
//!
//! Files: `intake` (reception), `dispatch` (to children), `careful` (of what was delivered before), `children` (what the
//! hub sees of them), `ends` (outcomes and cycles), `stop`.

mod careful;
mod children;
mod dispatch;
mod ends;
mod intake;
mod limits;
mod stop;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;

use celeriac_protocol::{Delivery, DeliveryTag, Settlement};

use crate::hash::TagMap;
use crate::ledger::Ledger;
use crate::ready::Ready;
use crate::reception::Checks;
use crate::revoked::Revoked;
use crate::tasks::{TaskRow, Tasks};
use crate::wheel::{TimerId, Wheel};
use crate::window::Window;
use crate::{EngineConfig, Now, Verdict};

use children::Child;
use ends::Pending;
pub use words::{Assignment, ChildId, Cycle, Failure, Fatal, Loss, Notice, Report, Stats, Stopping, Work};

/// What is known about a delivery until its task has ended.
#[derive(Debug)]
struct Held {
    delivery: Arc<Delivery>,
    task: Option<TaskRow>,
    verdict: Verdict,
    place: Place,
    /// The transport was told that its task began.
    begun: bool,
    /// What took down the child that ran it.
    cause: Option<Arc<str>>,
    /// Its answer, when the child that ran it died and another one only tells of that.
    answer: Option<Settlement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    Waiting(TimerId),
    /// Begins there once that is stored.
    Named(ChildId),
    Child(ChildId),
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    checks: Checks,
    notify_received: bool,
    window: Window,
    ledger: Ledger<Held>,
    /// Tasks that go on after their delivery was acked.
    acked: TagMap<DeliveryTag, Held>,
    ready: Ready,
    /// Ready, too; these begin carefully.
    careful: Ready,
    waiting: Wheel<DeliveryTag>,
    tasks: Tasks,
    revoked: Revoked,
    children: Vec<Child>,
    limits: bool,
    pending: Pending,
    received: u64,
    stopping: Stopping,
    /// Ends of tasks that died with their child are told in a warm stop, too: a child process can be started for that.
    tells: bool,
    work: VecDeque<Work>,
    notices: Vec<Notice>,
    stats: Stats,
}

impl Engine {
    /// An engine that holds nothing and has no child up.
    #[must_use]
    pub fn new(config: &EngineConfig) -> Self {
        Self {
            checks: Checks::new(config),
            notify_received: config.notify_received,
            window: Window::new(config.prefetch, config.max_held_bytes),
            ledger: Ledger::default(),
            acked: TagMap::default(),
            ready: Ready::default(),
            careful: Ready::default(),
            waiting: Wheel::default(),
            tasks: Tasks::new(&config.tasks),
            revoked: Revoked::default(),
            children: (0..config.children).map(|_| Child::default()).collect(),
            limits: config.limits,
            pending: Pending::default(),
            received: 0,
            stopping: Stopping::No,
            tells: config.limits,
            work: VecDeque::new(),
            notices: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// Tasks with these ids must not run any more. What runs goes on.
    pub fn revoke<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>, now: Now) {
        for id in ids {
            self.revoked.add(id, now);
        }
        // What children have not started comes back, and is checked again before it goes out.
        for child in 0..self.children.len() {
            if !self.children[child].jobs.is_empty() {
                self.want_recall(child);
            }
        }
    }

    /// Time has passed: what waited for it becomes ready.
    pub fn tick(&mut self, now: Now) {
        while let Some(tag) = self.waiting.pop_due(now.mono_us) {
            self.line_up(tag, false);
        }
    }

    /// When to call [`Engine::tick`] and look again, in µs of the monotonic clock; `None` when only events matter.
    pub fn next_wake_us(&mut self) -> Option<u64> {
        let looks = self.children.iter().filter_map(|child| child.next_look_us).min();
        [looks, self.waiting.next_due(), self.pending.retry_at_us()].into_iter().flatten().min()
    }

    /// The next thing to be done with a child.
    pub fn next_work(&mut self) -> Option<Work> {
        self.work.pop_front()
    }

    /// What is worth telling, oldest first.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// There is something to be told.
    #[must_use]
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Counters since the start, and what is held now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            held: self.ledger.held() as u64,
            held_bytes: self.ledger.bytes() as u64,
            ready: (self.ready.len() + self.careful.len() + self.named()) as u64,
            waiting: self.waiting.len() as u64,
            with_children: self.children.iter().map(|child| child.jobs.len() as u64).sum(),
            ..self.stats
        }
    }

    /// The message of a delivery whose task has not ended.
    #[must_use]
    pub fn delivery(&self, tag: DeliveryTag) -> Option<&Arc<Delivery>> {
        self.find(tag).map(|held| &held.delivery)
    }

    fn find(&self, tag: DeliveryTag) -> Option<&Held> {
        self.ledger.get(tag).or_else(|| self.acked.get(&tag))
    }

    fn find_mut(&mut self, tag: DeliveryTag) -> Option<&mut Held> {
        match self.ledger.get_mut(tag) {
            Some(held) => Some(held),
            None => self.acked.get_mut(&tag),
        }
    }

    fn children_up(&self) -> usize {
        self.children.iter().filter(|child| child.up).count()
    }
}

/// 0 is the most urgent; unreadable messages have none.
fn priority(delivery: &Delivery) -> u8 {
    delivery.message.head.as_ref().map_or(0, |head| head.priority)
}
