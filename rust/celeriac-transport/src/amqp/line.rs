//! The blocking side: a connection with one channel, in confirm mode, on which calls wait for their answer.

use std::borrow::Cow;
use std::time::Instant;

use celeriac_protocol::amqp::{Method, ShortStr};

use super::connection::{Carrier, Event, Outgoing};
use super::fault::Fault;
use super::link::{Link, Step};
use super::settings::Settings;

/// Written ahead of what the server has taken. More would only make it wait in our memory.
const AHEAD: usize = 1 << 20;

/// A message, ready for the wire.
#[derive(Debug)]
pub(crate) struct Parcel<'a> {
    pub(crate) exchange: ShortStr,
    pub(crate) routing_key: ShortStr,
    pub(crate) mandatory: bool,
    pub(crate) properties: Cow<'a, [u8]>,
    pub(crate) body: Cow<'a, [u8]>,
}

/// What became of a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Not known.
    Open,
    /// The server has it.
    Stored,
    /// The server could not keep it.
    Refused,
}

/// See the module.
pub(crate) struct Line {
    link: Link,
    channel: Option<u16>,
    window: usize,
    /// Something is under way whose answer nobody will wait for.
    broken: bool,
}

impl Line {
    /// Connects before `deadline`. Without heartbeats: nobody would send them between two calls.
    pub(crate) fn open(settings: &Settings, deadline: Instant) -> Result<Self, Fault> {
        let link = Link::open(settings, 0, deadline)?;
        Ok(Self { link, channel: None, window: settings.confirm_window, broken: false })
    }

    /// Whether it can be used further.
    pub(crate) fn is_sound(&self) -> bool {
        !self.broken
    }

    /// Looks, without waiting, whether the server is still there.
    pub(crate) fn is_alive(&mut self) -> bool {
        let alive = self.link.is_alive();
        while self.link.connection.event().is_some() {} // of a call that was given up, or a blocked connection
        alive
    }

    /// Sends `methods` in one go and waits for all their answers. The first that the server refuses ends the channel, and with
    /// it those behind.
    pub(crate) fn calls(&mut self, methods: &[Method], deadline: Instant) -> Result<Vec<Method>, Fault> {
        let channel = self.channel(deadline)?;
        for method in methods {
            self.link.connection.call(channel, method).map_err(|unsent| self.link.peer.unsent(unsent))?;
        }
        self.replies(channel, methods.len(), deadline)
    }

    /// As [`Line::calls`] for one.
    pub(crate) fn call(&mut self, method: Method, deadline: Instant) -> Result<Method, Fault> {
        let reply = self.calls(&[method], deadline)?.pop();
        reply.ok_or_else(|| self.link.peer.late())
    }

    /// Publishes those of `parcels` whose fate is open, and waits until none is. Adds to `returned` how many the server sent back
    /// because no queue wanted them; it answers for those as well.
    pub(crate) fn publish(
        &mut self,
        parcels: &[Parcel<'_>],
        fates: &mut [Fate],
        returned: &mut usize,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let channel = self.channel(deadline)?;
        let open: Vec<usize> = (0..parcels.len()).filter(|&at| fates[at] == Fate::Open).collect();
        // Numbers of this call's messages follow each other.
        let mut first = 0;
        let (mut sent, mut settled) = (0, 0);
        while settled < open.len() {
            while sent < open.len() && self.has_room(channel) {
                let parcel = &parcels[open[sent]];
                let message = Outgoing {
                    exchange: &parcel.exchange,
                    routing_key: &parcel.routing_key,
                    mandatory: parcel.mandatory,
                    properties: &parcel.properties,
                    body: &parcel.body,
                };
                let number = self.link.connection.publish(channel, message);
                let number = number.map_err(|unsent| self.gave_up(sent > settled, unsent))?;
                if sent == 0 {
                    first = number;
                }
                sent += 1;
            }
            match self.next(deadline) {
                Ok(Event::Confirmed { first: from, last, acked, .. }) => {
                    for number in from..=last {
                        let at = number.checked_sub(first).and_then(|at| usize::try_from(at).ok());
                        if let Some(&at) = at.and_then(|at| open.get(at)) {
                            fates[at] = if acked { Fate::Stored } else { Fate::Refused };
                            settled += 1;
                        }
                    }
                }
                Ok(Event::Content { carrier: Carrier::Returned { .. }, .. }) => *returned += 1,
                Ok(_) => {}
                Err(fault) => {
                    // What is written may still come through: the channel's numbers are of no use to anybody else.
                    self.broken |= !matches!(fault, Fault::Refused(..));
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    fn has_room(&self, channel: u16) -> bool {
        let connection = &self.link.connection;
        connection.unconfirmed(channel) < self.window
            && connection.output().len() < AHEAD
            && connection.blocked().is_none()
            && !connection.is_paused(channel)
    }

    fn gave_up(&mut self, under_way: bool, unsent: super::connection::Unsent) -> Fault {
        self.broken |= under_way;
        self.link.peer.unsent(unsent)
    }

    fn channel(&mut self, deadline: Instant) -> Result<u16, Fault> {
        if let Some(channel) = self.channel {
            return Ok(channel);
        }
        let channel = self.link.connection.open_channel().map_err(|unsent| self.link.peer.unsent(unsent))?;
        let confirm = Method::ConfirmSelect { nowait: false };
        self.link.connection.call(channel, &confirm).map_err(|unsent| self.link.peer.unsent(unsent))?;
        self.channel = Some(channel);
        self.replies(channel, 2, deadline)?;
        Ok(channel)
    }

    fn replies(&mut self, channel: u16, count: usize, deadline: Instant) -> Result<Vec<Method>, Fault> {
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            match self.next(deadline) {
                Ok(Event::Reply { channel: at, method }) if at == channel => replies.push(method),
                Ok(_) => {}
                Err(fault) => {
                    self.broken |= !matches!(fault, Fault::Refused(..));
                    return Err(fault);
                }
            }
        }
        Ok(replies)
    }

    /// The next event; the end of the channel is an error.
    fn next(&mut self, deadline: Instant) -> Result<Event, Fault> {
        let asked = Instant::now();
        loop {
            match self.link.connection.event() {
                Some(Event::ChannelClosed { refusal, .. }) => {
                    self.channel = None;
                    return Err(self.link.peer.refused(refusal));
                }
                Some(event) => return Ok(event),
                None => {}
            }
            let silent = self.link.read_timeout().map(|most| asked + most);
            let until = silent.map_or(deadline, |silent| silent.min(deadline));
            let step = self.link.step(Some(until), None);
            if step.is_err() {
                self.broken = true;
                // What came before the end is told first.
                if let Some(event) = self.link.connection.event() {
                    return Ok(event);
                }
            }
            if step? == Step::Late {
                self.link.check_unblocked()?;
                return Err(self.link.peer.late());
            }
        }
    }
}
