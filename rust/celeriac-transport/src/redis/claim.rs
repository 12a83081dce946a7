//! Taking messages: what the script is told, and what its answer means.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::Value;

use super::held::Home;
use super::keys::{Keys, Site};
use super::line::{array, bytes, int};
use super::pack::Args;
use super::settings::Order;

/// Most messages taken by one call: a script stops the server for all while it runs.
pub(crate) const MOST: usize = 256;
/// Most payload bytes taken by one call, beyond the first messages.
const MOST_BYTES: usize = 8 << 20;
/// Most messages that one call parks instead of taking them: 4 ms of the server.
const MOST_SIFTED: u64 = 512;
/// Messages taken from one list before their sizes are known.
const AT_ONCE: usize = 16;

/// Tags are unique in the process, across consumers.
static NEXT_TAG: AtomicU64 = AtomicU64::new(1);

/// The lists to take from.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// In the order of the consumer's queues.
    queues: Vec<String>,
    /// Also of queues that were consumed before: the answer to a claim of theirs may still come, or be lost.
    homes: HashMap<Vec<u8>, Arc<Home>>,
    /// Lists that messages of waiters go to, and where those belong.
    pub(crate) inflight: Vec<(String, Vec<u8>)>,
}

impl Sources {
    /// `before`: what was consumed until now.
    pub(crate) fn new(keys: &Keys, queues: &[String], before: Self) -> Self {
        let mut sources = Self { queues: queues.to_vec(), homes: before.homes, inflight: Vec::new() };
        for queue in queues {
            for &step in keys.steps() {
                let home = home(keys, queue, step);
                sources.homes.insert(home.list.clone(), Arc::new(home));
            }
        }
        sources
    }

    pub(crate) fn queues(&self) -> &[String] {
        &self.queues
    }

    pub(crate) fn home(&self, list: &[u8]) -> Option<&Arc<Home>> {
        self.homes.get(list)
    }
}

/// A queue's list of one step.
pub(crate) fn home(keys: &Keys, queue: &str, step: u8) -> Home {
    let mut tail = String::from(", \"\", ");
    json_text(&mut tail, queue);
    tail.push(']');
    // Kombu restores what we claimed to where the record says: the default exchange and the queue's name, so that it
    // comes back to this queue alone, even if it was sent through an exchange that the restoring process does not know.
    Home { queue: queue.into(), list: keys.list(queue, step), step, tail }
}

fn json_text(into: &mut String, text: &str) {
    into.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => into.extend(['\\', letter]),
            control if u32::from(control) < 0x20 => drop(write!(into, "\\u{:04x}", u32::from(control))),
            letter => into.push(letter),
        }
    }
    into.push('"');
}

/// What a claim does besides taking messages. Each costs the server a µs or two a call, which a worker with little credit
/// pays for every message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// Promote what is due.
    pub(crate) parked: bool,
    /// Park what is due later without bringing it here. Reading costs the server 1.4 µs a message.
    pub(crate) sift: bool,
    /// Enter the worker's lease if it has none any more.
    pub(crate) lease: bool,
}

/// What a claim asks for.
pub(crate) struct Request {
    pub(crate) keys: Args,
    pub(crate) args: Args,
    /// Tag of the first message.
    pub(crate) first: u64,
    /// Most messages.
    pub(crate) want: usize,
}

/// How many messages of one list are taken before their sizes are looked at, by the largest seen lately.
#[derive(Debug)]
pub(crate) struct Sizes {
    largest: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { largest: MOST_BYTES / AT_ONCE }
    }
}

impl Sizes {
    fn at_once(&self) -> usize {
        (MOST_BYTES / self.largest.max(1)).clamp(1, MOST)
    }

    fn saw(&mut self, largest: usize) {
        self.largest = if largest > self.largest { largest } else { (self.largest * 7 + largest) / 8 };
    }
}

/// Asks for `want` messages, of queues from the `turn`th on. With `only`, if that list of a waiter's holds something: then
/// of the list that it waits for, as all others were empty when the wait began, and who watches them tells if they are not.
pub(crate) fn request(
    site: Site<'_>,
    sources: &Sources,
    sizes: &Sizes,
    want: usize,
    turn: usize,
    only: Option<&str>,
    habits: Habits,
) -> Request {
    let Site { settings, keys, worker } = site;
    let want = want.min(MOST);
    let first = NEXT_TAG.fetch_add(want as u64, Ordering::Relaxed);
    let places = keys.places([&keys.unacked, &keys.unacked_index, &keys.batches(worker), &keys.workers]);
    let mut args = Args::default();
    args.add(worker).int(first).int(want as u64).int(MOST_BYTES as u64).int(sizes.at_once() as u64);
    if habits.lease {
        args.add(settings.lease.as_secs_f64().to_string());
    } else {
        args.add("");
    }
    args.add(only.unwrap_or_default()).int(if habits.sift { MOST_SIFTED } else { 0 });
    let parked = if habits.parked || habits.sift { &sources.queues[..] } else { &[] };
    args.int(parked.len() as u64);
    for queue in parked {
        args.add(keys.parked(queue)).add(keys.list(queue, 0)).add(keys.separator());
    }
    let mut order: Vec<&String> = sources.queues.iter().collect();
    if !order.is_empty() {
        match settings.order {
            Order::RoundRobin => order.rotate_left(turn % sources.queues.len()),
            Order::Sorted => order.sort(),
            Order::Priority => {}
        }
    }
    // With a given order, one queue is emptied before the next; else they share, a step at a time.
    let shared = settings.order == Order::RoundRobin;
    let mut groups: Vec<Vec<(&[u8], &Arc<Home>)>> = Vec::new();
    let inflight = sources.inflight.iter().filter_map(|(list, home)| Some((list.as_bytes(), sources.home(home)?)));
    if let Some(only) = only {
        let waited: Vec<_> = inflight.filter(|(list, _)| *list == only.as_bytes()).collect();
        let awaited = waited.iter().map(|(_, home)| (home.list.as_slice(), *home)).collect();
        groups.extend([waited, awaited]);
    } else {
        groups.push(inflight.collect());
    }
    for &step in keys.steps().iter().filter(|_| only.is_none()) {
        let lists = order.iter().filter_map(|queue| sources.home(&keys.list(queue, step)));
        let lists = lists.map(|home| (home.list.as_slice(), home));
        if shared {
            groups.push(lists.collect());
        } else {
            groups.extend(lists.map(|list| vec![list]));
        }
    }
    groups.retain(|group| !group.is_empty());
    args.int(groups.len() as u64);
    for group in groups {
        args.int(group.len() as u64);
        for (list, home) in group {
            args.add(list).add(&home.list).add(&home.tail);
        }
    }
    Request { keys: places, args, first, want }
}

