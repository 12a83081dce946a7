//! What every transport offers, and how it fails.
//!
//! - [`Producer`] blocks, owns no thread, and may be used from any thread and, after a fork, from the child.
//! - [`Consumer`] is an actor: [`Consumer::submit`] never blocks; what happens comes back as an [`Event`].
//! - [`Results`] is a result store that the hub can write to in the same step as a settlement.
//!
//! Credit: a [`Cycle`] says how many deliveries the hub may have been given in all since the start (`credit_total`). The
//! transport hands over until its own count reaches it, at once or as messages arrive, and then waits for a cycle that
//! raises it. A running total, because deliveries under way when the hub decides are then counted already; a number
//! "from now on" would let the hub be given more than its prefetch.
//!
//! Blame: when a worker dies or loses its lease, a delivery named in [`Cycle::started`] counts one crash, and one more if
//! it has a stray, which is used up. One that was not named and had never been delivered before gets a stray: it may have
//! begun. One that was not named and is `redelivered` gets nothing: the hub begins those only once their start is stored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::{Delivery, DeliveryTag, End, Publication, ResultWrite};

pub use crate::topology::QueueSpec;

/// Everything that the hub wants from the broker in one go; as far as the broker allows, one write.
#[derive(Debug, Default)]
pub struct Cycle {
    /// Returned with the event that answers it.
    pub id: u64,
    /// Deliveries that have ended, each in one step with its results and continuations; carried out in this order.
    pub ends: Vec<End>,
    /// States that belong to no open delivery: STARTED and progress, and the end of tasks that were acked early. Stored
    /// in order, before those of `ends`.
    pub results: Vec<ResultWrite>,
    /// Continuations of tasks that were acked early: their delivery is settled, so no [`End`] can carry them.
    pub publish: Vec<Publication>,
    /// Deliveries that this consumer may have handed over in all since its start. Replaces the value of earlier cycles;
    /// at or below what was handed over it means none.
    pub credit_total: u64,
    /// Deliveries whose task began and has not ended: if this worker dies now, that counts as a crash of theirs. One that
    /// begins and ends between two cycles need not be named.
    pub started: Vec<DeliveryTag>,
}

/// What a consumer reports.
#[derive(Debug)]
pub enum Event {
    /// Cycle `id` is stored. `lost` had been taken from this worker before (lease ran out): their ends were refused.
    Cycled {
        /// The cycle.
        id: u64,
        /// Tags whose end was refused.
        lost: Vec<DeliveryTag>,
        /// What the broker will never store, and that alone: trying again is no use.
        refused: Vec<Refusal>,
    },
    /// Nothing of the cycle was done. Submit it again if the error [is transient](TransportError::is_transient).
    Failed {
        /// The cycle, whole.
        cycle: Cycle,
        /// Why.
        error: TransportError,
    },
    /// Messages handed to this worker, against its credit.
    Deliveries(Vec<Delivery>),
    /// Leases of these deliveries ran out and somebody else has them: their results must be refused.
    Lost(Vec<DeliveryTag>),
    /// A message from a fanout exchange that this worker subscribed to.
    Broadcast {
        /// Exchange it came through.
        exchange: Arc<str>,
        /// Its routing key.
        routing_key: Arc<str>,
        /// The envelope.
        payload: Bytes,
    },
    /// The broker cannot be reached; the transport tries again by itself and says [`Event::Up`].
    Down(TransportError),
    /// The broker is there (again). Deliveries of before a [`Event::Down`] that are still held stay valid unless
    /// [`Event::Lost`] names them.
    Up,
    /// Messages that are worth a line in the log.
    Notice(String),
    /// The consumer has stopped; no event follows.
    Stopped,
}

/// A part of a cycle that the broker refused, with no harm to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The delivery whose end it is. It is still held: it can be settled in another way.
    pub end: Option<DeliveryTag>,
    /// What was refused, unless that is an end; why, and what to do.
    pub why: String,
}

/// Where a consumer's events go. Called on the transport's thread; must not block.
pub type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// The worker's side of a transport.
pub trait Consumer: Send {
    /// Begins to consume `queues`; events go to `sink`. Called once.
    ///
    /// # Errors
    /// The transport cannot ever work (bad URL, unusable file). A broker that is merely away is [`Event::Down`].
    fn start(&mut self, queues: Vec<QueueSpec>, sink: EventSink) -> Result<(), TransportError>;

    /// Hands over a cycle. Never blocks. Answered by exactly one [`Event::Cycled`] or [`Event::Failed`].
    fn submit(&self, cycle: Cycle);

    /// Consumes one more queue, or stops consuming one (what is held of it stays held).
    fn set_consuming(&self, queue: QueueSpec, on: bool);

    /// Stops handing over, stores what was submitted, then says [`Event::Stopped`]. Held deliveries that were not
    /// settled go back to their queues at once. May be called twice.
    fn stop(&self);

    /// Waits until it has stopped.
    fn join(&mut self);
}

