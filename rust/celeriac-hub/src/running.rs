//! What runs now, for whoever asks.

use std::sync::Arc;

use celeriac_engine::ChildId;
use celeriac_protocol::Delivery;

/// A task that a child runs.
#[derive(Debug, Clone)]
pub struct Running {
    /// The child.
    pub child: ChildId,
    /// Its process; `None`: this one.
    pub pid: Option<i32>,
    /// The task's message.
    pub delivery: Arc<Delivery>,
    /// How long it has run, in µs.
    pub run_us: u64,
}
