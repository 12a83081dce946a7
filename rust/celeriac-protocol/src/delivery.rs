//! The words that a transport, the engine and the hub exchange about messages.
//!
//! Data only. What a broker does with them is the transport's affair; which of them to send is the engine's.

use std::sync::Arc;

use bytes::Bytes;

use crate::Message;

/// One hand-over of a message to this worker. Unique within a transport's life in this process: a tag of an earlier
/// connection is never given again, so a late settlement cannot hit another delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryTag(pub u64);

/// A message on its way to a queue.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Exchange; empty for the default exchange, which routes to the queue named by `routing_key`.
    pub exchange: Arc<str>,
    /// Routing key; the queue's name with the default exchange.
    pub routing_key: Arc<str>,
    /// 0..=9 as in the message's properties. 0 is the most urgent, as on Redis.
    pub priority: u8,
    /// Wall clock in ms since the epoch before which nobody may be given the message; `None` for now.
    pub due_ms: Option<i64>,
    /// The envelope.
    pub payload: Bytes,
}

/// A message handed to this worker, which now owes an answer for it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The name under which to settle it.
    pub tag: DeliveryTag,
    /// Queue it was taken from.
    pub queue: Arc<str>,
    /// It was handed to a worker before.
    pub redelivered: bool,
    /// How many workers died or lost contact while they ran it. Not retries.
    pub crashes: u32,
    /// The message, readable or not.
    pub message: Message,
}

/// The answer to a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// Done with: forget the message.
    Ack,
    /// Back to its queue. `front`: next in line, else last. `crashed` counts one more crash against it.
    Requeue {
        /// Next in line rather than last.
        front: bool,
        /// The attempt ended with the death of the process that ran it.
        crashed: bool,
    },
    /// Kept on the broker's side until then (wall clock, ms since the epoch), then ready in its queue again.
    Park {
        /// When it becomes ready.
        until_ms: i64,
    },
    /// To the dead-letter store, with the bytes as they came.
    Dead {
        /// One word of `celeriac_protocol::delivery::reasons`.
        reason: &'static str,
        /// What happened, in a sentence for the operator.
        detail: String,
    },
}

/// Why a message went to the dead-letter store.
pub mod reasons {
    /// Its bytes are not a task message.
    pub const MALFORMED: &str = "malformed";
    /// Its body cannot be decoded.
    pub const UNDECODABLE: &str = "undecodable";
    /// Content type that this worker does not know or does not accept.
    pub const CONTENT_TYPE: &str = "content-type";
    /// No task of that name is registered here.
    pub const UNKNOWN_TASK: &str = "unknown-task";
    /// Too large for `worker_max_message_bytes`.
    pub const OVERSIZED: &str = "oversized";
    /// `task_max_crashes` processes died running it.
    pub const CRASHED: &str = "crashed";
    /// The task rejected it without requeue.
    pub const REJECTED: &str = "rejected";
}

/// A state of a task for the result store that the hub writes to.
#[derive(Debug, Clone)]
pub struct ResultWrite {
    /// Key in the store, e.g. `celery-task-meta-<id>`.
    pub key: Arc<str>,
    /// The serialized meta.
    pub value: Bytes,
    /// Wall clock in ms since the epoch after which the store may drop it; `None` for never.
    pub expires_ms: Option<i64>,
    /// This is SUCCESS: nothing overwrites it later.
    pub success: bool,
}

/// The end of one delivery, stored in one step where the transport allows it: result first, then continuation, then
/// settlement.
#[derive(Debug, Clone)]
pub struct End {
    /// Which delivery.
    pub tag: DeliveryTag,
    /// Its answer.
    pub settlement: Settlement,
    /// States to store, in order.
    pub results: Vec<ResultWrite>,
    /// Messages that follow from it: a retry, callbacks, the next step of a chain.
    pub publish: Vec<Publication>,
}
