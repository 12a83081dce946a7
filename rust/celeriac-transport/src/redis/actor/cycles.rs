//! Carrying out cycles.
//!
//! A call of which the answer did not come is sent again on the next connection, where the old one can do no more: so a
//! cycle is either answered as done or given back with what of it was done remembered.
//!
//! What the server refuses of a cycle (a key holds another type) is refused alone: the rest goes on behind it, and nothing
//! is carried out twice. What concerns all (no memory, no master) gives the cycle back.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use celeriac_protocol::{DeliveryTag, Settlement};
use redis::Value;

use super::Actor;
use crate::contract::{Cycle, Event, Refusal, TransportError};
use crate::redis::claim::Request;
use crate::redis::ends::{self, Call, Part};
use crate::redis::fault::Fault;
use crate::redis::keys::Site;
use crate::redis::line::text;
use crate::redis::pack::Pack;
use crate::redis::script::CLAIM;

/// How long a server that had no memory is taken to have none.
const FULL: Duration = Duration::from_secs(10);

/// A cycle on its way.
pub(super) struct Carry {
    pub(super) cycle: Cycle,
    calls: VecDeque<Call>,
    lost: Vec<DeliveryTag>,
    /// What is stored.
    done: HashSet<Part>,
    /// Bookkeeping that went along.
    emptied: usize,
    ended: usize,
}

impl Actor {
    pub(super) fn carry_out(&mut self, cycle: Cycle, claim: bool) {
        let Some(line) = &mut self.line else {
            let text = format!("Redis at {} cannot be reached", self.settings.shown);
            (self.sink)(Event::Failed { cycle, error: TransportError::Unavailable(text) });
            return;
        };
        self.sift |= cycle.ends.iter().any(|end| matches!(end.settlement, Settlement::Park { .. }));
        let (settled, refused) = (&self.settled, &self.refused);
        let skip = |tag| settled.contains(&tag) || refused.iter().any(|refusal| refusal.end == Some(tag));
        let made = ends::calls(
            line,
            Site { settings: &self.settings, keys: &self.keys, worker: &self.worker },
            &self.held,
            &cycle,
            &skip,
            &mut self.memory,
        );
        let unknown = |tag: &DeliveryTag| self.held.get(*tag).is_none() && !skip(*tag);
        let lost = cycle.ends.iter().map(|end| end.tag).filter(unknown).collect();
        let mut carry = Carry {
            cycle,
            calls: VecDeque::new(),
            lost,
            done: HashSet::new(),
            emptied: self.held.emptied.len(),
            ended: self.held.ended.len(),
        };
        match made {
            Ok(made) => {
                carry.calls = made.calls.into();
                for (part, why) in made.refused {
                    self.refuse(&mut carry, part, None, &why);
                }
                self.drive(carry, claim);
            }
            Err(fault) => self.fail(carry, fault),
        }
    }

    /// Carries a cycle to its end, or to where the connection breaks. With `claim`, messages are taken in the same write.
    pub(super) fn drive(&mut self, mut carry: Carry, claim: bool) {
        while let Some(call) = carry.calls.front_mut() {
            if self.line.is_none() {
                self.carry = Some(carry);
                return;
            }
            let mut pack = Pack::default();
            call.push(&mut self.memory, &mut pack);
            let credit = carry.cycle.credit_total.saturating_sub(self.handed);
            let request = (claim && carry.calls.len() == 1 && credit > 0 && !self.waits() && !self.stale)
                .then(|| usize::try_from(credit).unwrap_or(usize::MAX))
                .map(|want| self.request(want, None));
            if let Some(request) = &request {
                pack.run(&CLAIM, &request.keys, &request.args);
            }
            let Some(line) = &mut self.line else { return };
            let mut replies = match line.call(&pack) {
                Ok(replies) => replies.into_iter(),
                Err(fault) => {
                    // It may be done or not; the same call on the next connection will tell.
                    self.carry = Some(carry);
                    self.broke(fault);
                    return;
                }
            };
            let reply = line.check(replies.next().unwrap_or_default());
            let claimed = replies.next().map(|reply| line.check(reply));
            let told = reply.and_then(|reply| self.answered(&mut carry, &text(&reply).unwrap_or_default()));
            let over = told.is_err() || carry.calls.is_empty();
            match told {
                Err(fault) => self.fail(carry, fault),
                Ok(()) if over => self.finish(carry),
                Ok(()) => {
                    self.claimed(request, claimed);
                    continue;
                }
            }
            self.claimed(request, claimed);
            return;
        }
        self.finish(carry);
    }

