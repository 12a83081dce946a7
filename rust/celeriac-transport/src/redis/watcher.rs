//! A connection on which the server speaks without being asked: broadcasts, and that a list which nobody blocks on has
//! changed (client-side caching: the server tells once that a key we read is another now).

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{ProtocolVersion, PushKind, Value};

use super::actor::Mail;
use super::fault::Fault;
use super::line::{Client, Line, bytes, int};
use super::pack::{Args, Pack};
use super::settings::Settings;

/// Under load a list changes all the time; the claims of a busy worker need no telling.
const CALM: Duration = Duration::from_millis(5);
/// Between attempts to connect.
const REST: Duration = Duration::from_secs(1);

/// What is watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Watched {
    /// Lists.
    pub(crate) lists: Vec<Vec<u8>>,
    /// Sorted sets.
    pub(crate) sets: Vec<String>,
    /// Patterns of channels.
    pub(crate) patterns: Vec<Vec<u8>>,
}

/// The actor's end. The thread ends when its connection is closed and it is no longer wanted.
pub(crate) struct Watcher {
    pub(crate) watched: Watched,
    client: Arc<Mutex<Client>>,
    wanted: Arc<()>,
}

impl Watcher {
    pub(crate) fn start(
        settings: &Arc<Settings>,
        watched: Watched,
        timeout: Duration,
        mail: Sender<Mail>,
    ) -> Result<Self, std::io::Error> {
        let client = Arc::default();
        let wanted = Arc::new(());
        let thread = Thread {
            settings: Arc::clone(settings),
            watched: watched.clone(),
            timeout,
            client: Arc::clone(&client),
            wanted: Arc::downgrade(&wanted),
            mail,
        };
        std::thread::Builder::new().name("celeriac-watch".to_owned()).spawn(move || thread.run())?;
        Ok(Self { watched, client, wanted })
    }

    /// Its connection; none's while it has none.
    pub(crate) fn client(&self) -> Client {
        let _ = &self.wanted;
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Thread {
    settings: Arc<Settings>,
    watched: Watched,
    timeout: Duration,
    client: Arc<Mutex<Client>>,
    wanted: std::sync::Weak<()>,
    mail: Sender<Mail>,
}

impl Thread {
    fn run(&self) {
        while self.wanted.strong_count() > 0 {
            // Without it there is the slow look of the actor, and it is the one that says that the broker is away.
            let Err(_) = self.listen() else { return };
            self.is(Client::default());
            if self.wanted.strong_count() > 0 {
                std::thread::sleep(REST);
            }
        }
    }

    fn is(&self, client: Client) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// Until the connection breaks; `Ok` if nobody listens to us any more.
    fn listen(&self) -> Result<(), Fault> {
        let settings = Settings { keepalive: true, ..(*self.settings).clone() };
        let mut line = Line::open_as(&settings, Instant::now() + self.timeout, ProtocolVersion::RESP3)?;
        line.identify()?;
        if !self.watched.patterns.is_empty() {
            let mut subscribe = Args::new("PSUBSCRIBE");
            for pattern in &self.watched.patterns {
                subscribe.add(pattern);
            }
            line.send(Pack::one(&subscribe).bytes())?;
        }
        let tracking = !(self.watched.lists.is_empty() && self.watched.sets.is_empty());
        if tracking {
            line.ask(Pack::default().words(&["CLIENT", "TRACKING", "ON"]))?;
            // What came between the actor's last look and the first reading here is told now.
            if self.read(&mut line)? && self.mail.send(Mail::Changed).is_err() {
                return Ok(());
            }
        }
        line.set_timeout(None)?;
        self.is(line.client().clone());
        loop {
            let Value::Push { kind, data } = line.receive()? else { continue };
            let sent = match kind {
                PushKind::Invalidate => {
                    let sent = self.mail.send(Mail::Changed);
                    std::thread::sleep(CALM);
                    if sent.is_ok() && self.read(&mut line)? { self.mail.send(Mail::Changed) } else { sent }
                }
                PushKind::PMessage => {
                    let mut data = data.into_iter().skip(1).filter_map(bytes);
                    match (data.next(), data.next()) {
                        (Some(channel), Some(payload)) => self.mail.send(Mail::Heard { channel, payload }),
                        _ => Ok(()),
                    }
                }
                _ => Ok(()),
            };
            if sent.is_err() {
                return Ok(());
            }
        }
    }

    /// Reads all keys, so that their next change is told. Whether one of them holds something.
    fn read(&self, line: &mut Line) -> Result<bool, Fault> {
        let mut pack = Pack::default();
        for list in &self.watched.lists {
            pack.push(Args::new("LLEN").add(list));
        }
        for set in &self.watched.sets {
            pack.words(&["ZCARD", set]);
        }
        let mut any = false;
        line.send(pack.bytes())?;
        for at in 0..pack.len() {
            let reply = loop {
                match line.receive()? {
                    Value::Push { kind: PushKind::Invalidate, .. } => any = true,
                    Value::Push { kind: PushKind::PMessage, data } => {
                        let mut data = data.into_iter().skip(1).filter_map(bytes);
                        if let (Some(channel), Some(payload)) = (data.next(), data.next()) {
                            drop(self.mail.send(Mail::Heard { channel, payload }));
                        }
                    }
                    Value::Push { .. } => {}
                    reply => break line.check(reply)?,
                }
            };
            any |= at < self.watched.lists.len() && int(&reply).unwrap_or(0) > 0;
        }
        Ok(any)
    }
}
