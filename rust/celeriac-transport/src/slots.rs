//! Connections of a producer: taken for a call, put back after it, never waited for.
//!
//! No thread and no lock that could be held across a fork for ever: a slot that cannot be locked at once is passed by. A
//! forked child leaves what it inherited alone (another process's replies come there) and opens its own.

use std::sync::Mutex;

/// Most connections that are kept, whatever a setting says.
const MOST: usize = 32;

/// See the module.
pub(crate) struct Slots<T>(Vec<Mutex<Option<Kept<T>>>>);

struct Kept<T> {
    pid: u32,
    line: T,
}

impl<T> Slots<T> {
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count.min(MOST)).map(|_| Mutex::new(None)).collect())
    }

    pub(crate) fn take(&self) -> Option<T> {
        let pid = std::process::id();
        for slot in &self.0 {
            let Ok(mut slot) = slot.try_lock() else { continue };
            match slot.take() {
                Some(kept) if kept.pid == pid => return Some(kept.line),
                // Not even closed: with TLS that would say goodbye on the parent's connection.
                Some(kept) => std::mem::forget(kept),
                None => {}
            }
        }
        None
    }

    pub(crate) fn keep(&self, line: T) {
        let pid = std::process::id();
        for slot in &self.0 {
            let Ok(mut slot) = slot.try_lock() else { continue };
            match &*slot {
                Some(kept) if kept.pid == pid => {}
                _ => {
                    if let Some(inherited) = slot.replace(Kept { pid, line }) {
                        std::mem::forget(inherited);
                    }
                    return;
                }
            }
        }
    }
}
