//! Wakes a hub that sleeps in `poll`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use super::system;

/// A descriptor that costs a syscall only while somebody sleeps on it.
#[derive(Debug)]
pub(crate) struct Bell {
    hears: OwnedFd,
    rings: OwnedFd,
    asleep: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let (hears, rings) = system::alarm()?;
        Ok(Self { hears, rings, asleep: AtomicBool::new(false) })
    }

    /// After something was put into the inbox.
    pub(crate) fn ring(&self) {
        // Pairs with the fence in `lie_down`: either this sees the sleeper, or the sleeper sees what was put in.
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::AcqRel) {
            rustix::io::write(&self.rings, &1_u64.to_ne_bytes()).ok(); // full: it rings already
        }
    }

    /// The hub is about to sleep; it must look at its inbox once more before it does.
    pub(crate) fn lie_down(&self) {
        self.asleep.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// The hub is awake. `rung`: its descriptor was readable.
    pub(crate) fn get_up(&self, rung: bool) {
        self.asleep.store(false, Ordering::Release);
        if rung {
            rustix::io::read(&self.hears, &mut [0; 64]).ok();
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hears.as_fd()
    }
}
