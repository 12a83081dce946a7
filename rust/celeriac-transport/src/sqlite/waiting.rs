//! Waiting for results: many threads, one socket a process, no thread of its own.
//!
//! One of the waiting threads (the leader) listens at the socket for all; when a datagram comes, or another thread of
//! this process stores a result, the generation grows and everybody looks again. The socket is known to writers (row in
//! `waiter`) before the first generation is given out, so what is stored after that is never missed. Besides, the
//! leader compares `PRAGMA data_version` every quarter of a second, for writers that could not send.
#![cfg_attr(unix, expect(unsafe_code, reason = "poll has no wrapper in std"))]

use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::notify::drain;
use super::store::{Store, lock};
use crate::contract::TransportError;

const SLOW_POLL: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Default)]
pub(crate) struct Waiting {
    state: Mutex<State>,
    change: Condvar,
}

/// What the mutex guards.
#[derive(Default)]
pub(crate) struct State {
    generation: u64,
    /// A thread is listening for all.
    led: bool,
    socket: Option<Arc<UnixDatagram>>,
    address: String,
    /// `Store::era` in which the socket was made known.
    era: u64,
    data_version: i64,
}

impl Waiting {
    /// The generation, with what has come in until now counted.
    pub(crate) fn generation(&self, store: &Store, timeout: Duration) -> Result<u64, TransportError> {
        self.register(store, timeout)?;
        let mut state = lock(&self.state);
        if state.socket.as_ref().is_some_and(|socket| drain(socket)) {
            state.generation += 1;
            self.change.notify_all();
        }
        Ok(state.generation)
    }

    /// A thread of this process stored results.
    pub(crate) fn changed(&self) {
        lock(&self.state).generation += 1;
        self.change.notify_all();
    }

    /// Waits until the generation is not `seen`, until `timeout`, or until a signal came. Returns the generation.
    pub(crate) fn wait(&self, store: &Store, seen: u64, timeout: Duration) -> Result<u64, TransportError> {
        let deadline = Instant::now() + timeout;
        self.register(store, timeout.max(Duration::from_millis(100)))?;
        let mut state = lock(&self.state);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.generation != seen || left.is_zero() {
                return Ok(state.generation);
            }
            if state.led || !store.is_file() {
                state = self.change.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
                continue;
            }
            state.led = true;
            let socket = state.socket.clone();
            let before = state.data_version;
            drop(state);
            let heard = listen(socket.as_deref(), left);
            let version = if heard == Heard::Nothing { data_version(store) } else { Ok(before) };
            state = lock(&self.state);
            state.led = false;
            let version = version.inspect_err(|_| self.change.notify_all())?;
            if heard == Heard::Something || version != before {
                state.data_version = version;
                state.generation += 1;
            }
            // Somebody else has to lead if this thread leaves.
            self.change.notify_all();
            if heard == Heard::Signal {
                return Ok(state.generation);
            }
        }
    }

    /// Makes this process's socket known to writers.
    fn register(&self, store: &Store, timeout: Duration) -> Result<(), TransportError> {
        if !store.is_file() {
            return Ok(());
        }
        if lock(&self.state).era == store.era() {
            return Ok(());
        }
        let listening = store.bell.listen("r");
        let (version, era) = store.write(timeout, |db, _| {
            if let Some((_, address)) = &listening {
                db.sql.prepare_cached("INSERT OR REPLACE INTO waiter VALUES (?1)")?.execute([address])?;
            }
            Ok((db.sql.pragma_query_value(None, "data_version", |row| row.get(0))?, store.era()))
        })?;
        let mut state = lock(&self.state);
        if let Some((socket, address)) = listening {
            remove(&state.address);
            (state.socket, state.address) = (Some(Arc::new(socket)), address);
        }
        (state.data_version, state.era) = (version, era);
        state.generation += 1; // whatever came before was not heard
        drop(state);
        self.change.notify_all();
        Ok(())
    }

    /// At the end of the process; writers forget the address when they find nobody there.
    pub(crate) fn remove_socket(&self) {
        if let Ok(state) = self.state.try_lock() {
            remove(&state.address);
        }
    }

    pub(crate) fn hold(&'static self) -> MutexGuard<'static, State> {
        lock(&self.state)
    }
}

impl State {
    /// In a forked child: the socket is the parent's, and its threads do not exist here.
    pub(crate) fn forget_parent(&mut self) {
        *self = Self { generation: self.generation + 1, ..Self::default() };
    }
}

fn remove(address: &str) {
    if address.starts_with('/') {
        let _ = std::fs::remove_file(address);
    }
}

fn data_version(store: &Store) -> Result<i64, TransportError> {
    store.read(SLOW_POLL, |db| {
        let mut version = db.sql.prepare_cached("PRAGMA data_version")?;
        Ok(version.query_row([], |row| row.get(0))?)
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Something,
    Nothing,
    Signal,
}

fn listen(socket: Option<&UnixDatagram>, left: Duration) -> Heard {
    let Some(socket) = socket else {
        std::thread::sleep(left.min(Duration::from_millis(20)));
        return Heard::Nothing;
    };
    match readable(&[socket.as_raw_fd()], left.min(SLOW_POLL)) {
        Ok(true) if drain(socket) => Heard::Something,
        Ok(_) => Heard::Nothing,
        Err(_) => Heard::Signal,
    }
}

/// Waits until one of at most two descriptors can be read. An error is a signal that came first.
pub(crate) fn readable(descriptors: &[RawFd], timeout: Duration) -> std::io::Result<bool> {
    let mut polled = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; 2];
    for (slot, fd) in polled.iter_mut().zip(descriptors) {
        slot.fd = *fd;
    }
    // Rounded up: waking a little early would mean spinning through the rest.
    let ms = libc::c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX);
    // SAFETY: `polled` has as many entries as are passed; descriptors of -1 are skipped by poll.
    let count = unsafe { libc::poll(polled.as_mut_ptr(), 2, ms) };
    if count < 0 { Err(std::io::Error::last_os_error()) } else { Ok(count > 0) }
}
