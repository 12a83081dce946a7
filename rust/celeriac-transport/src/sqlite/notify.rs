//! Wake-ups between processes: datagrams to sockets in `<file>.notify/`, sent after a commit to those who the
//! transaction found waiting.
//!
//! Who waits is in the tables (`owner.idle`, `waiter`), so a wake-up cannot be lost between looking and sleeping: a
//! worker becomes idle in the transaction that found nothing, and whoever commits a message after that sees it. A
//! datagram that cannot be delivered (full socket, dead or stopped reader) is ignored: a full one is awake already, and
//! all poll slowly besides.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use rusqlite::OptionalExtension;

use super::connection::Db;
use super::fault::Fault;
use super::settings::Place;
use super::store::lock;

/// Longest path that every Unix takes for a socket, with room to spare.
const LONGEST_PATH: usize = 100;
/// Sockets younger than this are not looked at by the sweep.
const FRESH: Duration = Duration::from_secs(5);
/// Most workers woken for one transaction.
const MOST: i64 = 16;

/// What a transaction did that others wait for, and, once resolved, whom to tell.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// States of tasks were stored.
    pub(crate) results: bool,
    /// The worker that runs the transaction; it needs no wake-up.
    pub(crate) own: i64,
    /// Queue and how many messages became ready in it.
    ready: Vec<(i64, i64)>,
    /// Queues whose next due time has become earlier.
    sooner: Vec<i64>,
    /// Exchanges that were broadcast to.
    broadcast: Vec<String>,
    workers: Vec<String>,
    waiters: Vec<String>,
}

impl Wakes {
    /// `count` messages became ready in `queue`.
    pub(crate) fn ready(&mut self, queue: i64, count: i64) {
        match self.ready.iter_mut().find(|(known, _)| *known == queue) {
            Some((_, sum)) => *sum += count,
            None => self.ready.push((queue, count)),
        }
    }

    /// A message of `queue` is due before all others of it.
    pub(crate) fn sooner(&mut self, queue: i64) {
        if !self.sooner.contains(&queue) {
            self.sooner.push(queue);
        }
    }

    /// A message went to whoever listens to `exchange`.
    pub(crate) fn broadcast(&mut self, exchange: &str) {
        self.broadcast.push(exchange.to_owned());
    }

    /// Looks up, in the transaction, who has to be told.
    pub(crate) fn resolve(&mut self, db: &Db) -> Result<(), Fault> {
        for &(queue, count) in &self.ready {
            let mut idle = db.sql.prepare_cached(
                "SELECT o.id, o.address FROM owner o JOIN consuming c ON c.owner = o.id \
                 WHERE o.idle = 1 AND c.queue = ?1 AND o.id <> ?2 LIMIT ?3",
            )?;
            let found: Vec<(i64, String)> = idle
                .query_map((queue, self.own, count.min(MOST)), |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            for (owner, address) in found {
                // Taken: the next message is for another one.
                db.sql.prepare_cached("UPDATE owner SET idle = 0 WHERE id = ?1")?.execute([owner])?;
                self.workers.push(address);
            }
        }
        for queue in &self.sooner {
            // They only set their clocks, and stay idle.
            let mut idle = db.sql.prepare_cached(
                "SELECT o.address FROM owner o JOIN consuming c ON c.owner = o.id \
                 WHERE o.idle = 1 AND c.queue = ?1 AND o.id <> ?2",
            )?;
            for address in idle.query_map((queue, self.own), |row| row.get(0))? {
                self.workers.push(address?);
            }
        }
        for exchange in &self.broadcast {
            let mut listening = db.sql.prepare_cached(
                "SELECT o.address FROM owner o JOIN listening l ON l.owner = o.id WHERE l.exchange = ?1",
            )?;
            for address in listening.query_map([exchange], |row| row.get(0))? {
                self.workers.push(address?);
            }
        }
        if self.results {
            let mut waiting = db.sql.prepare_cached("SELECT address FROM waiter")?;
            for address in waiting.query_map([], |row| row.get(0))? {
                self.waiters.push(address?);
            }
        }
        Ok(())
    }
}

/// Sends wake-ups for one store.
pub(crate) struct Bell {
    place: Place,
    socket: OnceLock<Option<UnixDatagram>>,
    /// Workers of this process, which need no socket.
    local: Mutex<HashMap<String, Ringer>>,
}

/// Wakes a worker of this process.
pub(crate) type Ringer = Box<dyn Fn() + Send>;

/// The lock of a bell, for the fork handlers.
pub(crate) type BellGuard = MutexGuard<'static, HashMap<String, Ringer>>;

impl Bell {
    pub(crate) fn new(place: &Place) -> Self {
        Self { place: place.clone(), socket: OnceLock::new(), local: Mutex::new(HashMap::new()) }
    }

