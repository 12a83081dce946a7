//! Folding the write-ahead log into the file: SQLite's checkpoint.
//!
//! It waits for the disk, so a process with a consumer has a thread for it, with a connection of its own that is open
//! only while it folds: on the thread that claims and commits it was 12 to 16 ms for one task in a thousand. A process
//! that only publishes folds in its own commits, when nobody else has done so for long.
//!
//! - Each commit says how long the log is (`Db::log_pages`). It is folded each time it has grown by [`FOLD`] pages.
//! - Under a steady load folding never catches up with the writers, and the log would grow for ever: from [`LONG`] pages on
//!   the rest is folded with the writers locked out, which takes a moment as it is short, and the log begins anew.
//!   Writers of this process step aside for that (`Log::step_aside`): one that writes without a pause leaves no gap in
//!   which the thread would get SQLite's lock. They also wait for a fold under way once the log is twice as long, or one
//!   that writes faster than the disk would let it grow without limit: to 9 GB in a minute.
//! - At a fork no connection is open: the forking thread waits for a fold under way (`Log::hold`).

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection;
use super::settings::{Place, Settings};
use super::store::{Store, lock};
use crate::contract::TransportError;

/// Growth of the log, in pages of 4 KiB, after which it is folded.
const FOLD: i32 = 2_000;
/// From this length on it must begin anew.
const LONG: i32 = 8_000;
/// Growth after which a process without the thread folds it: more than [`LONG`], so it is nobody's work while a worker runs.
const LAST_RESORT: i32 = 16_000;
/// Rounds without locking anybody out that bring the rest down before it is locked out.
const ROUNDS: usize = 3;
/// A rest that is short enough.
const SHORT: i32 = 200;
/// How long a writer steps aside at most: for a disk that stands still.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a beginning anew waits for other processes that write, and for readers that still use the log; the latter
/// with writers locked out. Beyond it, it is tried again later.
const LOCKED_OUT: Duration = Duration::from_millis(30);

/// See the module.
#[derive(Default)]
pub(crate) struct Log {
    /// Pages in the log after the last commit of this process.
    pages: AtomicI32,
    /// How many there were when this process last folded what it could: a reader may keep the rest for hours.
    tried: AtomicI32,
    /// The log is about to begin anew.
    anew: AtomicBool,
    work: Mutex<Work>,
    changed: Condvar,
    /// Held by the thread while it has a connection open.
    open: Mutex<()>,
    /// Names of the threads that have folded.
    #[cfg(test)]
    folders: Mutex<Vec<String>>,
}

#[derive(Default)]
pub(crate) struct Work {
    /// Threads there are.
    keepers: usize,
    /// The log has grown.
    wanted: bool,
    /// A thread is at it.
    folding: bool,
}

/// The locks of a log.
pub(crate) struct LogGuard {
    work: MutexGuard<'static, Work>,
    _open: MutexGuard<'static, ()>,
}

impl LogGuard {
    /// In a forked child: the thread does not exist.
    pub(crate) fn forget_parent(&mut self, log: &Log) {
        *self.work = Work::default();
        log.tried.store(0, Ordering::Relaxed);
    }
}

impl Log {
    /// After a commit, with the length of the log. True if the caller is to fold it.
    pub(crate) fn grown(&self, pages: i32) -> bool {
        if pages == 0 {
            return false; // nothing was written
        }
        self.pages.store(pages, Ordering::Relaxed);
        let mut tried = self.tried.load(Ordering::Relaxed);
        if pages < tried {
            tried = 0; // it has begun anew
            self.tried.store(0, Ordering::Relaxed);
        }
        let growth = pages - tried;
        if growth < FOLD {
            return false;
        }
        let mut work = lock(&self.work);
        if work.keepers == 0 {
            return growth >= LAST_RESORT;
        }
        if !std::mem::replace(&mut work.wanted, true) {
            self.changed.notify_one();
        }
        false
    }

