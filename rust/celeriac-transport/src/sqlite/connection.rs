//! One open connection: how it is set up, and how long it waits for a lock.
#![expect(unsafe_code, reason = "sqlite3_config and sqlite3_system_errno have no wrapper in rusqlite")]

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags, ffi};

use super::fault::Fault;
use super::settings::{Place, Settings};
use super::{filesystem, schema};
use crate::contract::TransportError;

/// Older engines can corrupt a WAL database when one process checkpoints while another commits.
const LEAST_ENGINE: i32 = 3_051_003;

thread_local! {
    /// When this thread gives up waiting for a lock.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A connection and what is remembered along with it.
pub(crate) struct Db {
    pub(crate) sql: Connection,
    /// Queues that an exchange and a routing key lead to, as of `topology`.
    pub(crate) routes: HashMap<(String, String), Vec<i64>>,
    /// Version of the bindings that `routes` was read from.
    pub(crate) topology: i64,
    /// Highest message id or sequence number given by this connection.
    pub(crate) last_id: i64,
    /// Length of the log after the last commit.
    log_pages: Arc<AtomicI32>,
    place: String,
    /// Device and inode, to notice that the file was replaced.
    identity: Option<(u64, u64)>,
    checked: Instant,
}

impl Db {
    /// Opens the store, makes its tables if it is new. Waits for locks until `deadline`.
    pub(crate) fn open(settings: &Settings, deadline: Instant) -> Result<Self, TransportError> {
        configure()?;
        let place = match &settings.place {
            Place::File(path) => path.display().to_string(),
            Place::Memory(name) => format!("memory://{name}"),
        };
        DEADLINE.set(Some(deadline));
        let sql = match &settings.place {
            Place::File(path) => {
                if path.is_dir() {
                    return Err(TransportError::Config(format!("'{place}' is a folder: name a file in it")));
                }
                if !settings.allow_network_fs {
                    filesystem::check(path)?;
                }
                let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
                    | OpenFlags::SQLITE_OPEN_CREATE
                    | OpenFlags::SQLITE_OPEN_NO_MUTEX
                    | OpenFlags::SQLITE_OPEN_EXRESCODE;
                Connection::open_with_flags(path, flags)
            }
            Place::Memory(_) => Connection::open_in_memory(),
        };
        let mut sql = sql.map_err(|error| Fault::from(error).named(&place, 0))?;
        let prepared = set_up(&mut sql, settings, &place, deadline);
        if let Err(fault) = prepared {
            let system = system_error(&sql);
            return Err(fault.named(&place, system));
        }
        let log_pages = Arc::<AtomicI32>::default();
        let seen = Arc::clone(&log_pages);
        // It takes the place of SQLite's own checkpoint after a commit: see `log`.
        let hook = move |_: &mut Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        };
        sql.wal_hook(Some(hook)).map_err(|error| Fault::from(error).named(&place, 0))?;
        let identity = identity(&settings.place);
        let (routes, checked) = (HashMap::new(), Instant::now());
        Ok(Self { sql, routes, topology: -1, last_id: 0, log_pages, place, identity, checked })
    }

    /// Runs `work` in a transaction that writes. Nothing of it is stored if it fails.
    pub(crate) fn write<T>(
        &mut self,
        deadline: Instant,
        work: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, TransportError> {
        DEADLINE.set(Some(deadline));
        if !self.sql.is_autocommit() {
            self.roll_back(); // a panic left it
        }
        let done = self.transact(work);
        done.map_err(|fault| {
            let system = system_error(&self.sql);
            self.roll_back();
            let error = fault.named(&self.place, system);
            if matches!(error, TransportError::Full(_)) {
                // What the log holds may fit into the database, and the log's room is free again: deleting needs some.
                checkpoint(&self.sql, "PASSIVE", deadline);
            }
            error
        })
    }

    fn roll_back(&mut self) {
        if !self.sql.is_autocommit() {
            let _ = self.sql.execute_batch("ROLLBACK");
        }
        // Queues made and ids given by the transaction are gone with it.
        self.routes.clear();
        self.topology = -1;
    }

    fn transact<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.sql.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let value = work(self)?;
        self.sql.prepare_cached("COMMIT")?.execute([])?;
        Ok(value)
    }

    /// Runs `work`, which only reads.
    pub(crate) fn read<T>(
        &mut self,
        deadline: Instant,
        work: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, TransportError> {
        DEADLINE.set(Some(deadline));
        work(self).map_err(|fault| {
            let system = system_error(&self.sql);
            fault.named(&self.place, system)
        })
    }

    /// Length of the log in pages, if something was written since the last call, else 0.
    pub(crate) fn log_pages(&self) -> i32 {
        self.log_pages.swap(0, Ordering::Relaxed)
    }

    /// Makes each commit wait for the disk.
    pub(crate) fn set_full_sync(&self) -> Result<(), TransportError> {
        let set = self.sql.pragma_update(None, "synchronous", "FULL");
        set.map_err(|error| Fault::from(error).named(&self.place, 0))
    }

    /// Whether the file was deleted or replaced under us; looked up at most once a second.
    pub(crate) fn is_moved(&mut self, place: &Place) -> bool {
        if self.identity.is_none() || self.checked.elapsed() < Duration::from_secs(1) {
            return false;
        }
        self.checked = Instant::now();
        identity(place) != self.identity
    }

    /// Closes without a checkpoint, which a fork must not wait for.
    pub(crate) fn close_quickly(self) {
        let _ = self.sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
}

/// A connection that does nothing but [`checkpoint`].
pub(crate) fn open_for_log(settings: &Settings) -> rusqlite::Result<Connection> {
    let Place::File(path) = &settings.place else { return Err(rusqlite::Error::InvalidQuery) };
    // Never a new file: there is none to fold if it was deleted.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut sql = Connection::open_with_flags(path, flags)?;
    sql.busy_handler(Some(wait_for_lock))?;
    // It closes while the other connection is closed for a fork, or moves to a new file, just as well.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    sql.pragma_update(None, "mmap_size", 0)?;
    Ok(sql)
}

/// Folds the log into the file, waiting for others until `deadline`. Returns its length and how much of it is folded.
pub(crate) fn checkpoint(sql: &Connection, mode: &str, deadline: Instant) -> Option<(i32, i32)> {
    DEADLINE.set(Some(deadline));
    let lengths = sql.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok((row.get(1)?, row.get(2)?)));
    lengths.ok().filter(|&(pages, _)| pages >= 0)
}

#[cfg(unix)]
fn identity(place: &Place) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    match place {
        Place::File(path) => fs::metadata(path).ok().map(|facts| (facts.dev(), facts.ino())),
        Place::Memory(_) => None,
    }
}