    /// Tells everybody. Returns the addresses of waiters that nobody listens at any more.
    pub(crate) fn ring(&self, wakes: &Wakes) -> Vec<String> {
        let mut dead = Vec::new();
        for address in &wakes.workers {
            if let Some(ringer) = lock(&self.local).get(address) {
                ringer();
            } else {
                self.send(address);
            }
        }
        for address in &wakes.waiters {
            if !self.send(address) {
                dead.push(address.clone());
            }
        }
        dead
    }

    /// Wakes a worker of this process from now on by `ringer`.
    pub(crate) fn add_local(&self, address: &str, ringer: Ringer) {
        lock(&self.local).insert(address.to_owned(), ringer);
    }

    pub(crate) fn remove_local(&self, address: &str) {
        lock(&self.local).remove(address);
    }

    /// False if nobody listens there.
    fn send(&self, address: &str) -> bool {
        let socket = self.socket.get_or_init(|| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        });
        let Some(socket) = socket else { return true };
        let sent = match address.strip_prefix('@') {
            Some(name) => send_abstract(socket, name),
            None => socket.send_to(b"!", address),
        };
        match sent {
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
                if !address.starts_with('@') {
                    let _ = std::fs::remove_file(address);
                }
                false
            }
            _ => true,
        }
    }

    /// Binds a socket of a fresh name that starts with `role`. `None` in memory, or if the folder cannot be written:
    /// then slow polling is all there is.
    pub(crate) fn listen(&self, role: &str) -> Option<(UnixDatagram, String)> {
        let Place::File(file) = &self.place else { return None };
        let name = fresh_name(role);
        let folder = self.folder()?;
        let path = folder.join(format!("{name}.sock"));
        let (socket, address) = if path.as_os_str().len() <= LONGEST_PATH {
            std::fs::create_dir_all(&folder).ok()?;
            (UnixDatagram::bind(&path).ok()?, path.to_str()?.to_owned())
        } else {
            bind_elsewhere(file, &name)?
        };
        socket.set_nonblocking(true).ok()?;
        Some((socket, address))
    }

    /// `<file>.notify`, where the sockets are.
    fn folder(&self) -> Option<PathBuf> {
        let Place::File(file) = &self.place else { return None };
        let mut folder = file.as_os_str().to_owned();
        folder.push(".notify");
        Some(PathBuf::from(folder))
    }

    /// At the end of the process, if nobody else has a socket there.
    pub(crate) fn remove_folder(&self) {
        if let Some(folder) = self.folder() {
            let _ = std::fs::remove_dir(folder);
        }
    }

    /// Removes sockets that processes left when they died.
    pub(crate) fn sweep(&self) {
        let Some(folder) = self.folder() else { return };
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let age = entry.metadata().and_then(|facts| facts.modified()).ok().and_then(|made| made.elapsed().ok());
            // A fresh one may be bound this very moment.
            if path.extension().is_some_and(|end| end == "sock")
                && age.is_some_and(|age| age > FRESH)
                && let Some(address) = path.to_str()
            {
                self.send(address); // removes it if nobody listens; a live reader only looks once too often
            }
        }
    }

    pub(crate) fn hold(&'static self) -> BellGuard {
        lock(&self.local)
    }
}

/// A name for a worker's own address, unique on this machine.
pub(crate) fn fresh_name(role: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{role}-{}-{:x}-{count}", std::process::id(), super::machine::wall_us() & 0xF_FFFF)
}

#[cfg(target_os = "linux")]
fn bind_elsewhere(file: &Path, name: &str) -> Option<(UnixDatagram, String)> {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("celeriac-{:016x}-{name}", hash(file));
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).ok()?;
    Some((UnixDatagram::bind_addr(&address).ok()?, format!("@{name}")))
}

#[cfg(not(target_os = "linux"))]
fn bind_elsewhere(file: &Path, name: &str) -> Option<(UnixDatagram, String)> {
    let folder = std::env::temp_dir().join(format!("celeriac-{:016x}", hash(file)));
    std::fs::create_dir_all(&folder).ok()?;
    let path = folder.join(name);
    Some((UnixDatagram::bind(&path).ok()?, path.to_str()?.to_owned()))
}

#[cfg(target_os = "linux")]
fn send_abstract(socket: &UnixDatagram, name: &str) -> std::io::Result<usize> {
    use std::os::linux::net::SocketAddrExt;
    socket.send_to_addr(b"!", &std::os::unix::net::SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn send_abstract(_socket: &UnixDatagram, _name: &str) -> std::io::Result<usize> {
    Ok(0)
}

fn hash(path: &Path) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// Whether anything came; empties the socket.
pub(crate) fn drain(socket: &UnixDatagram) -> bool {
    let mut any = false;
    let mut buffer = [0_u8; 16];
    while socket.recv(&mut buffer).is_ok() {
        any = true;
    }
    any
}

/// The smallest due time of `queue`.
pub(crate) fn next_due(db: &Db, queue: i64) -> Result<Option<i64>, Fault> {
    let mut first = db.sql.prepare_cached("SELECT due_ms FROM delayed WHERE queue = ?1 ORDER BY due_ms LIMIT 1")?;
    Ok(first.query_row([queue], |row| row.get(0)).optional()?)
}
