//! Carrying out cycles.
//!
//! A call of which the answer did not come is sent again on the next connection, where the old one can do no more: so a
//! cycle is either answered as done or given back with what of it was done remembered.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use celeriac_protocol::{DeliveryTag, Settlement};
use redis::Value;

use super::Actor;
use crate::contract::{Cycle, Event, TransportError};
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
    /// Ends that are stored.
    done: Vec<DeliveryTag>,
    /// What belongs to no delivery is stored.
    free: bool,
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
        let settled = &self.settled;
        let made = ends::calls(
            line,
            Site { settings: &self.settings, keys: &self.keys, worker: &self.worker },
            &self.held,
            &cycle,
            &|tag| settled.contains(&tag),
            &mut self.memory,
        );
        let unknown = |tag: &DeliveryTag| self.held.get(*tag).is_none() && !settled.contains(tag);
        let lost = cycle.ends.iter().map(|end| end.tag).filter(unknown).collect();
        let mut carry = Carry {
            cycle,
            calls: VecDeque::new(),
            lost,
            done: Vec::new(),
            free: false,
            emptied: self.held.emptied.len(),
            ended: self.held.ended.len(),
        };
        match made {
            Ok(calls) => {
                carry.calls = calls.into();
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
            call.push(&mut pack);
            call.sent = true;
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
            match reply {
                Err(fault) => {
                    self.fail(carry, fault);
                    self.claimed(request, claimed);
                    return;
                }
                Ok(reply) => {
                    let done = ends::done(&text(&reply).unwrap_or_default());
                    let call = carry.calls.pop_front();
                    for (at, part) in call.iter().flat_map(|call| &call.parts).take(done.carried).enumerate() {
                        match part {
                            Part::Free => carry.free = true,
                            Part::End(tag) if done.lost.contains(&at) => carry.lost.push(*tag),
                            Part::End(tag) => carry.done.push(*tag),
                        }
                    }
                    if let Some(problem) = done.problem {
                        let fault = self.line.as_ref().map(|line| line.said(&problem));
                        self.fail(carry, fault.unwrap_or(Fault::Broken(problem)));
                        self.claimed(request, claimed);
                        return;
                    }
                }
            }
            if carry.calls.is_empty() {
                self.finish(carry);
                self.claimed(request, claimed);
                return;
            }
        }
        self.finish(carry);
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
        for end in &carry.cycle.ends {
            self.held.remove(end.tag);
            self.settled.remove(&end.tag);
        }
        self.credit_total = carry.cycle.credit_total;
        (self.sink)(Event::Cycled { id: carry.cycle.id, lost: carry.lost });
    }

    /// What went along with a cycle is known to the server now.
    pub(super) fn bookkeeping(&mut self, carry: &Carry) {
        if carry.free {
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
        if !carry.free {
            self.memory.named.clear();
        }
        for tag in &carry.done {
            self.held.remove(*tag);
            self.settled.insert(*tag);
        }
        if carry.free {
            carry.cycle.results.clear();
            carry.cycle.publish.clear();
        }
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
