//! Keeping what is held, and giving back what others held.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_protocol::DeliveryTag;

use super::Actor;
use crate::contract::{Event, TransportError};
use crate::redis::claim::Taken;
use crate::redis::fault::Fault;
use crate::redis::line::{array, bytes, int};
use crate::redis::pack::{Args, Pack};
use crate::redis::script::REFRESH;
use crate::redis::{back, depths, ends, foreign, producer};

/// Between two looks for old claims of other programs, at most.
const SWEEP: Duration = Duration::from_secs(10);
/// Tags in one call.
const CHUNK: usize = 1000;

impl Actor {
    pub(super) fn look_around(&mut self) -> Result<(), Fault> {
        self.looked = Instant::now();
        self.stale |= self.undeclared;
        let renew = self.renewed.elapsed() >= self.settings.lease / 3;
        let Some(line) = &mut self.line else { return Ok(()) };
        let (known, now_ms, gone) = back::lease(line, &self.keys, &self.worker, renew.then_some(self.settings.lease))?;
        self.skew(now_ms);
        if renew {
            self.renewed = Instant::now();
        }
        for worker in gone {
            let Some(line) = &mut self.line else { return Ok(()) };
            let returned = match back::give_back(line, &self.keys, &worker, true) {
                // Its messages are back; it is forgotten when there is room.
                Err(Fault::Ours(TransportError::Full(_))) => continue,
                returned => returned?,
            };
            if let Some(count) = returned {
                self.hungry = true;
                let text = format!("worker {worker} of this broker is gone: {count} of its messages were returned");
                (self.sink)(Event::Notice(text));
            }
        }
        if !known {
            // Others took us for dead.
            let Some(line) = &mut self.line else { return Ok(()) };
            back::lease(line, &self.keys, &self.worker, Some(self.settings.lease))?;
            self.renewed = Instant::now();
            self.verify()?;
        } else if self.refreshed.elapsed() >= self.settings.visibility / 3 {
            self.verify()?;
        }
        let pause = (self.settings.visibility / 3).clamp(Duration::from_millis(500), SWEEP);
        if self.swept.is_none_or(|swept| swept.elapsed() >= pause) {
            self.swept = Some(Instant::now());
            let Some(line) = &mut self.line else { return Ok(()) };
            let foreign::Sweep { count, next } =
                foreign::restore(line, &self.settings, &self.keys, now_ms, self.sweep_from)?;
            self.sweep_from = next.unwrap_or(0);
            if next.is_some() {
                self.swept = None; // the others in a second
            }
            if count > 0 {
                let text = format!("{count} messages were restored that workers of Celery held for visibility_timeout");
                (self.sink)(Event::Notice(text));
            }
        }
        self.hungry = true;
        Ok(())
    }

    /// Moves the scores of all that we hold forward, and tells what is lost.
    pub(super) fn verify(&mut self) -> Result<(), Fault> {
        self.refreshed = Instant::now();
        let tags = self.held.tags();
        let mut lost = Vec::new();
        for chunk in tags.chunks(CHUNK) {
            let places = self.keys.places([&self.keys.unacked_index]);
            let mut args = Args::default();
            for tag in chunk {
                args.add(format!("{}:{}", self.worker, tag.0));
            }
            let Some(line) = &mut self.line else { return Ok(()) };
            let mut pack = Pack::default();
            let reply = line.ask(pack.run(&REFRESH, &places, &args))?;
            let reply = array(reply);
            let numbers = reply.iter().filter_map(int).filter_map(|number| usize::try_from(number - 1).ok());
            lost.extend(numbers.filter_map(|at| chunk.get(at).copied()));
        }
        if !lost.is_empty() {
            for tag in &lost {
                self.held.remove(*tag);
            }
            (self.sink)(Event::Lost(lost));
        }
        Ok(())
    }

    /// Puts back claims of ours whose answer never came.
    pub(super) fn find_unknown(&mut self) -> Result<(), Fault> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let mut pack = Pack::default();
        let batches = producer::fields(line.ask(pack.words(&["HGETALL", &self.keys.batches(&self.worker)]))?);
        let under_way = |number: u64| {
            self.waiters.iter().filter_map(|waiter| waiter.armed.as_ref()).any(|range| range.contains(&number))
        };
        for (first, batch) in batches {
            let (Ok(first), Some((count, list))) = (first.parse::<u64>(), depths::batch_of(&batch)) else {
                continue;
            };
            let Some(home) = self.sources.home(&list) else { continue };
            let unknown: Vec<u64> = (first..first + count)
                .filter(|&number| self.held.get(DeliveryTag(number)).is_none() && !under_way(number))
                .collect();
            let mut found = Vec::new();
            for chunk in unknown.chunks(64) {
                let mut get = Args::new("HMGET");
                get.add(&self.keys.unacked);
                for number in chunk {
                    get.add(format!("{}:{number}", self.worker));
                }
                for (&tag, record) in chunk.iter().zip(array(line.ask(&Pack::one(&get))?)) {
                    let Some(record) = bytes(record) else { continue };
                    let Some(raw) = ends::message_of(&record, home.tail.len()) else { continue };
                    found.push(Taken { tag, batch: first, home: Arc::clone(home), payload: raw.to_vec() });
                }
            }
            if !found.is_empty() {
                self.hungry = true;
                back::untouched(line, &self.keys, &self.worker, &found)?;
                self.held.forget(HashSet::from([first]));
            }
        }
        self.recover = false;
        Ok(())
    }
}
