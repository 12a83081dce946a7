//! Cycles to calls of the script that carries them out, and what its answers mean.

use std::collections::HashSet;
use std::time::Instant;

use celeriac_protocol::delivery::reasons;
use celeriac_protocol::{DeliveryTag, End, Publication, Settlement};

use super::clock::wall_ms;
use super::fault::Fault;
use super::held::{Crashes, Held, One};
use super::keys::{Keys, Site};
use super::line::{Line, array, bytes};
use super::pack::{Args, Pack};
use super::patch::{claim_parts, tag as own_tag, with_redelivered};
use super::publish;
use super::results;
use super::route::Routes;
use super::script::ENDS;
use crate::contract::{Cycle, TransportError};

/// Most ends, and most bytes, of one call.
const MOST: usize = 256;
const MOST_BYTES: usize = 4 << 20;
/// What is due within that time is held by the worker, so that a smaller difference between the clocks does not count.
const HELD_MS: i64 = 1000;
/// Members named by one command: a script cannot pass on more than 8000 words.
const WORDS: usize = 1000;

/// One call of the script.
#[derive(Debug)]
pub(crate) struct Call {
    /// Given when it is sent; `None` before, and again when what is left of it goes out as a call of its own.
    number: Option<u64>,
    /// Parts that are not to be carried out (any more): the first ones.
    pub(crate) skip: usize,
    keys: Args,
    args: Args,
    /// What its ends stand for, in their order.
    pub(crate) parts: Vec<Part>,
}

/// What an end of the script stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// This worker's bookkeeping.
    Books,
    /// A state that belongs to no delivery: its place in the cycle.
    State(usize),
    /// A message that belongs to no delivery: its place in the cycle.
    Message(usize),
    /// The dead letter in the place of that message.
    Letter(usize),
    /// The end of this delivery.
    End(DeliveryTag),
}

/// A cycle, ready to be carried out.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) calls: Vec<Call>,
    /// What cannot be, and why.
    pub(crate) refused: Vec<(Part, String)>,
}

/// What a call did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// The parts up to here are dealt with, lost ones included.
    pub(crate) carried: usize,
    /// Of those, the ones whose claim was not ours any more.
    pub(crate) lost: Vec<usize>,
    /// Why it went no further, and the key of the command that failed.
    pub(crate) problem: Option<(String, String)>,
}

/// What is remembered from cycle to cycle.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Number of the last call.
    sequence: u64,
    /// Queues whose names this worker has stored.
    pub(crate) named: HashSet<String>,
    /// How far the server's clock is ahead of ours, in ms.
    pub(crate) ahead_ms: i64,
    /// The server had no memory lately.
    pub(crate) full_until: Option<Instant>,
}

