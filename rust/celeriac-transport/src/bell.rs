//! Wakes a thread that sleeps in `poll`: the hub, or the actor of a transport.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// An eventfd that costs a syscall only while somebody sleeps on it.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
    asleep: AtomicBool,
}

impl Bell {
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd, asleep: AtomicBool::new(false) })
    }

    /// After something was put into the inbox.
    pub fn ring(&self) {
        // Pairs with the fence in `lie_down`: either this sees the sleeper, or the sleeper sees what was put in.
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::AcqRel) {
            rustix::io::write(&self.fd, &1_u64.to_ne_bytes()).ok(); // full: it rings already
        }
    }

    /// The sleeper is about to sleep; it must look at its inbox once more before it does.
    pub fn lie_down(&self) {
        self.asleep.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// The sleeper is awake. `rung`: its descriptor was readable.
    pub fn get_up(&self, rung: bool) {
        self.asleep.store(false, Ordering::Release);
        if rung {
            rustix::io::read(&self.fd, &mut [0; 8]).ok();
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
