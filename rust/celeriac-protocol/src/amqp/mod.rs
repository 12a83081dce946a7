//! AMQP 0-9-1 as RabbitMQ speaks it: bytes to frames, methods, properties and tables, and back.
//!
//! `wire` has the elementary types, `table` the typed values of headers and arguments, `method` the methods as one table,
//! `properties` the content header, `frame` what holds them; `content` is a whole message outside of frames, `envelope` the
//! way from other brokers' messages to them, `view` and `write` are the tables of messages without objects in between. Every
//! reader is bounded by the bytes that are there: a length
//! that promises more is an error before anything is allocated for it, and tables nest [`MAX_TABLE_DEPTH`] deep at most.
//!
//! Not here: what follows from a method; that is the connection's affair (`celeriac-transport`).

pub mod content;
pub mod envelope;
mod frame;
mod method;
mod properties;
mod table;
mod view;
mod wire;
pub mod write;

pub use frame::{
    FRAME_OVERHEAD, Frame, FrameKind, HEARTBEAT, PROTOCOL_HEADER, split, write_ack, write_body, write_content,
    write_method,
};
pub use method::{Method, name};
pub use properties::{ContentHeader, Properties};
pub use table::{MAX_TABLE_DEPTH, Table, Value};
pub use view::{Fields, View};
pub use wire::{LongStr, Reader, ShortStr, WireError, Writer};