/// Makes the calls for `cycle`.
pub(crate) fn calls(
    line: &mut Line,
    site: Site<'_>,
    held: &Held,
    cycle: &Cycle,
    skip: &dyn Fn(DeliveryTag) -> bool,
    memory: &mut Memory,
) -> Result<Made, Fault> {
    let Site { settings, keys, worker } = site;
    let exchanges = cycle.ends.iter().flat_map(|end| &end.publish).chain(&cycle.publish);
    let routes = Routes::read(line, keys, exchanges.map(|publication| &*publication.exchange))?;
    let bodies = bodies(line, keys, worker, held, &cycle.ends)?;
    let now = wall_ms();
    let stored = |publications| publish::commands(settings, keys, &routes, publications, now.unsigned_abs());
    let mut refused = Vec::new();
    let mut parts: Vec<(Part, Vec<Args>)> = Vec::with_capacity(1 + cycle.ends.len());
    parts.push((Part::Books, Vec::new()));
    let mut queues = Vec::new();
    for (at, state) in cycle.results.iter().enumerate() {
        parts.push((Part::State(at), results::commands(std::slice::from_ref(state), now)));
    }
    for (at, publication) in cycle.publish.iter().enumerate() {
        match stored(std::slice::from_ref(publication)) {
            Ok(stored) => {
                queues.extend(stored.queues);
                parts.push((Part::Message(at), stored.commands));
            }
            Err(fault) => refused.push((Part::Message(at), own(fault)?)),
        }
    }
    let ahead_ms = if memory.ahead_ms > HELD_MS { memory.ahead_ms } else { 0 };
    for (at, end) in cycle.ends.iter().enumerate() {
        if skip(end.tag) {
            continue;
        }
        let Some(one) = held.get(end.tag) else { continue };
        let mut commands = results::commands(&end.results, now);
        match stored(&end.publish) {
            Ok(stored) => {
                queues.extend(stored.queues);
                commands.extend(stored.commands);
            }
            Err(fault) => {
                refused.push((Part::End(end.tag), own(fault)?));
                continue;
            }
        }
        let body = bodies.iter().find(|(body, _)| *body == at).map(|(_, body)| body);
        settle(&mut commands, keys, one, end, ahead_ms, body);
        parts.push((Part::End(end.tag), commands));
    }
    queues.retain(|queue| memory.named.insert(queue.clone()));
    let full = memory.full_until.is_some_and(|until| until > Instant::now());
    parts[0].1 = books(site, held, cycle, &queues, full);
    let mut builder = Builder::default();
    for (part, commands) in parts {
        match part {
            Part::End(tag) => builder.add(part, &format!("{worker}:{}", tag.0), &commands),
            _ if commands.is_empty() => {}
            _ => builder.add(part, "", &commands),
        }
    }
    Ok(Made { calls: builder.finish(keys, worker), refused })
}

/// The one call that keeps a message as a dead letter, as `list` was refused.
pub(crate) fn letter(site: Site<'_>, part: Part, publication: &Publication, list: &str, why: &str) -> Vec<Call> {
    let Site { keys, worker, .. } = site;
    let mut letter = Args::new("celeriac.letter");
    letter.add(&keys.dead).add(&keys.dead_sequence).add(&keys.dead_letter).add("payload").add(&publication.payload);
    about(&mut letter, &keys.queue_of(list.as_bytes()), list.as_bytes(), reasons::REJECTED, why);
    let mut builder = Builder::default();
    builder.add(part, "", &[letter]);
    builder.finish(keys, worker)
}

/// Why a part is refused by itself, if `fault` says that; else it is the fault of all.
pub(crate) fn own(fault: Fault) -> Result<String, Fault> {
    match fault {
        Fault::Ours(TransportError::Refused(why)) => Ok(why),
        fault => Err(fault),
    }
}

impl Call {
    /// Adds it to `pack`. Sent for the first time it gets the next number; else the server is asked what became of it.
    pub(crate) fn push(&mut self, memory: &mut Memory, pack: &mut Pack) {
        let sent = self.number.is_some();
        let number = *self.number.get_or_insert_with(|| {
            memory.sequence += 1;
            memory.sequence
        });
        let mut args = Args::default();
        args.int(number).add(if sent { "1" } else { "" }).int(self.skip as u64 + 1).append(&self.args);
        pack.run(&ENDS, &self.keys, &args);
    }

    /// The first `parts` are dealt with, what follows goes out as another call. False: nothing follows.
    pub(crate) fn go_on_after(&mut self, parts: usize) -> bool {
        self.skip = parts;
        self.number = None;
        parts < self.parts.len()
    }
}

#[derive(Default)]
struct Builder {
    calls: Vec<(Args, Args, Vec<Part>)>,
    tags: Args,
    body: Args,
    parts: Vec<Part>,
}

impl Builder {
    fn add(&mut self, part: Part, tag: &str, commands: &[Args]) {
        if self.parts.len() >= MOST || self.body.len() >= MOST_BYTES {
            self.close();
        }
        self.tags.add(tag);
        self.body.int(commands.len() as u64);
        for command in commands {
            self.body.nested(command);
        }
        self.parts.push(part);
    }

