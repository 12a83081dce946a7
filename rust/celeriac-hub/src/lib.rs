//! The hub: the loop in the worker's main process that moves bytes and wakes the pool.
//!
//! One thread, one inbox. What the transport says, what children report and what the main thread asks for arrive there;
//! the engine decides; batches go to children, one cycle at a time to the transport. It never runs Python, never
//! blocks on a child or on the broker, and a panic in it leaves deliveries to their leases.

mod child;
mod clock;
mod hub;
mod inbox;
mod link;
mod notices;
mod page;
#[cfg(unix)]
mod processes;
mod run;
mod running;
mod sink;

pub use child::{Job, Next, Port};
pub use clock::Clock;
pub use hub::{Hub, HubConfig, HubStats, PortError};
pub use notices::{ChildNews, Kinds, Notice, NoticeKind};
pub use page::{Page, SlotState};
#[cfg(unix)]
pub use processes::ProcessConfig;
pub use running::Running;
pub use sink::SinkConsumer;
