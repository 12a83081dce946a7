//! Celery's own declarations and publications, and a topic router that carries messages through the levels.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

fn vectors(name: &str) -> Json {
    let path = format!("{}/../../tests/compat/vectors/amqp/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn jobs() -> QueueSpec {
    QueueSpec::new("jobs").bound("jobs", "topic", "jobs")
}

/// Exchanges, queues with arguments, and bindings `(source, kind of destination, destination, key)`.
#[derive(Default, Debug, PartialEq)]
struct Broker {
    exchanges: BTreeMap<String, String>,
    queues: BTreeMap<String, BTreeMap<String, Json>>,
    bindings: BTreeSet<(String, &'static str, String, String)>,
}

impl Broker {
    /// What steps leave behind; each must find what it needs.
    fn after(steps: impl IntoIterator<Item = Step>) -> Self {
        let mut broker = Self::default();
        for step in steps {
            match step {
                Step::Exchange(exchange) => {
                    assert!(exchange.durable && !exchange.auto_delete);
                    broker.exchanges.insert(exchange.name, exchange.kind);
                }
                Step::Queue(queue) => {
                    assert!(queue.durable && !queue.exclusive && !queue.auto_delete);
                    let arguments = queue.arguments.0.iter().map(|(name, value)| (name.text().into(), json(value)));
                    broker.queues.insert(queue.name, arguments.collect());
                }
                Step::BindQueue { queue, exchange, routing_key } => {
                    assert!(broker.exchanges.contains_key(&exchange) && broker.queues.contains_key(&queue));
                    broker.bindings.insert((exchange, "queue", queue, routing_key));
                }
                Step::BindExchange { destination, source, routing_key } => {
                    assert!(broker.exchanges.contains_key(&destination) && broker.exchanges.contains_key(&source));
                    broker.bindings.insert((source, "exchange", destination, routing_key));
                }
            }
        }
        broker
    }

    /// What the broker has when `queues` are consumed.
    fn of(queues: &[QueueSpec]) -> Self {
        let mut steps = levels("quorum");
        for queue in queues {
            for binding in &queue.bindings {
                steps.push(Step::Exchange(binding.exchange.clone()));
            }
            steps.push(Step::Queue(queue.clone()));
            for Binding { exchange, routing_key, .. } in &queue.bindings {
                steps.push(Step::BindQueue {
                    queue: queue.name.clone(),
                    exchange: exchange.name.clone(),
                    routing_key: routing_key.clone(),
                });
            }
            steps.extend(way(queue));
        }
        Self::after(steps)
    }

    /// Queues that a message gets into, each once, as RabbitMQ does it over bindings of exchanges.
    fn route(&self, exchange: &str, key: &str) -> BTreeSet<&str> {
        let mut queues = BTreeSet::new();
        let (mut todo, mut seen) = (vec![exchange], BTreeSet::new());
        while let Some(exchange) = todo.pop() {
            if !seen.insert(exchange) {
                continue;
            }
            let kind = self.exchanges[exchange].as_str();
            for (_, what, destination, pattern) in self.bindings.iter().filter(|(source, ..)| source == exchange) {
                let matched = match kind {
                    "topic" => matches(pattern, key),
                    "direct" => pattern == key,
                    _ => true,
                };
                match *what {
                    "queue" if matched => drop(queues.insert(destination.as_str())),
                    "exchange" if matched => todo.push(destination),
                    _ => {}
                }
            }
        }
        queues
    }

    /// Seconds that a message waits in all, and the queues of workers that it gets to.
    fn carry(&self, exchange: &str, key: &str) -> (u64, BTreeSet<&str>) {
        let (mut exchange, mut waited) = (exchange.to_owned(), 0);
        loop {
            let queues = self.route(&exchange, key);
            let Some(level) = queues.iter().find(|queue| queue.starts_with("celery_delayed_")) else {
                return (waited, queues);
            };
            assert_eq!(queues.len(), 1, "{exchange} {key}: {queues:?}");
            let arguments = &self.queues[*level];
            waited += arguments["x-message-ttl"].as_u64().unwrap() / 1000;
            exchange = arguments["x-dead-letter-exchange"].as_str().unwrap().to_owned();
        }
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Str(text) => text.text().into(),
        Value::I32(number) => (*number).into(),
        Value::I64(number) => (*number).into(),
        other => panic!("{other:?}"),
    }
}

/// AMQP's topic rule.
fn matches(pattern: &str, key: &str) -> bool {
    fn words(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => words(rest, key) || (!key.is_empty() && words(pattern, &key[1..])),
            (Some((&first, rest)), Some((&word, tail))) => (first == "*" || first == word) && words(rest, tail),
            _ => false,
        }
    }
    words(&pattern.split('.').collect::<Vec<_>>(), &key.split('.').collect::<Vec<_>>())
}

#[test]
fn levels_are_those_that_celery_declares() {
    let told = vectors("topology-delayed");
    let ours = Broker::of(&[jobs()]);
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    let (mut exchanges, mut queues, mut bindings) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    for row in told["raw"]["exchanges"].as_array().unwrap() {
        if row["name"].as_str().unwrap().starts_with("celery_delayed_") {
            assert_eq!((&row["durable"], &row["auto_delete"]), (&true.into(), &false.into()));
            exchanges.insert(text(&row["name"]), text(&row["type"]));
        }
    }
    for row in told["raw"]["queues"].as_array().unwrap() {
        if row["name"].as_str().unwrap().starts_with("celery_delayed_") {
            let arguments = row["arguments"].as_object().unwrap().clone();
            queues.insert(text(&row["name"]), arguments.into_iter().collect::<BTreeMap<_, _>>());
        }
    }
    for row in told["raw"]["bindings"].as_array().unwrap() {
        let source = text(&row["source"]);
        if source.starts_with("celery_delayed_") || source == "jobs" {
            let kind = if row["destination_type"] == "queue" { "queue" } else { "exchange" };
            bindings.insert((source, kind, text(&row["destination"]), text(&row["routing_key"])));
        }
    }
    exchanges.insert("jobs".into(), "topic".into());
    queues.insert("jobs".into(), BTreeMap::new());
    // The one that Celery has not: to the queue alone.
    bindings.insert((DELIVERY.into(), "queue", "jobs".into(), "#.celeriac-queue.jobs".into()));
    assert_eq!(exchanges.len(), LEVELS + 2);
    assert_eq!(ours, Broker { exchanges, queues, bindings });
}

#[test]
fn classic_levels_have_no_dead_letter_strategy() {
    let broker = Broker::after(levels("classic"));
    assert_eq!(broker.queues.len(), LEVELS);
    for arguments in broker.queues.values() {
        assert_eq!(arguments["x-queue-type"], "classic");
        assert!(!arguments.contains_key("x-dead-letter-strategy"));
    }
}

#[test]
fn publications_are_celerys() {
    for (name, due_ms) in [("delayed-publish-1", 1000), ("delayed-publish-5.9", 5900), ("delayed-publish-130", 130_000)]
    {
        let args = &vectors(name)["decoded"][0]["args"];
        let delay = Delay::whole(due_ms, 0).unwrap();
        let (exchange, key) = publish(Target::of("jobs", "topic", "jobs").unwrap(), delay).unwrap();
        assert_eq!((&Json::from(exchange), &Json::from(key)), (&args["exchange"], &args["routing_key"]), "{name}");
    }
}

#[test]
fn what_celery_delayed_is_understood() {
    let told = vectors("delayed-deliveries");
    let rows = told["decoded"].as_array().unwrap();
    let mut seen = BTreeSet::new();
    for args in rows.iter().map(|row| &row["args"]).filter(|args| !args["routing_key"].is_null()) {
        let (exchange, key) = (args["exchange"].as_str().unwrap(), args["routing_key"].as_str().unwrap());
        assert_eq!(arrival(exchange, key), Arrival::Topic("jobs".into()));
        // A retry of it takes the old digits off before it puts on its own.
        assert_eq!(Target::of("jobs", "topic", key), Some(Target::Topic("jobs")));
        seen.insert(exchange);
    }
    assert!(seen.contains("celery_delayed_delivery") && seen.contains("celery_delayed_0"), "{seen:?}");
}

#[test]
fn a_delay_is_whole_seconds_within_bounds() {
    for (due_ms, now_ms, seconds) in [
        (0, 0, None),
        (400, 0, None),
        (999, 0, None),
        (5, 1_000_000, None),
        (i64::MIN, i64::MAX, None),
        (1000, 0, Some(1)),
        (1999, 0, Some(1)),
        (268_435_455_000, 0, Some(268_435_455)),
        (268_435_456_000, 0, Some(268_435_455)),
        (i64::MAX, i64::MIN, Some(268_435_455)),
    ] {
        assert_eq!(Delay::whole(due_ms, now_ms).map(Delay::seconds), seconds, "{due_ms} {now_ms}");
    }
}

#[test]
fn a_named_direct_exchange_has_no_way_and_a_long_name_neither() {
    assert_eq!(Target::of("ex", "direct", "k"), None);
    assert_eq!(Target::of("ex", "x-consistent-hash", "k"), None);
    assert_eq!(Target::of("", "direct", "q"), Some(Target::Queue("q")));
    assert!(publish(Target::Queue(&"q".repeat(184)), Delay(1)).is_some_and(|(_, key)| key.len() == LONGEST_KEY));
    assert_eq!(publish(Target::Queue(&"q".repeat(185)), Delay(1)), None);
}

#[test]
fn keys_that_only_look_delayed_are_left_alone() {
    let digits = "0.".repeat(LEVELS);
    assert_eq!(arrival("shop", &format!("{digits}k")), Arrival::Direct);
    assert_eq!(arrival("celery_delayed_28", &format!("{digits}k")), Arrival::Direct);
    assert_eq!(arrival(DELIVERY, &"0.".repeat(LEVELS - 1)), Arrival::Direct);
    assert_eq!(arrival(DELIVERY, &format!("{}2.k", "0.".repeat(LEVELS - 1))), Arrival::Direct);
    assert_eq!(without_digits("é".repeat(56).as_str()), "é".repeat(56));
}

#[test]
fn each_kind_of_exchange_gets_its_messages_and_no_other() {
    let queues = [
        QueueSpec::new("celery").bound("celery", "direct", "celery"),
        QueueSpec::new("a.*").bound("celery", "direct", "a"),
        QueueSpec::new("orders").bound("shop", "topic", "order.*"),
        QueueSpec::new("bcast.1").bound("news", "fanout", ""),
        QueueSpec::new("bcast.2").bound("news", "fanout", ""),
        QueueSpec::new("eu").bound("by.header", "headers", ""),
    ];
    let broker = Broker::of(&queues);
    for (exchange, kind, key, reached) in [
        ("", "direct", "celery", vec!["celery"]),
        ("", "direct", "a.*", vec!["a.*"]),
        ("", "direct", "orders", vec!["orders"]),
        ("shop", "topic", "order.new", vec!["orders"]),
        ("shop", "topic", "celery", vec![]),
        ("news", "fanout", "any", vec!["bcast.1", "bcast.2"]),
        ("by.header", "headers", "", vec!["eu"]),
    ] {
        let target = Target::of(exchange, kind, key).unwrap();
        let (first, long) = publish(target, Delay(5)).unwrap();
        assert_eq!(broker.carry(&first, &long), (5, reached.into_iter().collect()), "{exchange} {key}");
        let arrived = match target {
            Target::Queue(name) => Arrival::Queue(name.into()),
            Target::Exchange(name) => Arrival::Exchange(name.into()),
            Target::Topic(key) => Arrival::Topic(key.into()),
        };
        assert_eq!(arrival(DELIVERY, &long), arrived);
    }
}

proptest! {
    #[test]
    fn every_delay_is_waited_for_to_the_second(seconds in 1_u32..1 << LEVELS) {
        let broker = Broker::of(&[jobs()]);
        for target in [Target::Topic("jobs"), Target::Queue("jobs")] {
            let (exchange, key) = publish(target, Delay(seconds)).unwrap();
            prop_assert_eq!(broker.carry(&exchange, &key), (u64::from(seconds), BTreeSet::from(["jobs"])));
        }
    }

    #[test]
    fn names_are_one_word_and_come_back(name in ".{0,20}") {
        prop_assert!(!word(&name).contains(['.', '*', '#']));
        prop_assert_eq!(unword(&word(&name)), name);
    }

    #[test]
    fn a_key_is_delayed_again_without_its_digits(key in "[a-z.]{0,20}", first in 1_u32..1 << LEVELS, again in 1_u32..1 << LEVELS) {
        let (_, once) = publish(Target::Topic(&key), Delay(first)).unwrap();
        let target = Target::of("shop", "topic", &once).unwrap();
        prop_assert_eq!(publish(target, Delay(again)), publish(Target::Topic(&key), Delay(again)));
    }
}