    fn close(&mut self) {
        if !self.parts.is_empty() {
            let take =
                (std::mem::take(&mut self.tags), std::mem::take(&mut self.body), std::mem::take(&mut self.parts));
            self.calls.push(take);
        }
    }

    fn finish(mut self, keys: &Keys, worker: &str) -> Vec<Call> {
        self.close();
        let calls = self.calls.into_iter().map(|(tags, body, parts)| {
            let mut args = Args::default();
            args.int(parts.len() as u64).append(&tags).append(&body);
            let places = keys.places([&keys.unacked, &keys.unacked_index, &keys.done(worker)]);
            Call { number: None, skip: 0, keys: places, args, parts }
        });
        calls.collect()
    }
}

/// What this worker notes about itself: of this cycle, and of ends of earlier ones. All of that goes as soon as anything
/// goes, for that is what [`Part::Books`] says when it is done.
fn books(site: Site<'_>, held: &Held, cycle: &Cycle, queues: &[String], full: bool) -> Vec<Args> {
    let Site { keys, worker, .. } = site;
    let mut commands = Vec::new();
    if full {
        // Such a server refuses what needs memory only as the first write of a script. Ends make room: to wait with them
        // until there is some would be to wait for ever.
        let mut nothing = Args::new("SREM");
        nothing.add(keys.started(worker)).add("");
        commands.push(nothing);
    }
    let fresh = |tag: &&DeliveryTag| held.get(**tag).is_some_and(|one| !one.started);
    let begun: Vec<u64> = cycle.started.iter().filter(fresh).map(|tag| tag.0).collect();
    let told = full || held.tells() || !begun.is_empty() || !queues.is_empty();
    let over = |numbers: &[u64]| if told { numbers.to_vec() } else { Vec::new() };
    for (ended, name, key) in [
        (over(&held.emptied), "HDEL", keys.batches(worker)),
        (over(&held.ended), "SREM", keys.started(worker)),
        (begun, "SADD", keys.started(worker)),
    ] {
        for chunk in ended.chunks(WORDS) {
            let mut command = Args::new(name);
            command.add(&key);
            for number in chunk {
                command.int(*number);
            }
            commands.push(command);
        }
    }
    for chunk in queues.chunks(WORDS) {
        let mut names = Args::new("SADD");
        names.add(&keys.queues);
        for queue in chunk {
            names.add(queue);
        }
        commands.push(names);
    }
    commands
}

/// The messages of ends that put them back, by the number of the end: with their flags, and the tag that they carry.
fn bodies(line: &mut Line, keys: &Keys, worker: &str, held: &Held, ends: &[End]) -> Result<Vec<(usize, Body)>, Fault> {
    let back: Vec<usize> = (0..ends.len())
        .filter(|&at| matches!(ends[at].settlement, Settlement::Requeue { .. }) && held.get(ends[at].tag).is_some())
        .collect();
    let mut bodies = Vec::with_capacity(back.len());
    for chunk in back.chunks(64) {
        let mut get = Args::new("HMGET");
        get.add(&keys.unacked);
        for &at in chunk {
            get.add(format!("{worker}:{}", ends[at].tag.0));
        }
        let found = array(line.ask(&Pack::one(&get))?);
        for (&at, record) in chunk.iter().zip(found) {
            let Some(record) = bytes(record) else { continue };
            let tail = held.get(ends[at].tag).map_or(0, |one| one.home.tail.len());
            let Some(raw) = message_of(&record, tail) else { continue };
            bodies.push((at, Body { patched: with_redelivered(raw), tag: own_tag(raw) }));
        }
    }
    Ok(bodies)
}

/// The message in a claim's record; by its end where we wrote it, as it may be no JSON.
pub(crate) fn message_of(record: &[u8], tail: usize) -> Option<&[u8]> {
    if tail > 0 { record.get(1..record.len().checked_sub(tail)?) } else { claim_parts(record).map(|(raw, _, _)| raw) }
}

