//! Messages to the commands that store them.

use std::collections::HashMap;

use celeriac_protocol::Publication;

use super::fault::Fault;
use super::keys::Keys;
use super::pack::Args;
use super::patch::with_fresh_tag;
use super::route::{Route, Routes};
use super::settings::Settings;

/// Longest command; a longer run of messages for one list is several.
const MOST_BYTES: usize = 16 << 20;

/// What stores a batch.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) commands: Vec<Args>,
    /// Messages that go to lists.
    pub(crate) copies: usize,
    /// How many of the commands are broadcasts, each of which answers how many heard it.
    pub(crate) broadcasts: usize,
    /// The queues that they go to.
    pub(crate) queues: Vec<String>,
}

/// The commands for `batch`, the messages of one list in their order.
pub(crate) fn commands(
    settings: &Settings,
    keys: &Keys,
    routes: &Routes,
    batch: &[Publication],
    wall_ms: u64,
) -> Result<Stored, Fault> {
    let mut stored = Stored::default();
    let mut lists: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut last: Option<(&Publication, Route)> = None;
    for publication in batch {
        let same = last.as_ref().is_some_and(|(last, _)| {
            last.routing_key == publication.routing_key && last.exchange == publication.exchange
        });
        if !same {
            let route = routes.route(settings, &publication.exchange, &publication.routing_key)?;
            if let Route::Queues(queues) = &route {
                stored.queues.extend(queues.iter().cloned());
            }
            last = Some((publication, route));
        }
        let Some((_, route)) = &last else { continue };
        match route {
            Route::Channel(channel) => {
                let mut publish = Args::new("PUBLISH");
                publish.add(channel).add(&publication.payload);
                stored.commands.push(publish);
                stored.broadcasts += 1;
            }
            Route::Queues(queues) => {
                for (copy, queue) in queues.iter().enumerate() {
                    let list = keys.list(queue, keys.step(publication.priority));
                    let at = *lists.entry(list.clone()).or_insert(usize::MAX);
                    let full = stored.commands.get(at).is_none_or(|push| push.len() > MOST_BYTES);
                    if full {
                        lists.insert(list.clone(), stored.commands.len());
                        let mut push = Args::new("LPUSH");
                        push.add(&list);
                        stored.commands.push(push);
                    }
                    let at = if full { stored.commands.len() - 1 } else { at };
                    if copy == 0 {
                        stored.commands[at].add(&publication.payload);
                    } else {
                        // Kombu records claims by this tag: two copies under one would undo each other's claims.
                        stored.commands[at].add(with_fresh_tag(&publication.payload, wall_ms));
                    }
                    stored.copies += 1;
                }
            }
        }
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::pack::Pack;
    use super::*;
    use crate::Options;

    fn sent(key: &str, priority: u8, payload: &'static str) -> Publication {
        Publication {
            exchange: "".into(),
            routing_key: key.into(),
            priority,
            due_ms: Some(99),
            payload: Bytes::from_static(payload.as_bytes()),
        }
    }

    #[test]
    fn messages_of_one_list_are_one_command_in_their_order() {
        let settings = Settings::parse("redis://", &Options::new()).unwrap();
        let keys = Keys::new(&settings);
        let batch = [sent("a", 0, "1"), sent("b", 0, "2"), sent("a", 4, "3"), sent("a", 2, "4")];
        let stored = commands(&settings, &keys, &Routes::default(), &batch, 0).unwrap();
        let packed: Vec<String> = stored
            .commands
            .iter()
            .map(|args| String::from_utf8(Pack::one(args).bytes().to_vec()).unwrap().replace("\r\n", " "))
            .collect();
        assert_eq!(packed[0], "*4 $5 LPUSH $1 a $1 1 $1 4 ");
        assert_eq!(packed[1], "*3 $5 LPUSH $1 b $1 2 ");
        assert_eq!(packed[2], "*3 $5 LPUSH $4 a\x06\x163 $1 3 ");
        assert_eq!((stored.copies, packed.len()), (4, 3));
    }
}