    /// Before a transaction that writes: waits while the log begins anew, or is far too long and being folded.
    pub(crate) fn step_aside(&self) {
        let too_long = self.pages.load(Ordering::Relaxed) >= LAST_RESORT;
        if !too_long && !self.anew.load(Ordering::Acquire) {
            return;
        }
        let waits = |work: &mut Work| {
            self.anew.load(Ordering::Acquire) || (too_long && work.keepers > 0 && (work.wanted || work.folding))
        };
        drop(self.changed.wait_timeout_while(lock(&self.work), PATIENCE, waits));
    }

    fn begin_anew(&self, sql: &Connection) -> Option<(i32, i32)> {
        self.anew.store(true, Ordering::Release);
        let done = connection::checkpoint(sql, "RESTART", Instant::now() + LOCKED_OUT);
        let work = lock(&self.work);
        self.anew.store(false, Ordering::Release);
        drop(work);
        self.changed.notify_all();
        done
    }

    /// Folds what there is. Errors are of no interest: the log keeps what could not be folded, and grows. They cost an
    /// attempt each time it has grown, not each commit.
    pub(crate) fn fold(&self, sql: &Connection) {
        self.tried.store(self.pages.load(Ordering::Relaxed), Ordering::Relaxed);
        #[cfg(test)]
        lock(&self.folders).push(std::thread::current().name().unwrap_or_default().to_owned());
        for round in 1.. {
            let Some((pages, folded)) = connection::checkpoint(sql, "PASSIVE", Instant::now()) else { return };
            self.tried.store(pages, Ordering::Relaxed);
            if folded == pages || pages < LONG {
                return; // the next commit begins anew by itself, or need not
            }
            if pages - folded <= SHORT || round == ROUNDS {
                break;
            }
        }
        if let Some((pages, _)) = self.begin_anew(sql) {
            self.tried.store(pages, Ordering::Relaxed);
        }
    }

