//! Exchanges and bindings as Kombu keeps them: which lists, or which channel, a message goes to.

use std::collections::HashMap;

use super::fault::Fault;
use super::keys::Keys;
use super::line::{Line, array, bytes, text};
use super::pack::{Args, Pack};
use super::settings::Settings;
use crate::contract::{QueueSpec, TransportError};
use crate::topology;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// To these queues.
    Queues(Vec<String>),
    /// To whoever listens now.
    Channel(Vec<u8>),
}

/// An exchange's type, if a program of ours declared it, and its bindings: routing key, and queue.
#[derive(Debug, Default)]
struct Exchange {
    kind: Option<String>,
    bindings: Vec<Binding>,
}

#[derive(Debug)]
struct Binding {
    key: String,
    /// Has a pattern, as only topic exchanges' bindings do.
    topic: bool,
    queue: String,
}

/// The exchanges that a batch of messages needs, as they were when it was looked at.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    exchanges: HashMap<String, Exchange>,
}

impl Routes {
    /// Reads `exchanges`; the default exchange, of the empty name, needs no reading.
    pub(crate) fn read<'e>(
        line: &mut Line,
        keys: &Keys,
        exchanges: impl Iterator<Item = &'e str>,
    ) -> Result<Self, Fault> {
        let mut names: Vec<&str> = exchanges.filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(Self::default());
        }
        let mut pack = Pack::default();
        for name in &names {
            pack.words(&["HGET", &keys.exchanges, name]).words(&["SMEMBERS", &keys.bindings(name)]);
        }
        let mut replies = line.all(&pack)?.into_iter();
        let mut exchanges = HashMap::new();
        while let (Some(name), Some(kind), Some(rows)) = (names.get(exchanges.len()), replies.next(), replies.next()) {
            let rows = array(rows).into_iter().filter_map(bytes);
            let bindings = rows.filter_map(|row| binding(&row, keys.separator())).collect();
            exchanges.insert((*name).to_owned(), Exchange { kind: text(&kind), bindings });
        }
        Ok(Self { exchanges })
    }

    /// Where a message goes.
    pub(crate) fn route(&self, settings: &Settings, exchange: &str, routing_key: &str) -> Result<Route, Fault> {
        if exchange.is_empty() {
            if routing_key.is_empty() && settings.deadletter_queue.is_none() {
                let text = "a message for the default exchange needs the name of a queue as its routing key";
                return Err(TransportError::Refused(text.to_owned()).into());
            }
            let queue = if routing_key.is_empty() { settings.deadletter_queue.as_deref() } else { Some(routing_key) };
            return Ok(Route::Queues(queue.map(str::to_owned).into_iter().collect()));
        }
        let none = Exchange::default();
        let known = self.exchanges.get(exchange).unwrap_or(&none);
        if known.kind.as_deref() == Some("fanout") {
            return Ok(Route::Channel(channel(settings, exchange, routing_key)));
        }
        let mut queues: Vec<String> = Vec::new();
        for binding in &known.bindings {
            let matched =
                if binding.topic { topic_matches(&binding.key, routing_key) } else { binding.key == routing_key };
            if matched && !queues.contains(&binding.queue) {
                queues.push(binding.queue.clone());
            }
        }
        queues.sort_unstable();
        if queues.is_empty() {
            queues.extend(settings.deadletter_queue.clone());
        }
        Ok(Route::Queues(queues))
    }
}

/// The channel of a broadcast. Publish and subscribe know no databases, so its number is part of the name.
pub(crate) fn channel(settings: &Settings, exchange: &str, routing_key: &str) -> Vec<u8> {
    let database = settings.nodes.first().map_or(0, |node| node.database);
    let mut name = settings.prefix.clone();
    name.push_str(&settings.fanout_prefix.replace("{db}", &database.to_string()));
    name.push_str(exchange);
    if settings.fanout_patterns && !routing_key.is_empty() {
        name.push('/');
        name.push_str(routing_key);
    }
    name.into_bytes()
}

/// The channel or pattern that a binding listens to.
pub(crate) fn subscription(settings: &Settings, binding: &topology::Binding) -> Vec<u8> {
    channel(settings, &binding.exchange.name, &binding.routing_key.replace('#', "*"))
}