    /// Takes note of what the first call did. What is left of it stays the first. Fails if nothing of that can be done.
    fn answered(&mut self, carry: &mut Carry, reply: &str) -> Result<(), Fault> {
        let done = ends::done(reply);
        let Some(mut call) = carry.calls.pop_front() else { return Ok(()) };
        for (at, part) in call.parts.iter().enumerate().take(done.carried).skip(call.skip) {
            match part {
                Part::End(tag) if done.lost.contains(&at) => carry.lost.push(*tag),
                Part::Letter(message) => drop(carry.done.insert(Part::Message(*message))),
                part => drop(carry.done.insert(*part)),
            }
        }
        if let Some((problem, key)) = done.problem {
            let fault = self.line.as_ref().map_or(Fault::Broken(problem.clone()), |line| line.said(&problem));
            let why = ends::own(fault)?;
            if let Some(part) = call.parts.get(done.carried) {
                self.refuse(carry, *part, Some(&key), &why);
            }
            if call.go_on_after(done.carried + 1) {
                carry.calls.push_front(call);
            }
        }
        Ok(())
    }

    /// The server will not have this part of a cycle, as it says of `key`. The cycle's answer says so, whenever it comes.
    fn refuse(&mut self, carry: &mut Carry, part: Part, key: Option<&str>, why: &str) {
        let why = key.map_or_else(|| why.to_owned(), |key| format!("'{}': {why}", key.escape_debug()));
        let (end, why) = match (part, key) {
            (Part::End(tag), _) => (Some(tag), why),
            (Part::Books, _) => (None, format!("what this worker notes about itself: {why}")),
            (Part::State(at), _) => (None, format!("a state, which is gone: {}: {why}", carry.cycle.results[at].key)),
            (Part::Message(at), Some(list)) => {
                let publication = &carry.cycle.publish[at];
                carry.calls.extend(ends::letter(self.site(), Part::Letter(at), publication, list, &why));
                (None, format!("a message for '{}', kept as a dead letter: {why}", publication.routing_key))
            }
            (Part::Message(at) | Part::Letter(at), _) => {
                carry.done.insert(Part::Message(at));
                (None, format!("a message for '{}', which is gone: {why}", carry.cycle.publish[at].routing_key))
            }
        };
        if matches!(part, Part::Books | Part::State(_)) {
            carry.done.insert(part); // as far as it can be
        }
        self.refused.push(Refusal { end, why });
    }

    pub(super) fn claimed(&mut self, request: Option<Request>, reply: Option<Result<Value, Fault>>) {
        let (Some(request), Some(reply)) = (request, reply) else { return };
        match reply {
            Ok(reply) => self.took(reply, request.first, request.want),
            Err(fault) => self.broke(fault),
        }
        let _ = self.settle_arrived();
    }

    pub(super) fn finish(&mut self, carry: Carry) {
        self.bookkeeping(&carry);
        let refused = std::mem::take(&mut self.refused);
        for end in &carry.cycle.ends {
            if refused.iter().all(|refusal| refusal.end != Some(end.tag)) {
                self.held.remove(end.tag);
                self.settled.remove(&end.tag);
            }
        }
        self.credit_total = carry.cycle.credit_total;
        (self.sink)(Event::Cycled { id: carry.cycle.id, lost: carry.lost, refused });
    }

    /// What went along with a cycle is known to the server now.
    pub(super) fn bookkeeping(&mut self, carry: &Carry) {
        if carry.books_done() {
            self.held.emptied.drain(..carry.emptied);
            self.held.ended.drain(..carry.ended);
            for tag in &carry.cycle.started {
                self.held.start(*tag);
            }
        }
    }

    /// Gives a cycle back. What of it is stored is remembered.
    pub(super) fn fail(&mut self, mut carry: Carry, fault: Fault) {
        self.bookkeeping(&carry);
        if !carry.books_done() {
            self.memory.named.clear();
        }
        for part in &carry.done {
            if let Part::End(tag) = part {
                self.held.remove(*tag);
                self.settled.insert(*tag);
            }
        }
        let mut at = 0..;
        carry.cycle.results.retain(|_| !at.next().is_some_and(|at| carry.done.contains(&Part::State(at))));
        let mut at = 0..;
        carry.cycle.publish.retain(|_| !at.next().is_some_and(|at| carry.done.contains(&Part::Message(at))));
        let error = fault.clone().into_error();
        if matches!(error, TransportError::Full(_)) {
            self.memory.full_until = Some(Instant::now() + FULL);
        }
        if !matches!(error, TransportError::Refused(_)) {
            self.broke(fault);
        }
        (self.sink)(Event::Failed { cycle: carry.cycle, error });
    }
}

impl Carry {
    fn books_done(&self) -> bool {
        self.done.contains(&Part::Books)
    }
}
