//! Giving back what a worker holds: of a worker that stops, and of one that is dead or silent.

use std::collections::HashSet;

use redis::Value;

use super::depths::batch_of;
use super::fault::Fault;
use super::held::Crashes;
use super::keys::Keys;
use super::line::{Client, Line, array, bytes, int, text};
use super::pack::{Args, Pack};
use super::patch::{claim_parts, tag as own_tag, with_redelivered};
use super::producer::fields;
use super::script::{FORGET, RETURN};

/// Messages looked at in one step; their bytes come here and go back.
const CHUNK: usize = 64;

/// Puts back everything that `worker` holds, to the end of its lists where it is taken next and in its old order, and
/// forgets the worker. With `dead`, only while its lease is over, and crashes are counted. Returns how many messages came
/// back; `None` if the worker lives.
///
/// May be broken off anywhere and begun again, by several at once: each message is put back by whoever drops its claim.
pub(crate) fn give_back(line: &mut Line, keys: &Keys, worker: &str, dead: bool) -> Result<Option<u64>, Fault> {
    let mut pack = Pack::default();
    pack.words(&["HGETALL", &keys.batches(worker)]).words(&["SMEMBERS", &keys.started(worker)]);
    let mut replies = line.all(&pack)?.into_iter();
    let recorded = fields(replies.next().unwrap_or_default());
    let started: HashSet<u64> =
        array(replies.next().unwrap_or_default()).iter().filter_map(int).map(i64::unsigned_abs).collect();
    let mut messages: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut waits: Vec<(String, Vec<u8>)> = Vec::new();
    let mut clients: Vec<Client> = Vec::new();
    for (field, value) in &recorded {
        match (field.parse::<u64>(), field.strip_prefix("waiter ").and_then(|number| number.parse().ok())) {
            (Ok(first), _) => {
                if let Some((count, list)) = batch_of(value) {
                    messages.extend((first..first + count).map(|number| (number, list.clone())));
                }
            }
            (_, Some(waiter)) => {
                if let Some((client, list)) = waits_of(value) {
                    waits.push((keys.inflight(worker, waiter), list));
                    clients.push(client);
                }
            }
            _ => {}
        }
    }
    if dead {
        // A connection that still waits for it would be given the next message.
        for client in &clients {
            line.end(client)?;
        }
    }
    // Each is pushed to where the next one is taken, so the oldest comes last.
    messages.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    let mut count = 0;
    for chunk in messages.chunks(CHUNK) {
        match put_back(line, keys, worker, dead, chunk, &started)? {
            Some(put) => count += put,
            None => return Ok(None),
        }
    }
    let places = keys.places([&keys.workers, &keys.batches(worker), &keys.started(worker), &keys.done(worker)]);
    let mut args = Args::default();
    args.add(worker).add(if dead { "1" } else { "" }).int(waits.len() as u64);
    for (list, home) in &waits {
        args.add(list).add(home);
    }
    for field in recorded.keys() {
        args.add(field);
    }
    let mut pack = Pack::default();
    match int(&line.ask(pack.run(&FORGET, &places, &args))?).unwrap_or(0) {
        -1 => Ok(None),
        more => Ok(Some(count + more.unsigned_abs())),
    }
}

fn put_back(
    line: &mut Line,
    keys: &Keys,
    worker: &str,
    dead: bool,
    chunk: &[(u64, Vec<u8>)],
    started: &HashSet<u64>,
) -> Result<Option<u64>, Fault> {
    let mut get = Args::new("HMGET");
    get.add(&keys.unacked);
    for (number, _) in chunk {
        get.add(format!("{worker}:{number}"));
    }
    let records = array(line.ask(&Pack::one(&get))?);
    let mut found = Vec::new();
    for ((number, list), record) in chunk.iter().zip(records) {
        let Some(record) = bytes(record) else { continue };
        // We wrote it: the message stands between '[' and our tail, whatever it is.
        let tail = tail_of(keys, list, &record);
        let raw = match super::ends::message_of(&record, tail) {
            Some(raw) => raw.to_vec(),
            None => claim_parts(&record).map(|(raw, _, _)| raw.to_vec()).unwrap_or_default(),
        };
        found.push((*number, list, own_tag(&raw).map(|tag| keys.crashes(&tag)), raw));
    }
    if found.is_empty() {
        return Ok(Some(0));
    }
    let crashes = if dead { known(line, found.iter().map(|(_, _, key, _)| key.as_deref()))? } else { Vec::new() };
    let mut args = Args::default();
    args.add(worker).add(if dead { "1" } else { "" });
    for (at, (number, list, _, raw)) in found.iter().enumerate() {
        args.add(format!("{worker}:{number}")).add(list).add(with_redelivered(raw));
        match crashes.get(at).and_then(Option::as_ref) {
            Some(before) if started.contains(number) => {
                let now = before.crashed();
                args.add(&now.key).add(now.text());
            }
            Some(before) if before.strays == 0 && !was_redelivered(raw) => {
                let now = before.strayed();
                args.add(&now.key).add(now.text());
            }
            _ => drop(args.add("").add("")),
        }
    }
    let places = keys.places([&keys.unacked, &keys.unacked_index, &keys.workers]);
    let mut pack = Pack::default();
    match int(&line.ask(pack.run(&RETURN, &places, &args))?).unwrap_or(0) {
        -1 => Ok(None),
        count => Ok(Some(count.unsigned_abs())),
    }
}

