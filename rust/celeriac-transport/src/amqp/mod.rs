//! RabbitMQ by AMQP 0-9-1.
//!
//! `settings` reads a URL · `connection` is the protocol's state, without a socket · `stream` is the socket, with TLS · `link`
//! drives a connection over a stream · `fault` says what failures mean · `acks` makes few frames of many acks.

mod acks;
mod connection;
mod fault;
mod link;
mod settings;
mod stream;
