//! What goes in and comes out of the engine.

use std::sync::Arc;

use celeriac_protocol::{Delivery, DeliveryTag, End, Publication, ResultWrite};

use crate::{Outcome, Verdict};

/// A child of the pool: its number from 0.
pub type ChildId = usize;

/// One task for a child.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Its message.
    pub delivery: Arc<Delivery>,
    /// Whether it may run.
    pub verdict: Verdict,
    /// What took down the child that ran it before.
    pub cause: Option<Arc<str>>,
}

/// How a child was lost.
#[derive(Debug, Clone)]
pub enum Loss {
    /// It died: how, in words.
    Died(String),
    /// It was killed, as the task it ran had run for longer than it may: the limit in words.
    TimeLimit(String),
}

/// What is to be done with a child.
#[derive(Debug)]
pub enum Work {
    /// Give it these, in order.
    Dispatch {
        /// The child.
        child: ChildId,
        /// At least one.
        batch: Vec<Assignment>,
    },
    /// Take back what it has not started, and say so with `Engine::recalled`.
    Recall {
        /// The child.
        child: ChildId,
    },
    /// Interrupt the task that it runs.
    Interrupt {
        /// The child.
        child: ChildId,
        /// The task; if it has ended in the meantime, nothing is to be done.
        tag: DeliveryTag,
    },
    /// Kill it, and say so with `Engine::child_lost`.
    Kill {
        /// The child.
        child: ChildId,
        /// Its task; as above.
        tag: DeliveryTag,
        /// The limit in words.
        limit: String,
    },
    /// It has been given as many tasks as it may run: it gets no more, and is to be replaced.
    Retire {
        /// The child.
        child: ChildId,
    },
}

/// The end of an attempt, as a child reports it.
#[derive(Debug)]
pub struct Report {
    /// Which delivery.
    pub tag: DeliveryTag,
    /// What became of it.
    pub outcome: Outcome,
    /// States to store.
    pub results: Vec<ResultWrite>,
    /// Messages that follow.
    pub publish: Vec<Publication>,
    /// Why, for the dead-letter store.
    pub detail: Option<String>,
    /// How long it ran, in ns; `None` if it was never started.
    pub run_ns: Option<u64>,
}

/// Everything for the transport in one go; the hub turns it into the transport's own `Cycle`.
#[derive(Debug, Default)]
pub struct Cycle {
    /// Rises by one each time.
    pub id: u64,
    /// Deliveries that have ended.
    pub ends: Vec<End>,
    /// States that belong to no open delivery.
    pub results: Vec<ResultWrite>,
    /// Messages that belong to no open delivery.
    pub publish: Vec<Publication>,
    /// Deliveries that may be received in all since the start.
    pub credit_total: u64,
    /// Deliveries whose task began and goes on: they are to blame if this process dies.
    pub started: Vec<DeliveryTag>,
}

/// Something worth telling.
#[derive(Debug)]
pub enum Notice {
    /// A line for the log, at Python's WARNING level.
    Warning(String),
    /// A line for the log, at Python's ERROR level.
    Error(String),
    /// A task came in and will run.
    Received(Arc<Delivery>),
    /// Its task is not registered here.
    Unknown(Arc<Delivery>),
    /// It will not run: expired or revoked.
    Revoked(Arc<Delivery>, Verdict),
    /// It goes to the dead-letter store.
    Dead {
        /// The message.
        delivery: Arc<Delivery>,
        /// One word of `celeriac_protocol::delivery::reasons`.
        reason: &'static str,
        /// A sentence.
        detail: String,
    },
}

/// How far a stop has gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stopping {
    /// Not at all.
    #[default]
    No,
    /// Running tasks end, the rest goes back.
    Warm,
    /// Running tasks go back, too.
    Cold,
}

/// Why a cycle failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The same may succeed later.
    Transient,
    /// The broker cannot carry out what was asked for.
    Refused,
    /// No cycle will ever succeed.
    Permanent,
}

/// The transport can never go on: why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal(pub String);

/// Counters since the start, and what is held now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Deliveries that came in.
    pub received: u64,
    /// Tasks that ended here, by whatever outcome.
    pub ended: u64,
    /// Deliveries that were acked.
    pub acked: u64,
    /// Deliveries that went back to their queue.
    pub requeued: u64,
    /// Deliveries that were parked until their time.
    pub parked: u64,
    /// Deliveries that went to the dead-letter store.
    pub dead: u64,
    /// Deliveries whose lease ran out.
    pub lost: u64,
    /// Tasks that ended after their delivery was lost or handed back; nothing of them was stored.
    pub refused: u64,
    /// Tasks that were taken back from a child before they started.
    pub recalled: u64,
    /// Cycles that were stored.
    pub cycles: u64,
    /// Cycles that failed.
    pub failed_cycles: u64,
    /// Deliveries held now.
    pub held: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// Deliveries that could run now.
    pub ready: u64,
    /// Deliveries that wait for their time here.
    pub waiting: u64,
    /// Tasks that children have in hand.
    pub with_children: u64,
}
