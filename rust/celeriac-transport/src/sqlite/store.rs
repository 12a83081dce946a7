//! One store of this process: its only connection, the line of publishers that commit together, and who waits for
//! results.
//!
//! All handles of a process that name one place share one [`Store`], and a store has one connection under a mutex.
//! SQLite takes its file locks for a process, not for a connection, and loses them when any descriptor of the file is
//! closed by somebody else than SQLite; with one connection neither can hurt. Only [`super::log`] opens a second one, through the
//! same SQLite, which keeps the descriptors of a file open as long as one of its connections has locks.
//!
//! Fork: see [`super::fork`]. While a fork happens no connection is open, so a child inherits none. It finds empty
//! stores and opens its own connection at first use; `memory://` is then a new, empty broker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::Db;
use super::enqueue;
use super::fault::Fault;
use super::line::{Entry, Line, LineState};
use super::log::{Log, LogGuard};
use super::notify::{Bell, BellGuard, Wakes};
use super::settings::{Place, Settings};
use super::waiting::{State, Waiting};
use crate::contract::TransportError;
use celeriac_protocol::Publication;

static STORES: Mutex<BTreeMap<Place, &'static Store>> = Mutex::new(BTreeMap::new());

/// A panic under a lock leaves at worst a transaction open, which the next user rolls back: go on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module.
pub(crate) struct Store {
    pub(crate) settings: Settings,
    core: Mutex<Core>,
    /// Folds the log.
    pub(crate) log: Log,
    /// Threads that publish.
    line: Line,
    /// Threads that wait for results.
    pub(crate) waiting: Waiting,
    /// Sends wake-ups.
    pub(crate) bell: Bell,
    /// Grows when a fork or a replaced file has cut what was registered in the file from this process.
    era: AtomicU64,
}

/// The locks of one store.
pub(crate) struct Held {
    core: MutexGuard<'static, Core>,
    line: MutexGuard<'static, LineState>,
    waiting: MutexGuard<'static, State>,
    local: BellGuard,
    log: LogGuard,
}

impl Held {
    /// Before a fork: closes a connection to a file. One to memory stays: it is data, and a fork copies it.
    pub(crate) fn close_file(&mut self, store: &Store) {
        if store.is_file()
            && let Some(db) = self.core.db.take()
        {
            db.close_quickly();
        }
    }

    /// After a fork, in the child: what the parent's threads had is not ours.
    pub(crate) fn forget_parent(&mut self, store: &Store) {
        self.core.db = None;
        self.line.forget_parent();
        self.waiting.forget_parent();
        self.local.clear();
        self.log.forget_parent(&store.log);
        store.era.fetch_add(1, Ordering::Relaxed);
    }
}

/// The lock of the table of stores.
pub(crate) type Stores = MutexGuard<'static, BTreeMap<Place, &'static Store>>;

/// What the mutex guards.
pub(crate) struct Core {
    db: Option<Db>,
    full_sync: bool,
}

