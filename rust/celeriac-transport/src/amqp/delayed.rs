//! Later than now on RabbitMQ: Celery's native delayed delivery, level by level. Pure functions; nothing is sent here.
//!
//! A message that is to wait n seconds goes to the exchange of the highest of 28 levels, under n in binary, a word a digit,
//! with its routing key behind. At each level a 1 leads through a queue whose messages expire after that power of two and go
//! on to the next level, a 0 leads there at once, and all end in the exchange `celery_delayed_delivery`. Names, arguments
//! and patterns are Celery's to the letter: both use one set of levels, and each understands what the other sent.
//!
//! What Celery does not do. A delay is capped, not misrouted, and one below a second is none ([`Delay::whole`]); and where it
//! knows topic exchanges only, there is an end for every kind ([`Target`]). A topic keeps Celery's: the exchange is bound to
//! the last one by `#.` and the key, so a Celery worker finds it declared as it would. Other exchanges do not look at words,
//! so the key behind the digits names the way out instead: a word of ours, then the name in one word.
//!
//! The sender declares the way before it sends ([`way`]): the last exchange drops what nothing is bound for.

use celeriac_protocol::amqp::{ShortStr, Table, Value};

use crate::topology::{Binding, ExchangeSpec, QueueSpec};

/// Number of levels, and of digits.
const LEVELS: usize = 28;
/// Where messages come out.
const DELIVERY: &str = "celery_delayed_delivery";
/// The word before a queue that is not found by its routing key.
const QUEUE: &str = "celeriac-queue";
/// The word before such an exchange.
const EXCHANGE: &str = "celeriac-exchange";
/// Longest routing key that AMQP has, in bytes.
const LONGEST_KEY: usize = 255;

/// A number of seconds that the levels can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Delay(u32);

impl Delay {
    /// About 8.5 years. What is due later comes out then, and its receiver sends it round again.
    pub(crate) const LONGEST: Self = Self((1 << LEVELS) - 1);

    /// A second.
    pub(crate) const SHORTEST: Self = Self(1);

    /// Whole seconds from `now_ms` to `due_ms`, wall clock; the rest is waited for by the receiver, who has the `eta`. `None`
    /// below a second: there is nothing to wait for on the way.
    pub(crate) fn whole(due_ms: i64, now_ms: i64) -> Option<Self> {
        let seconds = u32::try_from(due_ms.saturating_sub(now_ms).max(0) / 1000).unwrap_or(u32::MAX);
        (seconds > 0).then(|| Self(seconds).min(Self::LONGEST))
    }

    /// Seconds.
    #[cfg(test)]
    fn seconds(self) -> u32 {
        self.0
    }
}

/// Where a delayed message is to go in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// Into this queue, and no other: through the default exchange, or back to where a worker took it from.
    Queue(&'a str),
    /// To a topic exchange under this key.
    Topic(&'a str),
    /// To an exchange that does not look at the key: fanout, headers.
    Exchange(&'a str),
}

impl<'a> Target<'a> {
    /// Of a message published to `exchange` of type `kind` under `routing_key`. `None` for a direct exchange that is named
    /// and for types of plug-ins: which queues it leads to is known to the broker alone. Such a message is sent at once with
    /// its `eta`, and each worker that gets it sends it on to its own queue.
    #[cfg_attr(not(test), expect(dead_code, reason = "for a producer's delayed messages"))]
    pub(crate) fn of(exchange: &'a str, kind: &str, routing_key: &'a str) -> Option<Self> {
        if exchange.is_empty() {
            return Some(Self::Queue(routing_key));
        }
        match kind {
            "topic" => Some(Self::Topic(without_digits(routing_key))),
            "fanout" | "headers" => Some(Self::Exchange(exchange)),
            _ => None,
        }
    }

    /// What stands behind the digits.
    fn end(self) -> String {
        match self {
            Self::Queue(name) => format!("{QUEUE}.{}", word(name)),
            Self::Topic(key) => key.to_owned(),
            Self::Exchange(name) => format!("{EXCHANGE}.{}", word(name)),
        }
    }
}

/// The exchange and routing key under which a message to `target` waits for `delay`.
///
/// `None` if the key would be too long for AMQP, which takes a name of more than 150 bytes or so: such a message cannot wait on
/// the way.
pub(crate) fn publish(target: Target<'_>, delay: Delay) -> Option<(String, String)> {
    let mut key = String::with_capacity(2 * LEVELS + 32);
    for level in (0..LEVELS).rev() {
        key.push(if delay.0 >> level & 1 == 1 { '1' } else { '0' });
        key.push('.');
    }
    key.push_str(&target.end());
    (key.len() <= LONGEST_KEY).then(|| (level_name(LEVELS - 1), key))
}

/// What a delivery says of where it was published to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It did not wait on the way: exchange and key are what they are.
    Direct,
    /// It was sent to this queue.
    Queue(String),
    /// It was sent to this exchange, which does not look at the key.
    Exchange(String),
    /// It was sent to a topic exchange under this key. Which exchange is not said.
    Topic(String),
}

/// Whether a delivery with this exchange and routing key waited on the way, and what for. Knows what Celery sent, too.
pub(crate) fn arrival(exchange: &str, routing_key: &str) -> Arrival {
    let key = without_digits(routing_key);
    if key.len() == routing_key.len() || !is_ours(exchange) {
        return Arrival::Direct;
    }
    match key.split_once('.') {
        Some((QUEUE, name)) => Arrival::Queue(unword(name)),
        Some((EXCHANGE, name)) => Arrival::Exchange(unword(name)),
        _ => Arrival::Topic(key.to_owned()),
    }
}

/// Whether an exchange is one of the levels, or the last.
fn is_ours(exchange: &str) -> bool {
    exchange == DELIVERY
        || exchange
            .strip_prefix("celery_delayed_")
            .is_some_and(|level| level.parse().is_ok_and(|level: usize| level < LEVELS))
}

/// The routing key without the digits of an earlier delay.
fn without_digits(routing_key: &str) -> &str {
    let (digits, rest) = match routing_key.as_bytes() {
        bytes if bytes.len() >= 2 * LEVELS => bytes.split_at(2 * LEVELS),
        _ => return routing_key,
    };
    let is_digits = digits.chunks(2).all(|pair| matches!(pair, [b'0' | b'1', b'.']));
    if is_digits { std::str::from_utf8(rest).unwrap_or(routing_key) } else { routing_key }
}

/// A step of declaring the levels; steps are carried out in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Declares an exchange.
    Exchange(ExchangeSpec),
    /// Declares a queue; its bindings are steps of their own.
    Queue(QueueSpec),
    /// Binds a queue to an exchange.
    BindQueue {
        /// Queue.
        queue: String,
        /// To.
        exchange: String,
        /// Pattern.
        routing_key: String,
    },
    /// Binds an exchange to another one.
    BindExchange {
        /// What gets the messages.
        destination: String,
        /// What gives them.
        source: String,
        /// Pattern.
        routing_key: String,
    },
}

