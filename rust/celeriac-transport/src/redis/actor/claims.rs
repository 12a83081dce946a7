//! Taking messages and handing them over, up to the credit.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_protocol::{Delivery, DeliveryTag, Message};
use redis::Value;

use super::{Actor, Mail};
use crate::contract::{Event, TransportError};
use crate::redis::back;
use crate::redis::claim::{self, Answer, Habits, Request, Taken};
use crate::redis::fault::Fault;
use crate::redis::held::One;
use crate::redis::keys::Site;
use crate::redis::line::int;
use crate::redis::pack::Pack;
use crate::redis::patch::tag as own_tag;
use crate::redis::script::CLAIM;
use crate::redis::waiter::{self, Waiter, Woken};

/// How often a busy worker makes parked messages ready.
const PROMOTE: Duration = Duration::from_millis(20);
/// Least time until a parked message is asked for that was not due yet.
const LEAST_WAIT: Duration = Duration::from_millis(1);

impl Actor {
    /// Whether a connection blocks for each list that can be blocked on: then there is nothing to claim.
    pub(super) fn waits(&self) -> bool {
        !self.hungry && !self.waiters.is_empty() && self.waiters.iter().all(|waiter| waiter.armed.is_some())
    }

    pub(super) fn request(&mut self, want: usize, only: Option<&str>) -> Request {
        // A wait leaves them to the watcher and to the time that the last claim told; a busy worker looks every few ms.
        let parked = only.is_none() && (!self.busy || self.promoted.elapsed() >= PROMOTE);
        if parked {
            self.promoted = Instant::now();
        }
        let until = if only.is_some() { waiter::LONGEST } else { Duration::ZERO }; // one that waits may come back later
        let lease = self.renewed.elapsed() + until >= self.settings.lease / 2;
        let habits = Habits { parked, sift: only.is_none() && self.sift, lease };
        claim::request(self.site(), &self.sources, &self.sizes, want, self.turn, only, habits)
    }