impl Store {
    /// The store at the place that `settings` names. It lives as long as the process: there are few places.
    pub(crate) fn of(settings: &Settings) -> &'static Self {
        super::fork::watch();
        let mut stores = lock(&STORES);
        let store = *stores.entry(settings.place.clone()).or_insert_with(|| {
            Box::leak(Box::new(Self {
                settings: settings.clone(),
                core: Mutex::new(Core { db: None, full_sync: settings.full_sync }),
                log: Log::default(),
                line: Line::default(),
                waiting: Waiting::default(),
                bell: Bell::new(&settings.place),
                era: AtomicU64::new(1),
            }))
        });
        drop(stores);
        if settings.full_sync {
            store.demand_full_sync();
        }
        store
    }

    /// Whether it has a file, so that other processes may use it too.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.settings.place, Place::File(_))
    }

    /// Runs `work` in a writing transaction, then sends the wake-ups that it left.
    pub(crate) fn write<T>(
        &self,
        timeout: Duration,
        work: impl FnOnce(&mut Db, &mut Wakes) -> Result<T, Fault>,
    ) -> Result<T, TransportError> {
        let deadline = Instant::now() + timeout;
        let mut core = lock(&self.core);
        let mut wakes = Wakes::default();
        let done = self.transact(&mut core, deadline, |db| {
            let value = work(db, &mut wakes)?;
            wakes.resolve(db)?;
            Ok(value)
        });
        drop(core);
        if done.is_ok() {
            self.send(&wakes);
        }
        done
    }

    /// Runs `work`, which only reads.
    pub(crate) fn read<T>(
        &self,
        timeout: Duration,
        work: impl FnOnce(&mut Db) -> Result<T, Fault>,
    ) -> Result<T, TransportError> {
        let deadline = Instant::now() + timeout;
        let mut core = lock(&self.core);
        self.opened(&mut core, deadline)?.read(deadline, work)
    }

    /// Stores `batch`, in one commit with what other threads publish at the moment.
    pub(crate) fn publish(&self, batch: &[Publication], timeout: Duration) -> Result<usize, TransportError> {
        let lead = match self.line.enter(batch) {
            Entry::Answered(answer) => return answer,
            Entry::Lead(lead) => lead,
        };
        let mut core = lock(&self.core);
        let followers = lead.followers();
        let mut wakes = Vec::new();
        let mut batches = vec![batch];
        batches.extend(followers.iter().map(|job| &job.batch[..]));
        let mut answers = match self.publish_together(&mut core, &batches, timeout, &mut wakes) {
            // One of them cannot be stored: the others must not suffer for it.
            Err(TransportError::Refused(_)) if batches.len() > 1 => batches
                .iter()
                .map(|one| Ok(self.publish_together(&mut core, &[*one], timeout, &mut wakes)?.iter().sum()))
                .collect(),
            Err(error) => vec![Err(error); batches.len()],
            Ok(reached) => reached.into_iter().map(Ok).collect::<Vec<_>>(),
        }
        .into_iter();
        drop(core);
        drop(lead);
        let own = answers.next();
        for (job, answer) in followers.iter().zip(answers) {
            job.answer(answer);
        }
        for wakes in &wakes {
            self.send(wakes);
        }
        own.unwrap_or(Ok(0))
    }

    /// One transaction. Returns how many queues each batch reached.
    fn publish_together(
        &self,
        core: &mut Core,
        batches: &[&[Publication]],
        timeout: Duration,
        sent: &mut Vec<Wakes>,
    ) -> Result<Vec<usize>, TransportError> {
        let deadline = Instant::now() + timeout;
        let mut wakes = Wakes::default();
        let reached = self.transact(core, deadline, |db| {
            let mut reached = Vec::with_capacity(batches.len());
            for batch in batches {
                reached.push(enqueue::publish(db, &mut wakes, batch)?);
            }
            wakes.resolve(db)?;
            Ok(reached)
        })?;
        sent.push(wakes);
        Ok(reached)
    }

    /// Runs `work` in a writing transaction, and sees to the log.
    fn transact<T>(
        &self,
        core: &mut Core,
        deadline: Instant,
        work: impl FnOnce(&mut Db) -> Result<T, Fault>,
    ) -> Result<T, TransportError> {
        let db = self.opened(core, deadline)?;
        self.log.step_aside();
        let done = db.write(deadline, work);
        if self.log.grown(db.log_pages()) {
            self.log.fold(&db.sql);
        }
        done
    }

    fn send(&self, wakes: &Wakes) {
        if wakes.results {
            self.waiting.changed();
        }
        let dead = self.bell.ring(wakes);
        if !dead.is_empty() {
            // Nobody listens there any more. Best effort: the row costs one failed send a commit until it is gone.
            let _ = self.write(Duration::from_millis(50), |db, _| {
                for address in &dead {
                    db.sql.prepare_cached("DELETE FROM waiter WHERE address = ?1")?.execute([address])?;
                }
                Ok(())
            });
        }
    }

    fn opened<'c>(&self, core: &'c mut Core, deadline: Instant) -> Result<&'c mut Db, TransportError> {
        if core.db.as_mut().is_some_and(|db| db.is_moved(&self.settings.place)) {
            core.db = None;
            self.era.fetch_add(1, Ordering::Relaxed);
        }
        if core.db.is_none() {
            let settings = Settings { full_sync: core.full_sync, ..self.settings.clone() };
            core.db = Some(Db::open(&settings, deadline)?);
        }
        core.db.as_mut().ok_or_else(|| TransportError::Unavailable("not open".into()))
    }

    fn demand_full_sync(&self) {
        let mut core = lock(&self.core);
        if !core.full_sync {
            core.full_sync = true;
            if let Some(db) = &core.db
                && db.set_full_sync().is_err()
            {
                core.db = None; // reopened with it
            }
        }
    }

    /// A number that is another one after a fork in the child, and after the file was replaced.
    pub(crate) fn era(&self) -> u64 {
        self.era.load(Ordering::Relaxed)
    }

    /// Closes the connection if no thread is using it. Those that come later wait until the process is gone.
    pub(crate) fn close_at_exit(&self) {
        self.waiting.remove_socket();
        self.log.close_at_exit();
        let Ok(mut core) = self.core.try_lock() else { return };
        core.db = None;
        std::mem::forget(core);
        self.bell.remove_folder();
    }

    /// For the fork handlers: nobody uses the connection while the guard lives.
    pub(crate) fn hold(&'static self) -> Held {
        Held {
            core: lock(&self.core),
            line: self.line.hold(),
            waiting: self.waiting.hold(),
            local: self.bell.hold(),
            log: self.log.hold(),
        }
    }
}

/// Every store there is now; none if a thread is just adding one.
pub(crate) fn list() -> Vec<&'static Store> {
    STORES.try_lock().map(|stores| stores.values().copied().collect()).unwrap_or_default()
}

/// Every store, locked against new ones while the guard lives.
pub(crate) fn all() -> Stores {
    lock(&STORES)
}
