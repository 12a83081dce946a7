//! Which queues and broadcasts are consumed, and the threads that wait for them.

use bytes::Bytes;

use super::Actor;
use crate::contract::{Event, QueueSpec, TransportError};
use crate::redis::claim::Sources;
use crate::redis::fault::Fault;
use crate::redis::pack::{Args, Pack};
use crate::redis::waiter::Waiter;
use crate::redis::watcher::{Watched, Watcher};
use crate::redis::{back, route};

/// Queues that have a connection of their own to wait for them; further ones are watched.
const MOST_WAITERS: usize = 8;

impl Actor {
    pub(super) fn consume(&mut self, spec: QueueSpec, on: bool) {
        self.stale = true;
        let list = if spec.subscription().is_some() {
            self.broadcasts.retain(|known| known.bindings != spec.bindings);
            &mut self.broadcasts
        } else {
            self.specs.retain(|known| known.name != spec.name);
            &mut self.specs
        };
        if on {
            list.push(spec);
            self.hungry = true;
        }
    }

    /// Makes the queues known, and the lists to take from.
    pub(super) fn declare(&mut self) -> Result<(), Fault> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let mut refused = Vec::new();
        self.undeclared = false;
        for spec in self.specs.iter().chain(&self.broadcasts) {
            match route::declare(line, &self.keys, spec) {
                // Taking what waits makes room; their names are wanted by who looks at them.
                Err(Fault::Ours(TransportError::Full(_))) => self.undeclared = true,
                // Else no cycle would be carried out any more.
                Err(Fault::Ours(TransportError::Refused(why))) if !self.starting => {
                    refused.push((spec.name.clone(), why));
                }
                made => made?,
            }
        }
        for (name, why) in refused {
            self.specs.retain(|spec| spec.name != name);
            (self.sink)(Event::Notice(format!("queue '{name}' is not consumed: {why}")));
        }
        self.stale = false;
        let queues: Vec<String> = self.specs.iter().map(|spec| spec.name.clone()).collect();
        if self.sources.queues() != queues || self.waiters.is_empty() {
            self.arrange(&queues)?;
        }
        self.watch()
    }

    /// Makes the waiters and the watcher those of `queues`.
    pub(super) fn arrange(&mut self, queues: &[String]) -> Result<(), Fault> {
        self.call_back(true)?;
        // What is still under way comes to the lists of before.
        self.await_waiters();
        let _ = self.settle_arrived();
        let before = std::mem::take(&mut self.waiters);
        self.sources = Sources::new(&self.keys, queues, std::mem::take(&mut self.sources));
        self.hungry = true;
        let first = self.numbered;
        for waiter in before {
            if let Some(line) = &mut self.line {
                // What one of them was given and did not claim.
                back::empty_inflight(line, &self.keys, &self.worker, waiter.number, &waiter.list)?;
            }
        }
        for (number, queue) in queues.iter().take(MOST_WAITERS).enumerate() {
            let list = self.keys.list(queue, 0);
            let inflight = self.keys.inflight(&self.worker, first + number);
            let waiter = Waiter::start(
                &self.settings,
                &self.keys,
                &self.worker,
                first + number,
                list.clone(),
                self.timeout,
                self.mail.clone(),
            );
            self.waiters.push(waiter.map_err(|error| no_thread(&error))?);
            self.numbered = first + number + 1;
            self.sources.inflight.push((inflight, list));
        }
        Ok(())
    }

    /// Watches what no waiter blocks on, and broadcasts.
    pub(super) fn watch(&mut self) -> Result<(), Fault> {
        let mut watched = Watched::default();
        for (at, queue) in self.sources.queues().iter().enumerate() {
            let lists = self.keys.lists(queue);
            watched.lists.extend(lists.into_iter().skip(usize::from(at < MOST_WAITERS)));
            watched.sets.push(self.keys.parked(queue));
        }
        let fanout = self.specs.iter().chain(&self.broadcasts).flat_map(QueueSpec::fanouts);
        watched.patterns = fanout.map(|binding| route::subscription(&self.settings, binding)).collect();
        if self.watcher.as_ref().is_none_or(|watcher| watcher.watched != watched) {
            self.unwatch();
            let started = Watcher::start(&self.settings, watched, self.timeout, self.mail.clone());
            self.watcher = Some(started.map_err(|error| no_thread(&error))?);
        }
        Ok(())
    }

    pub(super) fn unwatch(&mut self) {
        let Some(watcher) = self.watcher.take() else { return };
        let client = watcher.client();
        drop(watcher);
        if let Some(line) = &mut self.line {
            let _ = line.end(&client);
        }
    }

    pub(super) fn heard(&mut self, channel: &[u8], payload: &[u8]) {
        let name = String::from_utf8_lossy(channel);
        let prefix = route::channel(&self.settings, "", "");
        let name = name.strip_prefix(&*String::from_utf8_lossy(&prefix)).unwrap_or(&name);
        let (exchange, routing_key) = name.split_once('/').unwrap_or((name, ""));
        let binds = |spec: &QueueSpec| spec.fanouts().any(|binding| binding.exchange.name == exchange);
        if self.broadcasts.iter().any(binds) {
            let payload = Bytes::copy_from_slice(payload);
            (self.sink)(Event::Broadcast { exchange: exchange.into(), routing_key: routing_key.into(), payload });
        }
        for spec in self.specs.iter().filter(|spec| binds(spec)) {
            // From here on it is a message like any other.
            let Some(line) = &mut self.line else { return };
            let mut push = Args::new("LPUSH");
            push.add(self.keys.list(&spec.name, 0)).add(payload);
            let _ = line.ask(&Pack::one(&push));
        }
    }
}

fn no_thread(error: &std::io::Error) -> Fault {
    Fault::Ours(TransportError::Unavailable(format!("no thread: {error}")))
}