/// How long the tail of a record is. A list may be that of a queue's priority or of a queue that is called like it; the
/// record says which.
fn tail_of(keys: &Keys, list: &[u8], record: &[u8]) -> usize {
    let tails = [keys.queue_of(list), keys.name_of(list)].map(|queue| super::claim::home(keys, &queue, 0).tail);
    tails.iter().find(|tail| record.ends_with(tail.as_bytes())).map_or(0, String::len)
}

/// A worker that merely held it cannot be what killed an earlier one.
fn was_redelivered(raw: &[u8]) -> bool {
    celeriac_protocol::Message::scan(raw.to_vec().into()).head.is_ok_and(|head| head.redelivered)
}

/// What is stored under keys of crashes.
pub(crate) fn known<'k>(
    line: &mut Line,
    keys: impl Iterator<Item = Option<&'k str>>,
) -> Result<Vec<Option<Crashes>>, Fault> {
    let keys: Vec<Option<&str>> = keys.collect();
    let mut get = Args::new("MGET");
    for key in keys.iter().flatten() {
        get.add(key);
    }
    let mut values = if get.count() > 1 { array(line.ask(&Pack::one(&get))?) } else { Vec::new() }.into_iter();
    let mut next = |key: &str| Crashes::parse(key.to_owned(), values.next().as_ref().and_then(text).as_deref());
    Ok(keys.into_iter().map(|key| key.map(&mut next)).collect())
}

/// A waiter's entry among a worker's batches: its connection's number and server, and where its list's messages belong.
pub(crate) fn waiter_entry(client: &Client, list: &[u8]) -> Vec<u8> {
    [format!("{} {} ", client.id, client.server).as_bytes(), list].concat()
}

fn waits_of(entry: &Value) -> Option<(Client, Vec<u8>)> {
    let Value::BulkString(entry) = entry else { return None };
    let mut parts = entry.splitn(3, |&byte| byte == b' ');
    let (id, server, list) = (parts.next()?, parts.next()?, parts.next()?);
    let word = |bytes| std::str::from_utf8(bytes).ok();
    Some((Client { id: word(id)?.parse().ok()?, server: word(server)?.into() }, list.to_vec()))
}

/// The name of that entry.
pub(crate) fn waiter_field(waiter: usize) -> String {
    format!("waiter {waiter}")
}

/// Puts back what a waiter that is no more was given, and forgets the waiter.
pub(crate) fn empty_inflight(
    line: &mut Line,
    keys: &Keys,
    worker: &str,
    waiter: usize,
    home: &[u8],
) -> Result<(), Fault> {
    let mut next = Args::new("LMOVE");
    next.add(keys.inflight(worker, waiter)).add(home).add("LEFT").add("RIGHT");
    while line.ask(&Pack::one(&next))? != Value::Nil {}
    let mut forget = Args::new("HDEL");
    forget.add(keys.batches(worker)).add(waiter_field(waiter));
    line.ask(&Pack::one(&forget)).map(drop)
}

/// Puts back messages that nobody was told of, as they are.
pub(crate) fn untouched(
    line: &mut Line,
    keys: &Keys,
    worker: &str,
    messages: &[super::claim::Taken],
) -> Result<(), Fault> {
    let mut args = Args::default();
    args.add(worker).add("");
    for one in messages.iter().rev() {
        args.add(format!("{worker}:{}", one.tag)).add(&one.home.list).add(&one.payload).add("").add("");
    }
    let places = keys.places([&keys.unacked, &keys.unacked_index, &keys.workers]);
    let mut pack = Pack::default();
    line.ask(pack.run(&RETURN, &places, &args)).map(drop)
}

/// Renews the lease, or only looks. Whether there was one, the server's clock, and who is silent for too long.
pub(crate) fn lease(
    line: &mut Line,
    keys: &Keys,
    worker: &str,
    renew: Option<std::time::Duration>,
) -> Result<(bool, i64, Vec<String>), Fault> {
    let places = keys.places([&keys.workers]);
    let mut args = Args::default();
    args.add(worker).add(renew.map_or_else(String::new, |lease| lease.as_secs_f64().to_string()));
    let mut pack = Pack::default();
    let mut reply = array(line.ask(pack.run(&super::script::LEASE, &places, &args))?).into_iter();
    let known = reply.next().as_ref().and_then(int) == Some(1);
    let now = reply.next().as_ref().and_then(int).unwrap_or(0);
    let gone = reply.filter_map(|name: Value| text(&name)).filter(|name| name != worker).collect();
    Ok((known, now, gone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiters_entry_names_its_connection_its_server_and_its_list() {
        for server in ["0a1b", ""] {
            let client = Client { id: 7, server: server.into() };
            let entry = Value::BulkString(waiter_entry(&client, b"my jobs"));
            assert_eq!(waits_of(&entry), Some((client, b"my jobs".to_vec())));
        }
    }
}
