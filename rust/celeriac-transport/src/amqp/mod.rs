//! RabbitMQ by AMQP 0-9-1.
//!
//! `settings` reads a URL · `connection` is the protocol's state, without a socket · `stream` is the socket, with TLS · `link`
//! drives a connection over a stream · `fault` says what failures mean · `line` waits for answers · `producer` is the
//! contract's side · `declare` turns topology into methods · `delayed` is the way of messages that are due later · `acks` makes few frames of many acks.

#[cfg_attr(not(test), expect(dead_code, reason = "for the consumer"))]
mod acks;
mod connection;
mod declare;
#[cfg_attr(not(test), expect(dead_code, reason = "for the consumer"))]
mod delayed;
mod fault;
mod line;
mod link;
mod producer;
mod settings;
mod stream;

pub(crate) use producer::AmqpProducer;
pub(crate) use settings::Settings;
