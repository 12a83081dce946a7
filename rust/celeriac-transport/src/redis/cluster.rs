//! Redis Cluster: everything of one broker is in one slot, and this finds the node that has it.
//!
//! All keys begin with `global_keyprefix`, which has a hash tag here, so every script finds its keys on one node and the
//! rest of the transport is the same as on one server. No map of slots is kept: each new connection asks, so a fork
//! inherits nothing, and after a fail-over or a move the next connection is right.
//!
//! While the slot is being moved, a node has some of its keys. Scripts name a key that never exists
//! (`Keys::places`): then the server refuses them (TRYAGAIN, ASK) before they begin, instead of stopping
//! one in its middle, where messages that it has taken would be lost. ASK is never followed, for the same reason: nobody
//! writes a key on the new node while the old one may still send its own.

use std::time::{Duration, Instant};

use redis::{ConnectionAddr, ProtocolVersion, Value};

use super::fault::Fault;
use super::line::{Line, array, int, text};
use super::pack::Pack;
use super::settings::{Node, Settings};

/// Slots of a cluster.
const SLOTS: u16 = 16384;
/// The hash tag of a broker without `global_keyprefix`.
pub(crate) const PREFIX: &str = "{celeriac}";

/// `prefix` with a hash tag: itself if it has one, or in braces.
pub(crate) fn tagged(prefix: &str) -> Result<String, String> {
    match (prefix, hash_tag(prefix)) {
        ("", _) => Ok(PREFIX.to_owned()),
        (_, Some(_)) => Ok(prefix.to_owned()),
        _ if prefix.contains(['{', '}']) => Err(format!(
            "global_keyprefix '{prefix}' has braces but no hash tag: write it without braces, or with one pair around a \
             text, for example '{{shop}}:'"
        )),
        _ => Ok(format!("{{{prefix}}}")),
    }
}

/// What stands between the first brace and the next closing one.
fn hash_tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

/// The slot of a key.
pub(crate) fn slot(key: &str) -> u16 {
    // CRC-16/XMODEM, as the protocol of the cluster has it.
    let crc = hash_tag(key).unwrap_or(key).bytes().fold(0_u16, |crc, byte| {
        (0..8)
            .fold(crc ^ (u16::from(byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    });
    crc % SLOTS
}

/// A connection to the master of the broker's slot; `seeds` are asked one after the other where it is.
pub(crate) fn open(
    settings: &Settings,
    node: &Node,
    (seeds, tls): (&[(String, u16)], bool),
    left: Duration,
    protocol: ProtocolVersion,
) -> Result<Line, Fault> {
    let deadline = Instant::now() + left;
    let mut last = Fault::Broken("no node of the cluster is named".to_owned());
    for (at, seed) in seeds.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let until = Instant::now() + left / u32::try_from(seeds.len() - at).unwrap_or(1);
        let connect = |(host, port): &(String, u16)| {
            let left = until.saturating_duration_since(Instant::now());
            let address = if tls {
                ConnectionAddr::TcpTls {
                    host: host.clone(),
                    port: *port,
                    insecure: settings.tls.unchecked,
                    tls_params: None,
                }
            } else {
                ConnectionAddr::Tcp(host.clone(), *port)
            };
            Line::connect(settings, node, address, &format!("{host}:{port}"), left, protocol)
        };
        match through(seed, slot(&settings.prefix), connect) {
            Ok(mut line) => {
                line.cluster = true;
                return Ok(line);
            }
            Err(fault @ Fault::Ours(_)) => return Err(fault),
            // A node that answers knows more than one that does not.
            Err(fault) => last = if matches!(last, Fault::Later(..)) { last } else { fault },
        }
    }
    Err(last)
}

fn through(
    seed: &(String, u16),
    slot: u16,
    connect: impl Fn(&(String, u16)) -> Result<Line, Fault>,
) -> Result<Line, Fault> {
    let mut line = connect(seed)?;
    let ranges = line.ask(Pack::default().words(&["CLUSTER", "SLOTS"]))?;
    let owner = owner(ranges, slot, &seed.0).ok_or_else(|| {
        Fault::Later(format!("the cluster of Redis at {} has no node for slot {slot} now", line.place()), true)
    })?;
    if owner == *seed {
        return Ok(line);
    }
    connect(&owner).map_err(|fault| match fault {
        // Soon one of its replicas takes its place.
        Fault::Broken(text) => {
            Fault::Later(format!("the node of the cluster that has slot {slot} is away: {text}"), true)
        }
        fault => fault,
    })
}

/// The master of a slot, from the answer to CLUSTER SLOTS; a node that does not know its own name is at `asked`.
fn owner(ranges: Value, slot: u16, asked: &str) -> Option<(String, u16)> {
    array(ranges).into_iter().find_map(|range| {
        let mut parts = array(range).into_iter();
        let (from, to) = (int(&parts.next()?)?, int(&parts.next()?)?);
        if !(from..=to).contains(&i64::from(slot)) {
            return None;
        }
        let master = array(parts.next()?);
        let host = text(master.first()?).filter(|host| !host.is_empty() && host != "?");
        Some((host.unwrap_or_else(|| asked.to_owned()), u16::try_from(int(master.get(1)?)?).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_the_servers() {
        // CLUSTER KEYSLOT of each.
        for (key, expected) in [("123456789", 12739), ("foo", 12182), ("{user1000}.following", 3443), ("{}x", 10595)] {
            assert_eq!(slot(key), expected, "{key}");
        }
        assert_eq!(slot("{foo}bar"), slot("foo"));
    }

    #[test]
    fn a_prefix_gets_a_hash_tag_unless_it_has_one() {
        assert_eq!(tagged("").as_deref(), Ok("{celeriac}"));
        assert_eq!(tagged("shop:").as_deref(), Ok("{shop:}"));
        assert_eq!(tagged("eu-{shop}:").as_deref(), Ok("eu-{shop}:"));
        for wrong in ["{}", "{shop", "shop}"] {
            assert!(tagged(wrong).unwrap_err().contains("{shop}:"), "{wrong}");
        }
    }

    #[test]
    fn the_master_is_the_first_node_of_a_range() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: &str, port| Value::Array(vec![text(host), Value::Int(port), text("id")]);
        let range = |from, to, master, replica| Value::Array(vec![Value::Int(from), Value::Int(to), master, replica]);
        let ranges =
            Value::Array(vec![range(0, 99, node("a", 1), node("b", 2)), range(100, 200, node("", 3), node("a", 1))]);
        assert_eq!(owner(ranges.clone(), 99, "seed"), Some(("a".to_owned(), 1)));
        assert_eq!(owner(ranges.clone(), 100, "seed"), Some(("seed".to_owned(), 3)));
        assert_eq!(owner(ranges, 201, "seed"), None);
    }
}
