//! Celery messages to bytes and back.
//!
//! Imports nothing of ours; does no I/O and reads no clock. Every decoder here takes hostile input:
//! it answers with a value or an error, never with a panic or unbounded recursion (`rust/celeriac-protocol/fuzz`).

pub mod amqp;
pub mod base64;
pub mod compression;
pub mod dates;
pub mod delivery;
pub mod json;
pub mod message;
pub mod msgpack;
mod scan;
pub mod uuid;

pub use delivery::{Delivery, DeliveryTag, End, Publication, ResultWrite, Settlement};
pub use message::{BodyEncoding, Head, Malformed, Message, Span, Text};
