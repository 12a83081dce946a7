//! Queues, exchanges and bindings as they are declared: what `Queue` and `Exchange` say in Python, typed.
//!
//! A broker takes of it what it has: RabbitMQ all, Redis and SQLite names, types and keys. There, as on Kombu's virtual
//! transports, durability and arguments mean nothing, every queue is kept, and an exchange of type headers is refused.

use celeriac_protocol::amqp::{Table, Value};

/// An exchange.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the fields of exchange.declare")]
pub struct ExchangeSpec {
    /// Name; empty for the default exchange, which nothing can be bound to: every queue is in it under its name.
    pub name: String,
    /// `direct`, `topic`, `fanout`, `headers`, or one of a plug-in.
    pub kind: String,
    /// Survives the broker's restart.
    pub durable: bool,
    /// Goes when its last binding goes.
    pub auto_delete: bool,
    /// More, for the broker.
    pub arguments: Table,
    /// Must be there already: declared `passive`, whatever its type.
    pub passive: bool,
    /// Is not declared at all.
    pub no_declare: bool,
}

impl ExchangeSpec {
    /// A durable exchange without arguments.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            durable: true,
            auto_delete: false,
            arguments: Table::default(),
            passive: false,
            no_declare: false,
        }
    }
}

/// How messages get from an exchange into a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// From.
    pub exchange: ExchangeSpec,
    /// Key, or pattern.
    pub routing_key: String,
    /// Of exchanges of type headers: `x-match` and the headers that must match.
    pub arguments: Table,
}

/// A queue and how messages get into it. For a consumer, an empty `name` with a fanout exchange stands for a subscription
/// to its broadcasts while the consumer runs: see [`QueueSpec::subscription`].
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the fields of queue.declare")]
pub struct QueueSpec {
    /// Name.
    pub name: String,
    /// Bindings in the order in which they are made. A queue without one gets what is published to its name.
    pub bindings: Vec<Binding>,
    /// Survives the broker's restart.
    pub durable: bool,
    /// For one connection, with which it goes.
    pub exclusive: bool,
    /// Goes when its last consumer goes.
    pub auto_delete: bool,
    /// `x-queue-type`, `x-max-priority`, `x-expires`…
    pub arguments: Table,
    /// Of its consumer: `x-priority`…
    pub consumer_arguments: Table,
    /// Is there already: neither it nor its exchanges and bindings are declared.
    pub no_declare: bool,
}

impl QueueSpec {
    /// A durable queue that gets what is published to its name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            bindings: Vec::new(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: Table::default(),
            consumer_arguments: Table::default(),
            no_declare: false,
        }
    }

    /// The same queue, bound once more. The default exchange adds nothing.
    #[must_use]
    pub fn bound(mut self, exchange: &str, kind: &str, routing_key: &str) -> Self {
        if !exchange.is_empty() {
            let kind = if kind.is_empty() { "direct" } else { kind };
            let exchange = ExchangeSpec::new(exchange, kind);
            self.bindings.push(Binding { exchange, routing_key: routing_key.to_owned(), arguments: Table::default() });
        }
        self
    }

    /// The binding that is listened to, if this is no queue but a subscription.
    #[must_use]
    pub fn subscription(&self) -> Option<&Binding> {
        if self.name.is_empty() { self.fanouts().next() } else { None }
    }

    /// Bindings to fanout exchanges.
    pub fn fanouts(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(|binding| binding.exchange.kind == "fanout")
    }

    /// Its `x-queue-type`; `None` where the broker decides.
    #[must_use]
    pub fn queue_type(&self) -> Option<String> {
        match self.arguments.get("x-queue-type") {
            Some(Value::Str(kind)) => Some(kind.text().into_owned()),
            _ => None,
        }
    }

    /// Whether it is a quorum queue, which takes no prefetch for a whole channel.
    #[must_use]
    pub fn is_quorum(&self) -> bool {
        self.queue_type().as_deref() == Some("quorum")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_of_no_name_is_a_subscription_if_it_has_a_fanout_exchange() {
        assert!(QueueSpec::new("").bound("ctl", "fanout", "").subscription().is_some());
        assert!(QueueSpec::new("").bound("ctl", "direct", "").subscription().is_none());
        assert!(QueueSpec::new("q").bound("ctl", "fanout", "").subscription().is_none());
        assert_eq!(QueueSpec::new("q").bound("", "direct", "q"), QueueSpec::new("q"));
    }
}
