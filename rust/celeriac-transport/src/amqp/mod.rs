//! RabbitMQ by AMQP 0-9-1.
//!
//! `settings` reads a URL · `connection` is the protocol's state, without a socket · `stream` is the socket, with TLS · `link`
//! drives a connection over a stream · `fault` says what failures mean · `line` waits for answers · `declare` turns topology
//! into methods · `delayed` is the way of messages that are due later.
//!
//! `producer` and `consumer` are the contract's sides. The consumer's thread is `actor`, with its orders in `mailbox`; `held` is
//! what the hub holds, `acks` makes few frames of many acks, `letters` are deliveries that go elsewhere, `publisher` sends them.

mod acks;
mod actor;
mod connection;
mod consumer;
mod declare;
mod delayed;
mod fault;
mod held;
mod letters;
mod line;
mod link;
mod mailbox;
mod producer;
mod publisher;
mod settings;
mod stream;

pub(crate) use consumer::AmqpConsumer;
pub(crate) use producer::AmqpProducer;
pub(crate) use settings::Settings;