struct Body {
    patched: Vec<u8>,
    tag: Option<String>,
}

fn settle(commands: &mut Vec<Args>, keys: &Keys, one: &One, end: &End, ahead_ms: i64, body: Option<&Body>) {
    let forget = |commands: &mut Vec<Args>| {
        if let Some(crashes) = &one.crashes {
            let mut delete = Args::new("DEL");
            delete.add(&crashes.key);
            commands.push(delete);
        }
    };
    match &end.settlement {
        Settlement::Ack => forget(commands),
        Settlement::Requeue { front, crashed } => {
            let Some(body) = body else { return }; // lost: the script will say so
            let mut push = Args::new(if *front { "RPUSH" } else { "LPUSH" });
            push.add(&one.home.list).add(&body.patched);
            commands.push(push);
            if let Some(tag) = body.tag.as_deref().filter(|_| *crashed) {
                let before = one.crashes.clone().unwrap_or_else(|| Crashes::parse(keys.crashes(tag), None));
                commands.push(remember(&before.crashed()));
            }
        }
        Settlement::Park { until_ms } => {
            // The worker goes by its own clock: by a server's that is ahead, the time may have come, and the message would
            // be here again at once.
            let until_ms = until_ms.saturating_add(ahead_ms);
            let mut park = Args::new("celeriac.park");
            park.add(keys.parked(&one.home.queue)).int(until_ms).int(one.home.step).int(one.home.tail.len() as u64);
            commands.push(park);
        }
        Settlement::Dead { reason, detail } => {
            let mut bury = Args::new("celeriac.bury");
            bury.add(&keys.dead).add(&keys.dead_sequence).add(&keys.dead_letter).int(one.home.tail.len() as u64);
            about(&mut bury, &one.home.queue, &one.home.list, reason, detail);
            commands.push(bury);
            forget(commands);
        }
    }
}

/// What is known of a dead letter.
fn about(letter: &mut Args, queue: &str, list: &[u8], reason: &str, detail: &str) {
    letter.add("queue").add(queue).add("list").add(list).add("reason").add(reason).add("detail").add(detail);
    letter.add("died_ms").int(wall_ms());
}

fn remember(crashes: &Crashes) -> Args {
    let mut set = Args::new("SET");
    set.add(&crashes.key).add(crashes.text()).add("EX").add("604800");
    set
}

/// Reads the script's answer.
pub(crate) fn done(reply: &str) -> Done {
    let mut lines = reply.splitn(5, '\n').skip(1);
    let carried = lines.next().and_then(|count| count.parse().ok()).unwrap_or(0);
    let lost = lines.next().unwrap_or_default().split(',').filter_map(|number| number.parse::<usize>().ok());
    let lost = lost.filter_map(|number| number.checked_sub(1)).collect();
    let problem = lines.next().filter(|text| !text.is_empty());
    let problem = problem.map(|text| (text.to_owned(), lines.next().unwrap_or_default().to_owned()));
    Done { carried, lost, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_name_what_was_lost_and_what_stopped_them() {
        assert_eq!(done("7\n3\n\n\n"), Done { carried: 3, lost: vec![], problem: None });
        let stopped = done("7\n2\n1,2\nWRONGTYPE Operation\njobs");
        let problem = Some(("WRONGTYPE Operation".to_owned(), "jobs".to_owned()));
        assert_eq!(stopped, Done { carried: 2, lost: vec![0, 1], problem });
    }

    #[test]
    fn a_message_is_cut_out_of_its_record_byte_for_byte() {
        assert_eq!(message_of(b"[not json, \"\", \"q\"]", 10), Some(&b"not json"[..]));
        assert_eq!(message_of(b"[{}, \"a\", \"b\"]", 0), Some(&b"{}"[..]));
        assert_eq!(message_of(b"[", 10), None);
    }
}