/// Once a process, before SQLite is used at all.
fn configure() -> Result<(), TransportError> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: option 9 takes one int; SQLite has not been initialised yet, as this crate opens no connection but
        // through `Db::open`. Without memory statistics its allocator takes no global lock.
        unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0) };
    });
    let version = rusqlite::version_number();
    if version < LEAST_ENGINE {
        return Err(TransportError::Config(format!(
            "SQLite {} can damage a broker file that several processes use: 3.51.3 or newer is needed; build celeriac \
             with its bundled SQLite",
            rusqlite::version()
        )));
    }
    Ok(())
}

fn set_up(sql: &mut Connection, settings: &Settings, place: &str, deadline: Instant) -> Result<(), Fault> {
    sql.busy_handler(Some(wait_for_lock))?;
    sql.set_prepared_statement_cache_capacity(128);
    // Without it a statement whose LIMIT or range is a parameter is compiled again whenever the value changes.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    sql.pragma_update(None, "mmap_size", 0)?;
    // KiB for each connection; a worker has two. Four times as much was not faster (benches/system, job `drain`).
    sql.pragma_update(None, "cache_size", -2000)?;
    sql.pragma_update(None, "temp_store", "MEMORY")?;
    if matches!(settings.place, Place::File(_)) {
        // Before anything is changed: another program's database must be left as it is.
        schema::is_current(sql, place)?;
        enter_wal(sql, deadline)?;
        sql.pragma_update(None, "synchronous", if settings.full_sync { "FULL" } else { "NORMAL" })?;
        sql.pragma_update(None, "wal_autocheckpoint", 0)?;
        sql.pragma_update(None, "journal_size_limit", 64 << 20)?;
    }
    schema::prepare(sql, place)
}

/// Switches to the write-ahead log. SQLite does not call the busy handler for this.
fn enter_wal(sql: &Connection, deadline: Instant) -> Result<(), Fault> {
    loop {
        let mode = sql.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let text = format!("SQLite stays in journal mode '{mode}': the file system has no shared memory");
                return Err(TransportError::Config(text).into());
            }
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                if Instant::now() >= deadline {
                    return Err(error.into());
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Transactions last tens to hundreds of µs, and the gap between two of a busy worker is as short: waiting long would miss
/// it again and again. SQLite's own handler sleeps in whole ms.
fn wait_for_lock(tries: i32) -> bool {
    if DEADLINE.get().is_none_or(|deadline| Instant::now() >= deadline) {
        return false;
    }
    let micros = 20_u64 << tries.clamp(0, 4);
    std::thread::sleep(Duration::from_micros(micros));
    true
}

fn system_error(sql: &Connection) -> i32 {
    // SAFETY: the handle is open for as long as `sql` is borrowed; the call only reads a field of it.
    let code = unsafe { ffi::sqlite3_extended_errcode(sql.handle()) };
    // errno is kept from an earlier failure; it belongs to this one only if this one came from the system.
    match code & 0xff {
        // SAFETY: as above.
        ffi::SQLITE_IOERR | ffi::SQLITE_FULL | ffi::SQLITE_CANTOPEN => unsafe {
            ffi::sqlite3_system_errno(sql.handle())
        },
        _ => 0,
    }
}
