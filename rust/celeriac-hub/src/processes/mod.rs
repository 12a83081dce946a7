//! Child processes: what they share with the hub, how they are started, watched, limited and replaced.
//!
//! `area`, `frame`: memory and bytes between the two ends. `outbox`: the child's end. `away`: the hub's end of one child.
//! `zygote`: where children come from. `pool`: which there are, and when another is due. `tend`: the hub's loop with them.
//! `system`: what only one system has, and what others have in its place.

pub(crate) mod area;
pub(crate) mod away;
mod exit;
pub(crate) mod frame;
pub(crate) mod outbox;
pub(crate) mod pool;
mod system;
mod tend;
mod zygote;

pub use pool::ProcessConfig;
