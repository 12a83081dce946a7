//! Pure state of a worker: what it holds, what may run next, and what the broker is owed.
//!
//! No socket, thread or clock: callers pass [`Now`], so a test owns time. [`Engine`] is the one state machine; its parts
//! are public for tests and benches. The hub (`celeriac-hub`) drives it with a real clock and carries out its actions.

mod clock;
pub mod config;
pub mod engine;
mod hash;
pub mod ledger;
pub mod outcome;
pub mod policy;
pub mod ready;
mod reception;
pub mod revoked;
mod tasks;
pub mod wheel;
pub mod window;

pub use clock::Now;
pub use config::{EngineConfig, TaskPolicy};
pub use engine::{Assignment, ChildId, Cycle, Engine, Failure, Fatal, Loss, Notice, Report, Stats, Stopping, Work};
pub use outcome::Outcome;
pub use reception::Verdict;
