//! The driver: a socket and a connection's state, moved on by one thread.
//!
//! Everything is one step: write what stands there, wait until the server or the bell says something or time is up, read. A
//! producer steps until its call is answered; the worker's thread steps with a bell. Nothing else ever waits, so one
//! deadline covers name look-up excepted all of connecting, TLS, handshake, writing and the answer.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::connection::{Connection, Event};
use super::fault::{Fault, Peer};
use super::settings::{Node, Settings};
use super::stream::{Stream, Taken};
use crate::bell::Bell;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bytes came or went.
    Moved,
    /// The bell rang.
    Rung,
    /// Time is up.
    Late,
}

/// Who else may wake the one that steps.
#[derive(Clone, Copy)]
pub(crate) struct Sleeper<'a> {
    pub(crate) bell: &'a Bell,
    /// Whether there is mail: looked at after the bell is ready, so that none is slept through.
    pub(crate) is_wanted: &'a dyn Fn() -> bool,
}

/// See the module.
pub(crate) struct Link {
    stream: Stream,
    pub(crate) connection: Connection,
    pub(crate) peer: Peer,
    /// Of the process that opened it.
    pid: u32,
    /// Its number in the settings.
    node: usize,
    settings: Settings,
    /// More may be had from the socket without waiting.
    more: bool,
    /// When bytes last went.
    went: Instant,
}

