//! What happens to open stores when the process forks or ends.
//!
//! SQLite keeps, in the process, what locks it believes to hold on a file. A child would inherit that belief without the
//! locks: its writes would go unprotected, and the parent's last close could delete the log under it. Not using the
//! inherited connection is not enough, as a new one to the same file shares the belief. So before a fork every
//! connection to a file is closed (without a checkpoint), in parent and child they open again at first use, and the
//! locks held across the fork make sure that no thread is inside SQLite meanwhile. A fork waits for transactions that
//! are under way, so it may take as long as one.
//!
//! At a regular end of the process connections are closed, so that the last one leaves a single file, without a log, and
//! sockets are removed.
//!
//! `subprocess` does not come here when it uses `vfork`; its child only executes another program, and every descriptor is
//! close-on-exec.
#![cfg_attr(unix, expect(unsafe_code, reason = "pthread_atfork has no wrapper"))]

/// Installs the handlers, once.
#[cfg(unix)]
pub(crate) fn watch() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: the three functions live as long as the library, which Python never unloads, and do not unwind:
        // they take locks whose poison is ignored and drop values.
        unsafe { libc::pthread_atfork(Some(handlers::prepare), Some(handlers::parent), Some(handlers::child)) };
        // SAFETY: as above.
        unsafe { libc::atexit(handlers::exit) };
    });
}

#[cfg(not(unix))]
pub(crate) fn watch() {}

#[cfg(unix)]
mod handlers {
    use std::cell::RefCell;

    use crate::sqlite::store::{Held, Stores, all};

    thread_local! {
        /// The locks that the forking thread holds between `prepare` and `parent` or `child`.
        static HELD: RefCell<Option<(Stores, Vec<Held>)>> = const { RefCell::new(None) };
    }

    pub(super) extern "C" fn prepare() {
        let stores = all();
        let mut held = Vec::with_capacity(stores.len());
        for store in stores.values() {
            let mut one = store.hold();
            one.close_file(store);
            held.push(one);
        }
        HELD.with(|slot| slot.replace(Some((stores, held))));
    }

    /// Other threads may still run, and may hold a lock for ever: nothing here waits.
    pub(super) extern "C" fn exit() {
        for store in crate::sqlite::store::list() {
            store.close_at_exit();
        }
    }

    pub(super) extern "C" fn parent() {
        HELD.with(|slot| slot.replace(None));
    }

    pub(super) extern "C" fn child() {
        HELD.with(|slot| {
            if let Some((stores, mut held)) = slot.replace(None) {
                for (store, one) in stores.values().zip(&mut held) {
                    one.forget_parent(store);
                }
            }
        });
    }
}