/// A message in the dead-letter store.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Its number in the store.
    pub id: i64,
    /// Queue it was taken from.
    pub queue: String,
    /// One word (`celeriac_protocol::delivery::reasons`).
    pub reason: String,
    /// A sentence.
    pub detail: String,
    /// When it was put here, wall clock, ms since the epoch.
    pub died_ms: i64,
    /// The bytes as they came.
    pub payload: Bytes,
}

/// What waits in a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Name.
    pub name: String,
    /// Ready to be taken.
    pub ready: u64,
    /// Waiting for their time.
    pub delayed: u64,
    /// Held by workers.
    pub held: u64,
}

/// The producer's and the operator's side of a transport. Blocks up to the deadline given to its constructor.
pub trait Producer: Send + Sync {
    /// Stores all of them or none. Returns how many queues got a message (0: no binding matched).
    ///
    /// On Redis a batch of more than 32 MB is several steps, a fanout exchange counts who listens, and a message with a
    /// `due_ms` is ready at once: a worker parks it. A connection that breaks before the answer came may have stored it.
    ///
    /// On RabbitMQ each message is stored by itself: after an error some of a batch may be, and each one that a queue got counts
    /// once.
    ///
    /// # Errors
    /// [`TransportError`]; nothing was stored.
    fn publish(&self, batch: &[Publication]) -> Result<usize, TransportError>;
    /// Creates the queue, its exchanges and its bindings, if they do not exist.
    ///
    /// # Errors
    /// [`TransportError`], also when one of them exists with another type or, on RabbitMQ, other arguments.
    fn declare(&self, queue: &QueueSpec) -> Result<(), TransportError>;
    /// Publishes to a fanout exchange: whoever listens now gets it, nobody later.
    ///
    /// # Errors
    /// [`TransportError`].
    fn broadcast(&self, exchange: &str, routing_key: &str, payload: &[u8]) -> Result<(), TransportError>;
    /// Deletes what is ready or delayed in a queue; returns how many. Held messages stay.
    ///
    /// # Errors
    /// [`TransportError`].
    fn purge(&self, queue: &str) -> Result<u64, TransportError>;
    /// Every queue that is declared or holds a message.
    ///
    /// # Errors
    /// [`TransportError`].
    fn depths(&self) -> Result<Vec<QueueDepth>, TransportError>;
    /// Dead letters, newest first, at most `limit`, with ids below `before` if given.
    ///
    /// # Errors
    /// [`TransportError`].
    fn dead_list(&self, limit: usize, before: Option<i64>) -> Result<Vec<DeadLetter>, TransportError>;
    /// One dead letter.
    ///
    /// # Errors
    /// [`TransportError`].
    fn dead_get(&self, id: i64) -> Result<Option<DeadLetter>, TransportError>;
    /// Puts dead letters back into their queues (`None`: all), crash count reset; returns how many.
    ///
    /// # Errors
    /// [`TransportError`].
    fn dead_replay(&self, ids: Option<&[i64]>) -> Result<u64, TransportError>;
    /// Deletes dead letters (`None`: all); returns how many.
    ///
    /// # Errors
    /// [`TransportError`].
    fn dead_purge(&self, ids: Option<&[i64]>) -> Result<u64, TransportError>;
}

/// A store of results. Values are opaque here.
pub trait Results: Send + Sync {
    /// The values under `keys`, in their order; expired ones are `None`.
    ///
    /// # Errors
    /// [`TransportError`].
    fn get(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, TransportError>;
    /// Stores in order; a key whose stored value is a success is left alone. Returns how many were stored. How the store
    /// knows a success is its own affair: Redis, which Celery writes to as well, looks at the value.
    ///
    /// # Errors
    /// [`TransportError`].
    fn put(&self, writes: &[ResultWrite]) -> Result<usize, TransportError>;
    /// Deletes; returns how many there were.
    ///
    /// # Errors
    /// [`TransportError`].
    fn delete(&self, keys: &[&str]) -> Result<usize, TransportError>;
    /// Drops what has expired; returns how many.
    ///
    /// # Errors
    /// [`TransportError`].
    fn cleanup(&self) -> Result<u64, TransportError>;
    /// A number that grows whenever results may have changed; remember it *before* a [`Results::get`].
    ///
    /// # Errors
    /// [`TransportError`]; `Refused` by a store that is waited on otherwise (Redis: by subscription).
    fn generation(&self) -> Result<u64, TransportError>;
    /// Waits until the generation is no longer `seen`, the time is up, or a signal came; returns the generation. Usable
    /// from many threads at once.
    ///
    /// # Errors
    /// [`TransportError`].
    fn wait_change(&self, seen: u64, timeout: Duration) -> Result<u64, TransportError>;
}

/// How a transport fails. Each says what failed, with which value, and what to do; no passwords.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// The URL or an option cannot be used. Trying again is no use.
    #[error("{0}")]
    Config(String),
    /// The broker cannot be reached, or did not answer in time. Trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// The store is damaged, or of a version that this program must not touch.
    #[error("{0}")]
    Corrupt(String),
    /// No room: disk full, quota, memory limit of the broker.
    #[error("{0}")]
    Full(String),
    /// The request itself cannot be carried out (message too large, exchange of another type).
    #[error("{0}")]
    Refused(String),
}

impl TransportError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_))
    }
}