    pub(super) fn site(&self) -> Site<'_> {
        Site { settings: &self.settings, keys: &self.keys, worker: &self.worker }
    }

    pub(super) fn took(&mut self, reply: Value, first: u64, want: usize) {
        let Answer { taken, more, due_in, sifted } = claim::answer(reply, first, want, &self.sources, &mut self.sizes);
        self.hungry = more;
        self.busy = more;
        self.due = due_in.map(|due| Instant::now() + due.max(LEAST_WAIT));
        self.sift = sifted > 0;
        // Only after a claim: with one that claims and one that does not by turns, the same queue would always be first.
        self.turn = self.turn.wrapping_add(usize::from(!taken.is_empty()));
        self.arrived.extend(taken);
    }

    pub(super) fn woken(&mut self, woken: Woken) {
        let Woken { waiter, first, want, answer } = woken;
        let number = |at: &Waiter| at.number == waiter;
        if let Some(waiter) = self.waiters.iter_mut().find(|at| number(at)) {
            waiter.armed = None;
            waiter.called = false;
            if let Err(fault) = &answer {
                // A server without memory refuses every wait.
                let full = matches!(fault, Fault::Ours(TransportError::Full(_)));
                waiter.rest_until = Some(Instant::now() + Duration::from_millis(if full { 1000 } else { 200 }));
            }
        }
        match answer {
            Ok(reply) => {
                let (hungry, due, sift) = (self.hungry, self.due, self.sift);
                self.took(reply, first, want);
                self.hungry |= hungry;
                self.due = self.due.or(due);
                self.sift = sift;
            }
            Err(_) => self.recover = true,
        }
    }

    /// Hands over what has arrived, up to the credit; what is over it goes back.
    pub(super) fn settle_arrived(&mut self) -> Result<(), Fault> {
        if self.arrived.is_empty() {
            return Ok(());
        }
        let Some(line) = &mut self.line else { return Ok(()) };
        let credit = usize::try_from(self.credit_total.saturating_sub(self.handed)).unwrap_or(usize::MAX);
        if self.arrived.len() > credit {
            let over = &self.arrived[credit..];
            back::untouched(line, &self.keys, &self.worker, over)?;
            let gone = self.arrived.split_off(credit);
            let kept: HashSet<u64> = self.arrived.iter().map(|taken| taken.batch).collect();
            let batches = gone.iter().map(|taken| taken.batch).filter(|batch| !kept.contains(batch));
            self.held.forget(batches.collect());
        }
        let mut messages: Vec<(Taken, Message, Option<String>)> = Vec::with_capacity(self.arrived.len());
        for mut taken in std::mem::take(&mut self.arrived) {
            let message = Message::scan(Bytes::from(std::mem::take(&mut taken.payload)));
            let before = message.head.as_ref().is_ok_and(|head| head.redelivered);
            let key = if before { own_tag(&message.raw).map(|tag| self.keys.crashes(&tag)) } else { None };
            messages.push((taken, message, key));
        }
        let crashes = if messages.iter().any(|(_, _, key)| key.is_some()) {
            match back::known(line, messages.iter().map(|(_, _, key)| key.as_deref())) {
                Ok(crashes) => crashes,
                Err(fault) => {
                    self.arrived = messages
                        .into_iter()
                        .map(|(taken, message, _)| Taken { payload: message.raw.to_vec(), ..taken })
                        .collect();
                    return Err(fault);
                }
            }
        } else {
            vec![None; messages.len()]
        };
        let mut deliveries = Vec::with_capacity(messages.len());
        for ((taken, message, _), crashes) in messages.into_iter().zip(crashes) {
            let tag = DeliveryTag(taken.tag);
            deliveries.push(Delivery {
                tag,
                queue: Arc::clone(&taken.home.queue),
                redelivered: message.head.as_ref().is_ok_and(|head| head.redelivered),
                crashes: crashes.as_ref().map_or(0, |crashes| crashes.counted),
                message,
            });
            self.held.add(tag, One { batch: taken.batch, home: taken.home, started: false, crashes });
        }
        if !deliveries.is_empty() {
            self.handed += deliveries.len() as u64;
            (self.sink)(Event::Deliveries(deliveries));
        }
        Ok(())
    }

    /// Everything that nobody asks for: claims, waits, leases.
    pub(super) fn go_on(&mut self) {
        if let Err(fault) = self.try_to_go_on() {
            self.broke(fault);
        }
    }

    pub(super) fn try_to_go_on(&mut self) -> Result<(), Fault> {
        if self.line.is_none() {
            return Ok(());
        }
        if self.stale {
            self.declare()?;
        }
        self.settle_arrived()?;
        if self.looked.elapsed() >= self.tick() {
            self.look_around()?;
        }
        if self.recover {
            self.find_unknown()?;
        }
        self.hungry |= self.due.is_some_and(|due| due <= Instant::now());
        if self.hungry && self.credit() > 0 {
            let request = self.request(self.credit(), None);
            let mut pack = Pack::default();
            pack.run(&CLAIM, &request.keys, &request.args);
            let Some(line) = &mut self.line else { return Ok(()) };
            match line.ask(&pack) {
                Ok(reply) => self.took(reply, request.first, request.want),
                Err(fault) => {
                    self.recover = true;
                    return Err(fault);
                }
            }
            self.settle_arrived()?;
        }
        if self.credit() == 0 {
            return self.call_back(false);
        }
        if !self.hungry {
            self.wait();
        }
        Ok(())
    }

    pub(super) fn wait(&mut self) {
        let now = Instant::now();
        let credit = self.credit();
        for at in 0..self.waiters.len() {
            if self.waiters[at].armed.is_some() || self.waiters[at].rest_until.is_some_and(|until| until > now) {
                continue;
            }
            let inflight = self.keys.inflight(&self.worker, self.waiters[at].number);
            let request = self.request(credit, Some(&inflight));
            self.waiters[at].rest_until = None;
            self.waiters[at].arm(request);
        }
    }

    /// Ends the waits: there is no credit for what they could bring. `all`: also those that were told already.
    pub(super) fn call_back(&mut self, all: bool) -> Result<(), Fault> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let mut pack = Pack::default();
        let mut called = Vec::new();
        for (at, waiter) in self.waiters.iter().enumerate() {
            let client = waiter.client();
            if waiter.armed.is_some() && (all || !waiter.called) && line.knows(&client) {
                pack.words(&["CLIENT", "UNBLOCK", &client.id.to_string()]);
                called.push(at);
            }
        }
        if pack.is_empty() {
            return Ok(());
        }
        for (at, reply) in called.into_iter().zip(line.call(&pack)?) {
            self.waiters[at].called = int(&reply) == Some(1);
        }
        Ok(())
    }

    /// Takes the answers of waiters that were called back. One that does not answer loses its connection.
    pub(super) fn await_waiters(&mut self) {
        let deadline = Instant::now() + Duration::from_millis(500);
        let mut later = Vec::new();
        while self.waiters.iter().any(|waiter| waiter.armed.is_some()) {
            match self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Mail::Woken(woken)) => self.woken(woken),
                Ok(mail) => later.push(mail),
                Err(_) => break,
            }
        }
        for mail in later {
            drop(self.mail.send(mail));
        }
        let late: Vec<_> = self.waiters.iter().filter(|waiter| waiter.armed.is_some()).map(Waiter::client).collect();
        if let Some(line) = &mut self.line {
            for client in late {
                let _ = line.end(&client);
            }
        }
    }
}