/// A message taken.
pub(crate) struct Taken {
    pub(crate) tag: u64,
    pub(crate) batch: u64,
    pub(crate) home: Arc<Home>,
    pub(crate) payload: Vec<u8>,
}

/// What a claim brought.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) taken: Vec<Taken>,
    /// There may be more.
    pub(crate) more: bool,
    /// In how long the first parked message is due, by the server's clock; told only if all is taken.
    pub(crate) due_in: Option<Duration>,
    /// How many messages were parked.
    pub(crate) sifted: u64,
}

/// Reads the script's answer.
pub(crate) fn answer(reply: Value, first: u64, want: usize, sources: &Sources, sizes: &mut Sizes) -> Answer {
    let mut parts = array(reply).into_iter();
    let met = parts.next().and_then(|flag| int(&flag)) == Some(1);
    let mut number = || parts.next().as_ref().and_then(int).and_then(|number| u64::try_from(number).ok());
    let due_in = number().map(Duration::from_millis);
    let sifted = number().unwrap_or(0);
    let mut answer = Answer { due_in, sifted, ..Answer::default() };
    let mut tag = first;
    let mut largest = 0;
    for part in parts {
        let mut part = array(part).into_iter().filter_map(bytes);
        let Some(home) = part.next().and_then(|list| sources.home(&list).cloned()) else { continue };
        let batch = tag;
        for payload in part {
            largest = largest.max(payload.len());
            answer.taken.push(Taken { tag, batch, home: Arc::clone(&home), payload });
            tag += 1;
        }
    }
    if largest > 0 {
        sizes.saw(largest);
    }
    answer.more = met || (want > 0 && answer.taken.len() >= want);
    answer
}

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::*;
    use crate::Options;

    #[test]
    fn a_record_ends_with_the_queue_as_kombu_writes_it() {
        let keys = Keys::new(&Settings::parse("redis://", &Options::new()).unwrap());
        assert_eq!(home(&keys, "my \"queue\"\n", 3).tail, ", \"\", \"my \\\"queue\\\"\\u000a\"]");
        assert_eq!(home(&keys, "q", 3).list, b"q\x06\x163");
    }

    #[test]
    fn tags_count_on_through_the_lists_of_an_answer() {
        let keys = Keys::new(&Settings::parse("redis://", &Options::new()).unwrap());
        let sources = Sources::new(&keys, &["a".to_owned(), "b".to_owned()], Sources::default());
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let reply = Value::Array(vec![
            Value::Int(0),
            text("77"),
            Value::Int(3),
            Value::Array(vec![text("a"), text("1"), text("2")]),
            Value::Array(vec![text("b"), text("3")]),
        ]);
        let answer = answer(reply, 10, 5, &sources, &mut Sizes::default());
        let taken: Vec<_> = answer.taken.iter().map(|one| (one.tag, one.batch, &*one.home.queue)).collect();
        assert_eq!(taken, [(10, 10, "a"), (11, 10, "a"), (12, 12, "b")]);
        assert_eq!((answer.more, answer.due_in, answer.sifted), (false, Some(Duration::from_millis(77)), 3));
    }

    #[test]
    fn a_late_answer_for_a_queue_that_is_consumed_no_more_keeps_its_tags() {
        let keys = Keys::new(&Settings::parse("redis://", &Options::new()).unwrap());
        let before = Sources::new(&keys, &["a".to_owned(), "b".to_owned()], Sources::default());
        let sources = Sources::new(&keys, &["b".to_owned()], before);
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let lists = [vec![text("a"), text("1")], vec![text("b"), text("2")]];
        let reply = [Value::Int(0), text(""), Value::Int(0)].into_iter().chain(lists.map(Value::Array)).collect();
        let answer = answer(Value::Array(reply), 10, 5, &sources, &mut Sizes::default());
        let taken: Vec<_> = answer.taken.iter().map(|one| (one.tag, &*one.home.queue)).collect();
        assert_eq!(taken, [(10, "a"), (11, "b")]);
        assert_eq!(sources.queues(), ["b"]);
    }
}