/// The levels and the last exchange, declared as Celery declares them. `queue_type`: the setting
/// `broker_native_delayed_delivery_queue_type`; all who share a broker must have the same.
pub(crate) fn levels(queue_type: &str) -> Vec<Step> {
    let mut steps = vec![Step::Exchange(ExchangeSpec::new(DELIVERY, "topic"))];
    for level in 0..LEVELS {
        let next = if level == 0 { DELIVERY.to_owned() } else { level_name(level - 1) };
        let name = level_name(level);
        let mut arguments = Table::default()
            .with(ShortStr::literal("x-queue-type"), queue_type)
            .with(ShortStr::literal("x-overflow"), "reject-publish")
            .with(ShortStr::literal("x-message-ttl"), Value::from(1000_i64 << level))
            .with(ShortStr::literal("x-dead-letter-exchange"), &*next);
        if queue_type == "quorum" {
            arguments = arguments.with(ShortStr::literal("x-dead-letter-strategy"), "at-least-once");
        }
        let skipped = "*.".repeat(LEVELS - 1 - level);
        steps.push(Step::Exchange(ExchangeSpec::new(name.clone(), "topic")));
        steps.push(Step::Queue(QueueSpec { arguments, ..QueueSpec::new(name.clone()) }));
        steps.push(Step::BindQueue {
            queue: name.clone(),
            exchange: name.clone(),
            routing_key: format!("{skipped}1.#"),
        });
        steps.push(Step::BindExchange { destination: next, source: name, routing_key: format!("{skipped}0.#") });
    }
    steps
}

/// How delayed messages find their way to `queue`: once the queue, its exchanges and the levels are declared.
///
/// Its own word always: a worker sends what it took from the queue back there alone. Besides, for each binding to a topic what
/// Celery declares, and for each to a fanout or headers exchange the exchange's word.
pub(crate) fn way(queue: &QueueSpec) -> Vec<Step> {
    let mut steps = vec![Step::BindQueue {
        queue: queue.name.clone(),
        exchange: DELIVERY.to_owned(),
        routing_key: format!("#.{}", Target::Queue(&queue.name).end()),
    }];
    for Binding { exchange, routing_key, .. } in &queue.bindings {
        match &*exchange.kind {
            "topic" => {
                let pattern =
                    if routing_key.starts_with('#') { routing_key.clone() } else { format!("#.{routing_key}") };
                steps.push(Step::BindExchange {
                    destination: exchange.name.clone(),
                    source: DELIVERY.to_owned(),
                    routing_key: pattern.clone(),
                });
                steps.push(Step::BindQueue {
                    queue: queue.name.clone(),
                    exchange: exchange.name.clone(),
                    routing_key: pattern,
                });
            }
            "fanout" | "headers" => steps.push(Step::BindExchange {
                destination: exchange.name.clone(),
                source: DELIVERY.to_owned(),
                routing_key: format!("#.{}", Target::Exchange(&exchange.name).end()),
            }),
            _ => {}
        }
    }
    steps
}

fn level_name(level: usize) -> String {
    format!("celery_delayed_{level}")
}

/// A name as one word of a routing key that no pattern takes for another: dots and wildcards as `%xx`.
fn word(name: &str) -> String {
    let mut word = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '%' => word.push_str("%25"),
            '.' => word.push_str("%2E"),
            '*' => word.push_str("%2A"),
            '#' => word.push_str("%23"),
            letter => word.push(letter),
        }
    }
    word
}

fn unword(word: &str) -> String {
    ["%2E", "%2A", "%23", "%25"]
        .iter()
        .zip([".", "*", "#", "%"])
        .fold(word.to_owned(), |name, (code, letter)| name.replace(code, letter))
}

#[cfg(test)]
#[path = "delayed_tests.rs"]
mod tests;
