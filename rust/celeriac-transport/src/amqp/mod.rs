//! RabbitMQ by AMQP 0-9-1.
//!
//! `settings` reads a URL · `connection` is the protocol's state, without a socket · `stream` is the socket, with TLS · `link`
//! drives a connection over a stream · `fault` says what failures mean · `delayed` is the way of
//! messages that are due later · `acks` makes few frames of many acks.

mod acks;
mod connection;
#[cfg_attr(not(test), expect(dead_code, reason = "for the consumer"))]
mod delayed;
mod fault;
mod link;
mod settings;
mod stream;