/// What makes a queue known: its name, its exchanges' types, its bindings, which no sweep of Kombu's may drop.
///
/// # Errors
/// An exchange has another type, or one that there is not.
pub(crate) fn declare(line: &mut Line, keys: &Keys, spec: &QueueSpec) -> Result<(), Fault> {
    let mut pack = Pack::default();
    if !spec.name.is_empty() {
        pack.words(&["SADD", &keys.queues, &spec.name]);
    }
    for topology::Binding { exchange, .. } in &spec.bindings {
        if !matches!(&*exchange.kind, "direct" | "topic" | "fanout") {
            return Err(TransportError::Refused(format!(
                "queue '{}': exchange '{}' has type '{}', the Redis broker knows direct, topic and fanout",
                spec.name, exchange.name, exchange.kind
            ))
            .into());
        }
        pack.words(&["HSETNX", &keys.exchanges, &exchange.name, &exchange.kind]);
        pack.words(&["HGET", &keys.exchanges, &exchange.name]);
    }
    if pack.is_empty() {
        return Ok(());
    }
    let replies = line.all(&pack)?;
    let known = replies.iter().skip(usize::from(!spec.name.is_empty())).skip(1).step_by(2).map(text);
    for (topology::Binding { exchange, .. }, known) in spec.bindings.iter().zip(known) {
        if let Some(known) = known.filter(|known| *known != exchange.kind) {
            return Err(TransportError::Refused(format!(
                "exchange '{}' exists with type '{known}', queue '{}' wants it as '{}': use one type, or another name",
                exchange.name, spec.name, exchange.kind
            ))
            .into());
        }
    }
    if spec.name.is_empty() || spec.bindings.is_empty() {
        return Ok(());
    }
    let mut pack = Pack::default();
    for topology::Binding { exchange, routing_key, .. } in &spec.bindings {
        let pattern = if exchange.kind == "topic" { topic_pattern(routing_key) } else { String::new() };
        for set in [keys.bindings(&exchange.name), keys.permanent_bindings(&exchange.name)] {
            let mut add = Args::new("SADD");
            let between = keys.separator();
            add.add(set).join(&[routing_key.as_bytes(), between, pattern.as_bytes(), between, spec.name.as_bytes()]);
            pack.push(&add);
        }
    }
    line.all(&pack).map(drop)
}

/// `routing key, separator, pattern, separator, queue`.
fn binding(row: &[u8], separator: &[u8]) -> Option<Binding> {
    let find =
        |from: usize| row[from..].windows(separator.len()).position(|part| part == separator).map(|at| from + at);
    let first = find(0)?;
    let second = find(first + separator.len())?;
    let text = |part: &[u8]| String::from_utf8(part.to_vec()).ok();
    Some(Binding {
        key: text(&row[..first])?,
        topic: second > first + separator.len(),
        queue: text(&row[second + separator.len()..])?,
    })
}

/// The Python regular expression that Kombu makes of a topic's binding.
fn topic_pattern(key: &str) -> String {
    let words = key.split('.').map(|word| match word {
        "*" => r"[^\.]+".to_owned(),
        "#" => ".*?".to_owned(),
        word => word.chars().fold(String::new(), |mut escaped, letter| {
            // As re.escape does since Python 3.7.
            if "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}".contains(letter) {
                escaped.push('\\');
            }
            escaped.push(letter);
            escaped
        }),
    });
    format!("^{}$", words.collect::<Vec<_>>().join(r"\."))
}

/// What that expression matches: `*` stands for one word, `#` for any text, between dots that must be there. So `a.#`
/// does not match `a`, unlike in AMQP.
fn topic_matches(pattern: &str, key: &str) -> bool {
    let mut reached = vec![0_usize];
    for (at, word) in pattern.split('.').enumerate() {
        let mut next = Vec::new();
        for from in reached {
            let Some(mut rest) = key.get(from..) else { continue };
            let mut from = from;
            if at > 0 {
                let Some(tail) = rest.strip_prefix('.') else { continue };
                (rest, from) = (tail, from + 1);
            }
            match word {
                "#" => next.extend((0..=rest.len()).filter(|&end| rest.is_char_boundary(end)).map(|end| from + end)),
                "*" => {
                    let end = rest.find('.').unwrap_or(rest.len());
                    next.extend((1..=end).filter(|&end| rest.is_char_boundary(end)).map(|end| from + end));
                }
                word => next.extend(rest.starts_with(word).then_some(from + word.len())),
            }
        }
        next.sort_unstable();
        next.dedup();
        reached = next;
    }
    reached.contains(&key.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_patterns_are_kombus() {
        assert_eq!(topic_pattern("order.#"), r"^order\..*?$");
        assert_eq!(topic_pattern("*.a-b.é"), r"^[^\.]+\.a\-b\.é$");
        for (pattern, key, matched) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.*", "a", false),
            ("a.#", "a", false),
            ("a.#", "a.", true),
            ("a.#", "a.b.c", true),
            ("#", "", true),
            ("#.z", "x.y.z", true),
            ("#.z", "z", false),
            ("*.#.*", "a.b", false),
            ("*.#.*", "a.b.c", true),
            ("*", "", false),
            ("a*", "ab", false),
        ] {
            assert_eq!(topic_matches(pattern, key), matched, "{pattern} {key}");
        }
    }

    #[test]
    fn rows_are_read_as_they_are_written() {
        let read = binding(b"order.#\x06\x16^order\\..*?$\x06\x16orders", &[6, 22]).unwrap();
        assert_eq!((read.key.as_str(), read.topic, read.queue.as_str()), ("order.#", true, "orders"));
        let plain = binding(b"k\x06\x16\x06\x16q", &[6, 22]).unwrap();
        assert_eq!((plain.key.as_str(), plain.topic, plain.queue.as_str()), ("k", false, "q"));
        assert!(binding(b"nonsense", &[6, 22]).is_none());
    }
}
