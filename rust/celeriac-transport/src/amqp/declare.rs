//! Topology to methods, in the order in which Kombu sends them: exchanges, queue, bindings.

use celeriac_protocol::amqp::{Method, ShortStr, Table};

use super::delayed::Step;
use crate::contract::{QueueSpec, TransportError};
use crate::topology::ExchangeSpec;

/// What declares a queue with its exchanges and bindings; nothing for one that is not to be declared.
///
/// # Errors
/// A name is too long.
pub(crate) fn queue(spec: &QueueSpec) -> Result<Vec<Method>, TransportError> {
    if spec.no_declare {
        return Ok(Vec::new());
    }
    let mut methods = Vec::with_capacity(1 + 2 * spec.bindings.len());
    let mut declared: Vec<&ExchangeSpec> = Vec::new();
    for binding in &spec.bindings {
        if !binding.exchange.no_declare && !declared.contains(&&binding.exchange) {
            methods.push(exchange(&binding.exchange)?);
            declared.push(&binding.exchange);
        }
    }
    if !spec.name.is_empty() {
        methods.push(alone(spec)?);
    }
    for binding in &spec.bindings {
        methods.push(Method::QueueBind {
            queue: name("queue", &spec.name)?,
            exchange: name("exchange", &binding.exchange.name)?,
            routing_key: name("routing key", &binding.routing_key)?,
            nowait: false,
            arguments: binding.arguments.clone(),
        });
    }
    Ok(methods)
}

/// What carries out a step of the delay levels.
///
/// # Errors
/// A name is too long.
pub(crate) fn step(step: &Step) -> Result<Method, TransportError> {
    Ok(match step {
        Step::Exchange(spec) => exchange(spec)?,
        Step::Queue(spec) => alone(spec)?,
        Step::BindQueue { queue, exchange, routing_key } => Method::QueueBind {
            queue: name("queue", queue)?,
            exchange: name("exchange", exchange)?,
            routing_key: name("routing key", routing_key)?,
            nowait: false,
            arguments: Table::default(),
        },
        Step::BindExchange { destination, source, routing_key } => Method::ExchangeBind {
            destination: name("exchange", destination)?,
            source: name("exchange", source)?,
            routing_key: name("routing key", routing_key)?,
            nowait: false,
            arguments: Table::default(),
        },
    })
}

fn exchange(spec: &ExchangeSpec) -> Result<Method, TransportError> {
    Ok(Method::ExchangeDeclare {
        exchange: name("exchange", &spec.name)?,
        kind: name("exchange type", &spec.kind)?,
        passive: spec.passive,
        durable: spec.durable,
        auto_delete: spec.auto_delete,
        internal: false,
        nowait: false,
        arguments: spec.arguments.clone(),
    })
}

fn alone(spec: &QueueSpec) -> Result<Method, TransportError> {
    Ok(Method::QueueDeclare {
        queue: name("queue", &spec.name)?,
        passive: false,
        durable: spec.durable,
        exclusive: spec.exclusive,
        auto_delete: spec.auto_delete,
        nowait: false,
        arguments: spec.arguments.clone(),
    })
}

/// A name as AMQP takes it; `what` it is, for the error.
///
/// # Errors
/// It is too long.
pub(crate) fn name(what: &str, text: &str) -> Result<ShortStr, TransportError> {
    ShortStr::new(text)
        .map_err(|_| TransportError::Refused(format!("{what} '{text}' is too long: AMQP allows 255 bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::delayed;

    #[test]
    fn the_default_queue_is_declared_as_celery_declares_it() {
        let names: Vec<&str> = queue(&QueueSpec::new("celery").bound("celery", "direct", "celery"))
            .unwrap()
            .iter()
            .map(Method::id)
            .map(|(class, method)| celeriac_protocol::amqp::name(class, method))
            .collect();
        assert_eq!(names, ["exchange.declare", "queue.declare", "queue.bind"]);
    }

    #[test]
    fn what_is_there_already_is_not_declared() {
        let mut spec = QueueSpec::new("q").bound("a", "topic", "x").bound("a", "topic", "y").bound("b", "direct", "q");
        assert_eq!(queue(&spec).unwrap().len(), 2 + 1 + 3, "an exchange once, each binding");
        spec.bindings[2].exchange.no_declare = true;
        spec.bindings[0].exchange.passive = true;
        let methods = queue(&spec).unwrap();
        assert!(matches!(methods[0], Method::ExchangeDeclare { passive: true, .. }));
        assert!(
            !methods.iter().any(
                |method| matches!(method, Method::ExchangeDeclare { exchange, .. } if exchange.as_bytes() == b"b")
            )
        );
        assert!(queue(&QueueSpec { no_declare: true, ..spec }).unwrap().is_empty());
        assert!(queue(&QueueSpec::new("q".repeat(256))).unwrap_err().to_string().contains("255"));
    }

    #[test]
    fn every_step_of_the_levels_is_a_method() {
        let spec = QueueSpec::new("jobs").bound("jobs", "topic", "jobs").bound("news", "fanout", "");
        let steps = delayed::levels("quorum").into_iter().chain(delayed::way(&spec));
        let methods: Vec<Method> = steps.map(|one| step(&one).unwrap()).collect();
        assert_eq!(methods.len(), 1 + 4 * 28 + 4);
    }
}
