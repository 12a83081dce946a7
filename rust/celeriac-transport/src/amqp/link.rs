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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    use celeriac_protocol::amqp::{LongStr, Method, ShortStr, Table, write_method};

    use super::*;
    use crate::Options;

    /// Long enough for a loaded machine; nothing waits for it unless it fails.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn later() -> Instant {
        Instant::now() + PATIENCE
    }

    fn say(line: &mut TcpStream, channel: u16, method: &Method) {
        let mut out = Vec::new();
        write_method(&mut out, channel, method).unwrap();
        line.write_all(&out).unwrap();
    }

    /// Reads until the frame of a method of this number.
    fn await_method(line: &mut TcpStream, id: (u16, u16)) {
        loop {
            let mut head = [0; 7];
            line.read_exact(&mut head).unwrap();
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            let mut rest = vec![0; size + 1];
            line.read_exact(&mut rest).unwrap();
            if head[0] == 1 && rest.starts_with(&[id.0.to_be_bytes(), id.1.to_be_bytes()].concat()) {
                return;
            }
        }
    }

    /// A server that lets one client in, with a heartbeat of a second, and then does what the test says.
    fn served(then: impl FnOnce(TcpStream) + Send + 'static) -> (Settings, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("amqp://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let mut line = listener.accept().unwrap().0;
            line.read_exact(&mut [0; 8]).unwrap();
            say(
                &mut line,
                0,
                &Method::ConnectionStart {
                    version_major: 0,
                    version_minor: 9,
                    server_properties: Table::default(),
                    mechanisms: LongStr::new("PLAIN"),
                    locales: LongStr::new("en_US"),
                },
            );
            await_method(&mut line, (10, 11));
            say(&mut line, 0, &Method::ConnectionTune { channel_max: 0, frame_max: 0, heartbeat: 1 });
            await_method(&mut line, (10, 40));
            say(&mut line, 0, &Method::ConnectionOpenOk {});
            then(line);
        });
        (Settings::parse(&url, &Options::new()).unwrap(), server)
    }

    #[test]
    fn a_sleeper_is_woken_by_its_bell_and_by_the_server() {
        let (go, wait) = channel();
        let (settings, server) = served(move |mut line| {
            wait.recv().unwrap();
            say(&mut line, 0, &Method::ConnectionBlocked { reason: ShortStr::literal("disk") });
            await_method(&mut line, (10, 50)); // the goodbye
        });
        let mut link = Link::open(&settings, 0, later()).unwrap_or_else(|fault| panic!("{fault:?}"));
        let (bell, mail) = (Bell::new().unwrap(), AtomicBool::new(false));
        let is_wanted = || mail.swap(false, Ordering::AcqRel);
        let sleeper = Some(Sleeper { bell: &bell, is_wanted: &is_wanted });
        mail.store(true, Ordering::Release); // came before anybody slept: no ring
        assert_eq!(link.step(Some(later()), sleeper).unwrap(), Step::Rung);
        thread::scope(|scope| {
            scope.spawn(|| {
                mail.store(true, Ordering::Release);
                bell.ring();
            });
            assert_eq!(link.step(Some(later()), sleeper).unwrap(), Step::Rung);
        });
        // The ring may still be in the air if the mail was seen first; then there is nothing more.
        while link.step(Some(Instant::now()), sleeper).unwrap() != Step::Late {}
        go.send(()).unwrap();
        while link.connection.blocked().is_none() {
            assert_ne!(link.step(Some(later()), sleeper).unwrap(), Step::Late);
        }
        assert!(matches!(link.check_unblocked(), Err(Fault::Later(text)) if text.contains("disk")));
        drop(link);
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_gives_no_sign_of_life_is_given_up() {
        let (done, wait) = channel::<()>();
        let (settings, server) = served(move |mut line| {
            let mut beat = [0; 8];
            line.read_exact(&mut beat).unwrap();
            assert_eq!(&beat, celeriac_protocol::amqp::HEARTBEAT);
            let _ = wait.recv();
        });
        let mut link = Link::open(&settings, 1, later()).unwrap_or_else(|fault| panic!("{fault:?}"));
        let fault = loop {
            match link.step(None, None) {
                Ok(step) => assert_ne!(step, Step::Late),
                Err(fault) => break fault,
            }
        };
        assert!(matches!(fault, Fault::Broken(text) if text.contains("no sign of life")));
        drop(done);
        server.join().unwrap();
    }

    #[test]
    fn what_the_server_said_before_it_went_is_heard() {
        let (go, wait) = channel();
        let (settings, server) = served(move |mut line| {
            wait.recv().unwrap();
            let text = ShortStr::literal("CONNECTION_FORCED - broker forced connection closure");
            say(&mut line, 0, &Method::ConnectionClose { code: 320, text, class: 0, method: 0 });
        });
        let mut link = Link::open(&settings, 0, later()).unwrap_or_else(|fault| panic!("{fault:?}"));
        go.send(()).unwrap();
        server.join().unwrap();
        let fault = loop {
            match link.step(Some(later()), None) {
                Ok(step) => assert_ne!(step, Step::Late),
                Err(fault) => break fault,
            }
        };
        assert!(matches!(fault, Fault::Broken(text) if text.contains("320 CONNECTION_FORCED")));
        assert!(!link.is_alive());
    }
}
