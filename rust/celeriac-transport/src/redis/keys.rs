//! Names of keys: Kombu's, and our own under `celeriac.`. All begin with `global_keyprefix`.

use super::pack::Args;
use super::settings::Settings;

/// Who acts where: a worker, and what it goes by.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) keys: &'a Keys,
    pub(crate) worker: &'a str,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
    separator: Vec<u8>,
    steps: Vec<u8>,
    /// In a cluster: never exists, see `cluster`.
    absent: Option<String>,
    /// Kombu: tag → claimed message.
    pub(crate) unacked: String,
    /// Kombu: tag → time of the claim.
    pub(crate) unacked_index: String,
    /// Worker → end of its lease.
    pub(crate) workers: String,
    /// Names of queues that a program of ours declared or sent to.
    pub(crate) queues: String,
    /// Exchange → type, as declared by programs of ours.
    pub(crate) exchanges: String,
    /// Ids of dead letters.
    pub(crate) dead: String,
    /// Last id of a dead letter.
    pub(crate) dead_sequence: String,
    /// In front of a dead letter's id.
    pub(crate) dead_letter: String,
}

impl Keys {
    pub(crate) fn new(settings: &Settings) -> Self {
        let prefix = settings.prefix.clone();
        let own = |name: &str| format!("{prefix}celeriac.{name}");
        Self {
            unacked: format!("{prefix}{}", settings.unacked),
            unacked_index: format!("{prefix}{}", settings.unacked_index),
            workers: own("workers"),
            queues: own("queues"),
            exchanges: own("exchanges"),
            dead: own("dead"),
            dead_sequence: own("dead.last"),
            dead_letter: own("dead."),
            separator: settings.separator.clone(),
            steps: settings.steps.clone(),
            absent: settings.is_cluster().then(|| own("absent")),
            prefix,
        }
    }

    /// The keys that a script is told.
    pub(crate) fn places<const COUNT: usize>(&self, names: [&str; COUNT]) -> Args {
        let mut places = Args::default();
        for name in names.into_iter().chain(self.absent.as_deref()) {
            places.add(name);
        }
        places
    }

    /// The step that a priority falls into: the largest not above it.
    pub(crate) fn step(&self, priority: u8) -> u8 {
        self.steps.iter().rev().copied().find(|&step| step <= priority).unwrap_or(0)
    }

    pub(crate) fn steps(&self) -> &[u8] {
        &self.steps
    }

    pub(crate) fn separator(&self) -> &[u8] {
        &self.separator
    }

    /// The list of a queue's messages of one step.
    pub(crate) fn list(&self, queue: &str, step: u8) -> Vec<u8> {
        let mut list = Vec::with_capacity(self.prefix.len() + queue.len() + 4);
        list.extend_from_slice(self.prefix.as_bytes());
        list.extend_from_slice(queue.as_bytes());
        if step > 0 {
            list.extend_from_slice(&self.separator);
            list.extend_from_slice(step.to_string().as_bytes());
        }
        list
    }

    /// All lists of a queue.
    pub(crate) fn lists(&self, queue: &str) -> Vec<Vec<u8>> {
        self.steps.iter().map(|&step| self.list(queue, step)).collect()
    }

    /// A list's name without what all keys begin with: that of the queue, if it is of step 0.
    pub(crate) fn name_of(&self, list: &[u8]) -> String {
        String::from_utf8_lossy(list.strip_prefix(self.prefix.as_bytes()).unwrap_or(list)).into_owned()
    }

    /// The queue that a list belongs to; a queue that is called like another's list of a priority is taken for that.
    pub(crate) fn queue_of(&self, list: &[u8]) -> String {
        let name = list.strip_prefix(self.prefix.as_bytes()).unwrap_or(list);
        let step = name.windows(self.separator.len()).rposition(|part| part == self.separator);
        let digit = |at: usize| {
            name.get(at + self.separator.len()..).is_some_and(|rest| {
                std::str::from_utf8(rest)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .is_some_and(|step| self.steps.contains(&step))
            })
        };
        let name = step.filter(|&at| digit(at)).map_or(name, |at| &name[..at]);
        String::from_utf8_lossy(name).into_owned()
    }

    /// A queue's messages that wait for their time.
    pub(crate) fn parked(&self, queue: &str) -> String {
        format!("{}celeriac.parked.{queue}", self.prefix)
    }

    /// Kombu: rows of an exchange's bindings.
    pub(crate) fn bindings(&self, exchange: &str) -> String {
        format!("{}_kombu.binding.{exchange}", self.prefix)
    }

    /// Kombu: rows that no sweep may drop.
    pub(crate) fn permanent_bindings(&self, exchange: &str) -> String {
        format!("{}_kombu.binding_permanent.{exchange}", self.prefix)
    }

    /// What a worker holds.
    pub(crate) fn batches(&self, worker: &str) -> String {
        format!("{}celeriac.held.{worker}", self.prefix)
    }

    /// Which of it has begun.
    pub(crate) fn started(&self, worker: &str) -> String {
        format!("{}celeriac.started.{worker}", self.prefix)
    }

    /// What a worker did last.
    pub(crate) fn done(&self, worker: &str) -> String {
        format!("{}celeriac.done.{worker}", self.prefix)
    }

    /// Where a message goes that a waiting worker is given.
    pub(crate) fn inflight(&self, worker: &str, waiter: usize) -> String {
        format!("{}celeriac.inflight.{worker}.{waiter}", self.prefix)
    }

    /// Crashes of the message with this delivery tag.
    pub(crate) fn crashes(&self, tag: &str) -> String {
        format!("{}celeriac.crashes.{tag}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[test]
    fn lists_are_named_by_priority_step() {
        let keys = |url: &str| Keys::new(&Settings::parse(url, &Options::new()).unwrap());
        let plain = keys("redis://");
        assert_eq!([0, 2, 3, 5, 9].map(|priority| plain.step(priority)), [0, 0, 3, 3, 9]);
        assert_eq!(plain.list("q", 0), b"q");
        assert_eq!(plain.list("q", 3), b"q\x06\x163");
        let other = keys("redis://?global_keyprefix=app:&sep=:&priority_steps=0,5");
        assert_eq!(other.lists("q"), [b"app:q".to_vec(), b"app:q:5".to_vec()]);
        assert_eq!(other.unacked_index, "app:unacked_index");
    }
}
