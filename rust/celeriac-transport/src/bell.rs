//! Wakes a thread that sleeps in `poll`: the hub, or the actor of a transport.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// A descriptor that costs a syscall only while somebody sleeps on it.
#[derive(Debug)]
pub struct Bell {
    hears: OwnedFd,
    rings: OwnedFd,
    asleep: AtomicBool,
}

impl Bell {
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let (hears, rings) = alarm()?;
        Ok(Self { hears, rings, asleep: AtomicBool::new(false) })
    }

    /// After something was put into the inbox.
    pub fn ring(&self) {
        // Pairs with the fence in `lie_down`: either this sees the sleeper, or the sleeper sees what was put in.
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::AcqRel) {
            rustix::io::write(&self.rings, &1_u64.to_ne_bytes()).ok(); // full: it rings already
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
            rustix::io::read(&self.hears, &mut [0; 64]).ok();
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hears.as_fd()
    }
}

/// What a sleeper reads, and what wakes it when eight bytes are written. Neither blocks.
#[cfg(target_os = "linux")]
fn alarm() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::event::{EventfdFlags, eventfd};
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    Ok((fd.try_clone()?, fd))
}

#[cfg(not(target_os = "linux"))]
fn alarm() -> io::Result<(OwnedFd, OwnedFd)> {
    portable_alarm()
}

/// As on Linux, where only the test uses it.
#[cfg(any(test, not(target_os = "linux")))]
fn portable_alarm() -> io::Result<(OwnedFd, OwnedFd)> {
    let (hears, rings) = io::pipe()?;
    rustix::io::ioctl_fionbio(&hears, true)?;
    rustix::io::ioctl_fionbio(&rings, true)?;
    Ok((hears.into(), rings.into()))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn an_alarm_rings_until_it_is_heard_and_blocks_nobody() {
        for (hears, rings) in [alarm().unwrap(), portable_alarm().unwrap()] {
            let mut space = [0; 64];
            assert_eq!(rustix::io::read(&hears, &mut space), Err(Errno::AGAIN));
            for _ in 0..3 {
                rustix::io::write(&rings, &1_u64.to_ne_bytes()).unwrap();
            }
            assert!(rustix::io::read(&hears, &mut space).unwrap() >= 8);
            assert_eq!(rustix::io::read(&hears, &mut space), Err(Errno::AGAIN));
        }
    }
}