    /// The thread: folds whenever the log has grown, until it is the one too many.
    fn keep(&self, settings: &Settings, stop: &Mutex<bool>) {
        loop {
            let mut work = lock(&self.work);
            while !work.wanted && !*lock(stop) {
                work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
            if *lock(stop) {
                return;
            }
            (work.wanted, work.folding) = (false, true);
            drop(work);
            let open = lock(&self.open);
            if let Ok(sql) = connection::open_for_log(settings) {
                self.fold(&sql);
            }
            drop(open);
            lock(&self.work).folding = false;
            self.changed.notify_all();
        }
    }

    /// For the fork handlers: no connection is open while the guard lives.
    pub(crate) fn hold(&'static self) -> LogGuard {
        LogGuard { _open: lock(&self.open), work: lock(&self.work) }
    }

    /// At the end of the process: nothing is folded any more, unless it is under way.
    pub(crate) fn close_at_exit(&self) {
        std::mem::forget(self.open.try_lock());
    }
}

/// The thread that folds a log; it ends with this.
pub(crate) struct Keeper {
    store: &'static Store,
    stop: std::sync::Arc<Mutex<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// `None` for a store in memory, which has no log.
    pub(crate) fn start(store: &'static Store) -> Result<Option<Self>, TransportError> {
        if matches!(store.settings.place, Place::Memory(_)) {
            return Ok(None);
        }
        let stop = std::sync::Arc::<Mutex<bool>>::default();
        let told = std::sync::Arc::clone(&stop);
        let run = move || store.log.keep(&store.settings, &told);
        let thread = std::thread::Builder::new().name("celeriac-log".into()).spawn(run);
        let thread = thread.map_err(|error| TransportError::Unavailable(format!("no thread: {error}")))?;
        lock(&store.log.work).keepers += 1;
        Ok(Some(Self { store, stop, thread: Some(thread) }))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let mut work = lock(&self.store.log.work);
        work.keepers = work.keepers.saturating_sub(1);
        *lock(&self.stop) = true;
        drop(work);
        self.store.log.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use celeriac_protocol::ResultWrite;

    use super::*;
    use crate::Options;
    use crate::contract::Consumer;
    use crate::sqlite::{SqliteConsumer, records};

    const TIMEOUT: Duration = Duration::from_secs(10);
    /// One commit adds no more.
    const COMMIT: i32 = 400;

    fn settings(folder: &tempfile::TempDir) -> Settings {
        let url = format!("sqlite:///{}/broker.db", folder.path().display());
        Settings::parse(&url, &Options::new()).unwrap()
    }

    /// One commit of 1 MiB; returns how long the log is then.
    fn write(store: &Store, number: u8) -> i32 {
        // Few keys, so the file stays small; other bytes each time, or SQLite would write nothing.
        let key = format!("key{}", number % 8).into();
        let value = bytes::Bytes::from(vec![number; 1 << 20]);
        let write = ResultWrite { key, value, expires_ms: None, success: false };
        store.write(TIMEOUT, |db, wakes| records::put(db, wakes, &[write])).unwrap();
        store.log.pages.load(Ordering::Relaxed)
    }

    /// Writes without a pause until the log has begun anew `times` times; returns how long it was at most.
    fn write_until_anew(store: &Store, times: usize) -> i32 {
        let begun = Instant::now();
        let (mut anew, mut most, mut last) = (0, 0, store.log.pages.load(Ordering::Relaxed));
        for number in (0..=u8::MAX).cycle() {
            assert!(begun.elapsed() < Duration::from_secs(60), "begun anew {anew} times, {most} pages at most");
            let pages = write(store, number);
            assert!(pages > 0 && pages - last <= COMMIT, "{last} pages, then {pages}");
            anew += usize::from(pages < last);
            most = most.max(pages);
            last = pages;
            if anew == times {
                break;
            }
        }
        most
    }

    #[test]
    fn with_a_consumer_no_committing_thread_folds_and_the_log_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        let mut consumer = SqliteConsumer::new(&settings, TIMEOUT).unwrap();
        consumer.start(Vec::new(), Arc::new(drop)).unwrap();
        let store = Store::of(&settings);
        let most = write_until_anew(store, 3);
        assert!(most < 2 * LAST_RESORT, "{most} pages");
        let by_itself: i64 =
            store.read(TIMEOUT, |db| Ok(db.sql.query_row("PRAGMA wal_autocheckpoint", [], |row| row.get(0))?)).unwrap();
        assert_eq!(by_itself, 0, "SQLite folds nothing in a commit");
        consumer.stop();
        consumer.join();
        let folders = lock(&store.log.folders).clone();
        assert!(folders.len() >= 3 && folders.iter().all(|name| name == "celeriac-log"), "{folders:?}");
        assert_eq!(lock(&store.log.work).keepers, 0);
    }

    #[test]
    fn a_reader_that_keeps_the_log_is_tried_again_only_when_the_log_has_grown() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        let mut consumer = SqliteConsumer::new(&settings, TIMEOUT).unwrap();
        consumer.start(Vec::new(), Arc::new(drop)).unwrap();
        let store = Store::of(&settings);
        write(store, 0);
        let reader = Connection::open(folder.path().join("broker.db")).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM result").unwrap();
        let (mut pages, mut commits) = (0, 0);
        while pages < 2 * LONG {
            commits += 1;
            pages = write(store, commits);
        }
        let folds = || lock(&store.log.folders).len();
        let before = folds();
        // Each time, the folding thread has had its turn before the next commit.
        for _ in 0..10 {
            commits += 1;
            write(store, commits);
            let mut work = lock(&store.log.work);
            while work.wanted || work.folding {
                work = store.log.changed.wait_timeout(work, Duration::from_millis(5)).unwrap().0;
            }
        }
        let grown = (store.log.pages.load(Ordering::Relaxed) - pages) / FOLD;
        assert!(folds() - before <= 2 + usize::try_from(grown).unwrap(), "{} folds for {grown}", folds() - before);
        drop(reader);
        write_until_anew(store, 1);
        consumer.stop();
        consumer.join();
    }

    #[test]
    fn without_a_consumer_the_log_stays_bounded_too() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of(&settings(&folder));
        let most = write_until_anew(store, 2);
        assert!((LAST_RESORT..LAST_RESORT + COMMIT).contains(&most), "{most} pages");
        assert_eq!(lock(&store.log.folders).len(), 2);
    }
}
