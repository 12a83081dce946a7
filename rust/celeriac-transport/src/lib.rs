//! Brokers behind one small contract.
//!
//! [`contract`] has the two sides: [`contract::Producer`], which blocks and survives forks, and
//! [`contract::Consumer`], which answers the hub through events. `sqlite` is the embedded broker, with `memory://` as
//! the same store without a file. [`open`] picks one by URL.

mod amqp;
pub mod bell;
pub mod contract;
pub mod open;
mod options;
mod redis;
mod slots;
mod sqlite;
mod tls;
pub mod topology;

pub use options::{Options, redacted};
