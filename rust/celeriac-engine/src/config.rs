//! What the engine must know before it starts.

use std::collections::{HashMap, HashSet};

use crate::window::Prefetch;

/// How the end of a task answers its delivery: the task's own settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPolicy {
    /// Ack after the task has ended rather than when it starts.
    pub acks_late: bool,
    /// With late ack: a failure is acked, too. Else it goes to the dead-letter store.
    pub acks_on_failure: bool,
    /// With late ack: run again when the child that ran it has died.
    pub reject_on_worker_lost: bool,
    /// Processes that may die running one message; 0 for no limit.
    pub max_crashes: u32,
    /// After so long the task is interrupted, where its child can be.
    pub soft_limit_us: Option<u64>,
    /// After so long its child is killed, where it is a process.
    pub hard_limit_us: Option<u64>,
}

impl Default for TaskPolicy {
    fn default() -> Self {
        Self {
            acks_late: false,
            acks_on_failure: true,
            reject_on_worker_lost: false,
            max_crashes: 3,
            soft_limit_us: None,
            hard_limit_us: None,
        }
    }
}

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Children that can be up at once; their ids are `0..children`.
    pub children: usize,
    /// How many deliveries to hold.
    pub prefetch: Prefetch,
    /// Cap on the payload held, in bytes.
    pub max_held_bytes: usize,
    /// Tasks registered here, by name.
    pub tasks: HashMap<String, TaskPolicy>,
    /// Content types that are accepted.
    pub accept: HashSet<String>,
    /// What dates without an offset are ahead of UTC, in ms.
    pub timezone_offset_ms: i64,
    /// Largest message that is run.
    pub max_message_bytes: usize,
    /// Children can be interrupted and killed: time limits are kept.
    pub limits: bool,
    /// Give a [`crate::Notice::Received`] for every delivery that will run.
    pub notify_received: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            children: 1,
            prefetch: Prefetch::Adaptive,
            max_held_bytes: 64 << 20,
            tasks: HashMap::new(),
            accept: HashSet::from(["application/json".to_owned()]),
            timezone_offset_ms: 0,
            max_message_bytes: 64 << 20,
            limits: false,
            notify_received: false,
        }
    }
}