impl Link {
    /// Connects to the first server of `settings` that lets us in before `deadline`. `heartbeat`: seconds, unless an option
    /// says otherwise.
    pub(crate) fn open(settings: &Settings, heartbeat: u16, deadline: Instant) -> Result<Self, Fault> {
        let order = settings.in_turn();
        let mut last = None;
        for (tried, &(at, node)) in order.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            // The others get their turn, too.
            let share = left / u32::try_from(order.len() - tried).unwrap_or(1);
            let patience = settings.connect_timeout.map_or(share, |timeout| timeout.min(share));
            match Self::open_node(settings, (at, node), heartbeat, Instant::now() + patience) {
                Ok(link) => {
                    settings.answered(at);
                    return Ok(link);
                }
                Err(fault) => last = Some(fault),
            }
        }
        Err(last.unwrap_or_else(|| Fault::Broken("no server is named".to_owned())))
    }

    fn open_node(
        settings: &Settings,
        (at, node): (usize, &Node),
        heartbeat: u16,
        deadline: Instant,
    ) -> Result<Self, Fault> {
        let peer = Peer::new(node);
        let login = settings.login(node, heartbeat)?;
        let name = settings.server_name.as_deref().unwrap_or(&node.host);
        let tls = if node.tls { Some((settings.tls.client()?, name)) } else { None };
        let stream = Stream::connect(&node.host, node.port, tls, deadline).map_err(|error| peer.io(&error))?;
        let now = Instant::now();
        let connection = Connection::new(login, settings.max_bytes, now);
        let mut link = Self {
            stream,
            connection,
            peer,
            pid: std::process::id(),
            node: at,
            settings: settings.clone(),
            more: false,
            went: now,
        };
        loop {
            match link.connection.event() {
                Some(Event::Open { .. }) => return Ok(link),
                None if link.step(Some(deadline), None)? == Step::Late => return Err(link.peer.late()),
                Some(_) | None => {}
            }
        }
    }

    /// Moves on: returns after bytes came or went, when the sleeper's bell rings, or at `until` (`None`: never).
    ///
    /// # Errors
    /// The connection is no more. Events that came before are still there.
    pub(crate) fn step(&mut self, until: Option<Instant>, sleeper: Option<Sleeper<'_>>) -> Result<Step, Fault> {
        let step = self.try_step(until, sleeper);
        if step.is_err() {
            self.settings.failed(self.node);
        }
        step
    }

    fn try_step(&mut self, until: Option<Instant>, sleeper: Option<Sleeper<'_>>) -> Result<Step, Fault> {
        let now = Instant::now();
        self.connection.tick(now).map_err(|ended| self.peer.ended(&ended))?;
        let gave = self.flush(now)?;
        if self.more {
            return self.take(now);
        }
        if gave && until.is_some_and(|until| until <= now) {
            return Ok(Step::Moved);
        }
        // A server that does not take our bytes is as dead as one that says nothing.
        let stuck = if self.is_waiting() { self.settings.write_timeout.map(|most| self.went + most) } else { None };
        let wake = [until, self.connection.wake_at(), stuck].into_iter().flatten().min();
        let bell = sleeper.as_ref().map(|sleeper| sleeper.bell);
        if let Some(sleeper) = &sleeper {
            sleeper.bell.lie_down();
            if (sleeper.is_wanted)() {
                sleeper.bell.get_up(false);
                return Ok(Step::Rung);
            }
        }
        let mut fds = Vec::with_capacity(2);
        let wanted = if self.is_waiting() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        fds.push(PollFd::new(&self.stream, wanted));
        fds.extend(bell.map(|bell| PollFd::new(bell, PollFlags::IN)));
        let found = poll(&mut fds, timespec(wake.map(|wake| wake.saturating_duration_since(now))).as_ref());
        let (ready, rung) = (fds[0].revents(), fds.get(1).is_some_and(|fd| !fd.revents().is_empty()));
        drop(fds);
        if let Some(bell) = bell {
            bell.get_up(found.is_ok() && rung);
        }
        match found {
            // A signal, for the interpreter to look at: the caller decides whether to go on.
            Err(rustix::io::Errno::INTR) => return Ok(Step::Moved),
            Err(error) => return Err(self.peer.io(&error.into())),
            Ok(_) => {}
        }
        let now = Instant::now();
        if ready.intersects(PollFlags::OUT) {
            self.flush(now)?;
        }
        if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return self.take(now);
        }
        if stuck.is_some_and(|stuck| stuck <= now) && self.is_waiting() {
            return Err(self.peer.late());
        }
        if rung {
            return Ok(Step::Rung);
        }
        Ok(if until.is_some_and(|until| until <= now) { Step::Late } else { Step::Moved })
    }

    /// Longest pause between two bytes that a caller waits for.
    pub(crate) fn read_timeout(&self) -> Option<Duration> {
        self.settings.read_timeout
    }

    /// Looks, without waiting, whether the server is still there. A connection that nobody used may be long dead.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.more = true;
        self.step(Some(Instant::now()), None).is_ok()
    }

    fn is_waiting(&self) -> bool {
        !self.connection.output().is_empty() || self.stream.is_full()
    }

    /// Writes what it can; whether that was anything.
    fn flush(&mut self, now: Instant) -> Result<bool, Fault> {
        if !self.is_waiting() {
            self.went = now;
            return Ok(false);
        }
        let gave = self.stream.give(self.connection.output());
        match gave {
            Ok(count) => {
                if count > 0 {
                    self.went = now;
                    self.connection.wrote(count, now);
                }
                Ok(count > 0)
            }
            // What the server said before it went away says more than that it is away.
            Err(error) => {
                self.take(now)?;
                Err(self.peer.io(&error))
            }
        }
    }

    fn take(&mut self, now: Instant) -> Result<Step, Fault> {
        let taken = self.stream.take(self.connection.input()).map_err(|error| self.peer.io(&error))?;
        self.more = matches!(taken, Taken::Some);
        let done = self.connection.process(now);
        if let Err(ended) = done {
            drop(self.stream.give(self.connection.output())); // our word that we heard
            return Err(self.peer.ended(&ended));
        }
        if matches!(taken, Taken::End) {
            let ended = self.connection.gone();
            return Err(self.peer.ended(&ended));
        }
        Ok(Step::Moved)
    }

    /// An error unless messages may be published now.
    pub(crate) fn check_unblocked(&self) -> Result<(), Fault> {
        self.connection.blocked().map_or(Ok(()), |reason| Err(self.peer.blocked(reason)))
    }
}

impl Drop for Link {
    /// Says goodbye, so that the server need not log a client that vanished; nobody waits for its answer.
    fn drop(&mut self) {
        // In a forked child the connection is its parent's.
        if self.pid == std::process::id() && self.connection.ended().is_none() {
            self.connection.close();
            let _ = self.flush(Instant::now());
        }
    }
}

fn timespec(wait: Option<Duration>) -> Option<Timespec> {
    // A wait that is too long for the system's clock is as good as for ever.
    Timespec::try_from(wait?).ok()
}
