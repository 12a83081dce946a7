//! The contract's consumer: a thread that owns a worker's claims. Every cycle is one transaction; between cycles the
//! thread renews its lease, returns what dead workers held, and sleeps at its sockets.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::actor::Actor;
use super::log::Keeper;
use super::notify::drain;
use super::settings::Settings;
use super::store::{Store, lock};
use super::waiting::readable;
use crate::contract::{Consumer, Cycle, Event, EventSink, QueueSpec, TransportError};

/// See [`Consumer`].
pub(crate) struct SqliteConsumer {
    store: &'static Store,
    lease: Duration,
    timeout: Duration,
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
    /// Of the process that has the thread.
    pid: u32,
}

/// What the thread is to do, and how to wake it.
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    /// A byte is under way already.
    rung: AtomicBool,
    bell: UnixDatagram,
    ear: UnixDatagram,
}

/// Orders not yet carried out.
#[derive(Default)]
pub(crate) struct Mail {
    pub(crate) cycles: VecDeque<Cycle>,
    pub(crate) queues: Vec<(QueueSpec, bool)>,
    pub(crate) stop: bool,
}

impl Mailbox {
    fn new() -> std::io::Result<Self> {
        let (bell, ear) = UnixDatagram::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Self { mail: Mutex::default(), rung: AtomicBool::new(false), bell, ear })
    }

    /// Wakes the thread.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let _ = self.bell.send(b"!");
        }
    }

    /// All orders since the last call.
    pub(crate) fn take(&self) -> Mail {
        std::mem::take(&mut *lock(&self.mail))
    }

    /// Sleeps until somebody rings, something comes in at `socket`, or `timeout`. True if woken.
    pub(crate) fn sleep(&self, socket: Option<&UnixDatagram>, timeout: Duration) -> bool {
        let mut descriptors = [self.ear.as_raw_fd(), -1];
        if let Some(socket) = socket {
            descriptors[1] = socket.as_raw_fd();
        }
        let woken = readable(&descriptors, timeout).unwrap_or(true);
        if woken {
            // Down before the mailbox is looked at: a ring after that sends a byte again.
            drain(&self.ear);
            self.rung.store(false, Ordering::Release);
            socket.map(drain);
        }
        woken
    }
}

impl SqliteConsumer {
    /// `timeout` is for the first opening; later waits for a lock follow `busy_timeout`.
    pub(crate) fn new(settings: &Settings, timeout: Duration) -> Result<Self, TransportError> {
        let mailbox = Mailbox::new()
            .map_err(|error| TransportError::Unavailable(format!("no sockets for a consumer: {error}")))?;
        Ok(Self {
            store: Store::of(settings),
            lease: settings.lease,
            timeout: timeout.min(settings.busy_timeout),
            mailbox: Arc::new(mailbox),
            thread: None,
            pid: std::process::id(),
        })
    }

    fn order(&self, order: impl FnOnce(&mut Mail)) {
        if self.pid == std::process::id() {
            order(&mut lock(&self.mailbox.mail));
            self.mailbox.ring();
        }
    }
}

impl Consumer for SqliteConsumer {
    fn start(&mut self, queues: Vec<QueueSpec>, sink: EventSink) -> Result<(), TransportError> {
        let told = Arc::clone(&sink);
        let mut actor = Actor::new(self.store, self.lease, self.timeout, Arc::clone(&self.mailbox), queues, sink);
        actor.open()?;
        let keeper = Keeper::start(self.store)?;
        let run = move || {
            let _keeper = keeper;
            if catch_unwind(AssertUnwindSafe(|| actor.run())).is_err() {
                told(Event::Stopped); // else the hub would wait for its answers for ever
            }
        };
        let thread = std::thread::Builder::new().name("celeriac-sqlite".into()).spawn(run);
        self.thread = Some(thread.map_err(|error| TransportError::Unavailable(format!("no thread: {error}")))?);
        Ok(())
    }

    fn submit(&self, cycle: Cycle) {
        self.order(|mail| mail.cycles.push_back(cycle));
    }

    fn set_consuming(&self, queue: QueueSpec, on: bool) {
        self.order(|mail| mail.queues.push((queue, on)));
    }

    fn stop(&self) {
        self.order(|mail| mail.stop = true);
    }

    fn join(&mut self) {
        if self.pid == std::process::id()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for SqliteConsumer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::Options;
    use crate::sqlite::connection::Db;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn results(store: &Store) -> i64 {
        let count = |db: &mut Db| Ok(db.sql.query_row("SELECT count(*) FROM result", [], |row| row.get(0))?);
        store.read(TIMEOUT, count).unwrap()
    }

    #[test]
    fn expired_results_do_not_pile_up_when_they_are_many() {
        let settings = Settings::parse("memory://many-expired", &Options::new()).unwrap();
        let mut consumer = SqliteConsumer::new(&settings, TIMEOUT).unwrap();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
                    INSERT INTO result (key, expires_ms, success, value) SELECT CAST(i AS BLOB), 1, 1, x'' FROM n";
        consumer.store.write(TIMEOUT, |db, _| Ok(db.sql.execute(fill, [])?)).unwrap();
        assert_eq!(results(consumer.store), 2500);
        consumer.start(Vec::new(), Arc::new(drop)).unwrap();
        let patience = Instant::now();
        while results(consumer.store) > 0 {
            assert!(patience.elapsed() < TIMEOUT, "{} are left", results(consumer.store));
            std::thread::sleep(Duration::from_millis(20));
        }
        consumer.stop();
        consumer.join();
    }
}
