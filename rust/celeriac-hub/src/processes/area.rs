//! What the hub shares with one child process: the control page, and a ring in which outcomes wait for the hub.
//!
//! The ring is the child's outbox. It survives the child: what had ended before a crash is stored although the child had no
//! time to send it, so a crash harms nothing but the task that ran. A record that does not fit goes through the socket.
//!
//! Everything in here is an atomic, also the bytes of records, so a child that writes where it should not can make nonsense
//! of its own records but cannot make the hub's reading undefined. Lengths are checked before they are believed.
#![expect(unsafe_code, reason = "mapping memory that two processes share")]

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags};

use super::system;
use crate::page::Page;

const WORDS: usize = 16 * 1024;

/// See the module. The layout is fixed: both processes run the same code.
#[derive(Debug)]
#[repr(C, align(4096))]
pub(crate) struct Area {
    pub(crate) page: Page,
    pub(crate) ring: Ring,
}

/// Records, oldest first: a word with the length in bytes, then the bytes. One writer, one reader.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Ring {
    /// Words written since the start. The child's.
    head: AtomicU64,
    /// 1: the hub was told, and has not looked yet.
    told: AtomicU64,
    apart: [AtomicU64; 6],
    /// Words read since the start. The hub's.
    tail: AtomicU64,
    apart_too: [AtomicU64; 7],
    words: [AtomicU64; WORDS],
}

/// A ring whose records make no sense: its child has written where it should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

impl Ring {
    /// Child: appends a record. False if there is no room for it.
    pub(crate) fn push(&self, record: &[u8]) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        let used = head.wrapping_sub(self.tail.load(Ordering::Acquire));
        let needed = 1 + record.len().div_ceil(8) as u64;
        if used + needed > WORDS as u64 {
            return false;
        }
        self.word(head).store(record.len() as u64, Ordering::Relaxed);
        let chunks = record.chunks_exact(8);
        let rest = chunks.remainder();
        let mut at = head + 1;
        for chunk in chunks {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(chunk);
            self.word(at).store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
            at += 1;
        }
        if !rest.is_empty() {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            self.word(at).store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
        self.head.store(head + needed, Ordering::Release);
        true
    }

    /// Hub: the oldest record.
    pub(crate) fn pop(&self) -> Result<Option<Vec<u8>>, Damaged> {
        let tail = self.tail.load(Ordering::Relaxed);
        let there = self.head.load(Ordering::Acquire).wrapping_sub(tail);
        if there == 0 {
            return Ok(None);
        }
        if there > WORDS as u64 {
            return Err(Damaged);
        }
        let length = self.word(tail).load(Ordering::Relaxed);
        if length > (there - 1) * 8 {
            return Err(Damaged);
        }
        let count = length.div_ceil(8);
        let mut record = Vec::with_capacity(usize::try_from(count * 8).unwrap_or_default());
        for at in 0..count {
            record.extend_from_slice(&self.word(tail + 1 + at).load(Ordering::Relaxed).to_ne_bytes());
        }
        record.truncate(usize::try_from(length).unwrap_or_default());
        self.tail.store(tail + 1 + count, Ordering::Release);
        Ok(Some(record))
    }

    /// Child: whether the hub has to be told that there is something.
    pub(crate) fn must_tell(&self) -> bool {
        self.told.swap(1, Ordering::AcqRel) == 0
    }

    /// Hub: it looks now. Before the look, so that what comes during it is told again.
    pub(crate) fn looking(&self) {
        self.told.swap(0, Ordering::AcqRel);
    }

    fn word(&self, at: u64) -> &AtomicU64 {
        &self.words[usize::try_from(at % WORDS as u64).unwrap_or_default()]
    }
}

/// A mapped [`Area`]; both processes have one of the same memory.
#[derive(Debug)]
pub(crate) struct Mapping(NonNull<Area>);

// SAFETY: an `Area` consists of atomics, which any thread may use; the memory stays mapped until the drop.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// New memory, all slots free, and the descriptor to give to the child.
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let fd = system::memory(size_of::<Area>() as u64)?;
        let mapping = Self::map(fd.as_fd())?;
        mapping.page.clear();
        Ok((mapping, fd))
    }

    /// The memory behind a descriptor that [`Mapping::create`] made.
    pub(crate) fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let size = rustix::fs::fstat(fd)?.st_size;
        if usize::try_from(size) != Ok(size_of::<Area>()) {
            let text = format!("the control page has {size} bytes, expected {}", size_of::<Area>());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Self::map(fd)
    }

    fn map(fd: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing. The file has the size of an `Area`
        // (just set, or just checked) and keeps it, so every byte stays there: it is sealed, or (elsewhere than on Linux)
        // has no name, so that nobody but our two processes has it, and they do not change it.
        let at = unsafe {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            rustix::mm::mmap(std::ptr::null_mut(), size_of::<Area>(), protection, MapFlags::SHARED, fd, 0)?
        };
        NonNull::new(at.cast()).map(Self).ok_or_else(|| io::Error::other("the kernel mapped a page at address 0"))
    }
}

impl Deref for Mapping {
    type Target = Area;

    fn deref(&self) -> &Area {
        // SAFETY: mapped with this size until the drop and page-aligned, which is the alignment of `Area`; all bit patterns
        // are valid for its atomics; whoever writes, here or in the other process, writes through atomics.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this size, and no reference outlives `self`. A failure leaves it mapped.
        unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), size_of::<Area>()) }.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in_and_a_full_ring_says_so() {
        let (mapping, fd) = Mapping::create().unwrap();
        let other = Mapping::open(fd.as_fd()).unwrap();
        let record = |number: usize| vec![u8::try_from(number % 251).unwrap(); number % 700];
        let (mut written, mut read) = (0, 0);
        for round in 0..2_000 {
            while other.ring.push(&record(written)) {
                written += 1;
            }
            for _ in 0..=(round % 300) {
                let Some(found) = mapping.ring.pop().unwrap() else { break };
                assert_eq!(found, record(read));
                read += 1;
            }
        }
        assert!(read > 100_000 && written > read);
        assert!(!other.ring.push(&vec![0; WORDS * 8]));
    }

    #[test]
    fn nonsense_is_found_out() {
        let (mapping, _fd) = Mapping::create().unwrap();
        assert!(mapping.ring.push(b"four"));
        mapping.ring.words[0].store(u64::MAX, Ordering::Relaxed);
        assert_eq!(mapping.ring.pop(), Err(Damaged));
        mapping.ring.head.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(mapping.ring.pop(), Err(Damaged));
    }

    #[test]
    fn a_record_that_is_pushed_during_a_look_is_told_or_seen() {
        const COUNT: usize = 20_000;
        let (mapping, _fd) = Mapping::create().unwrap();
        let ring = &mapping.ring;
        let (teller, told) = crossbeam_channel::unbounded();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..COUNT {
                    while !ring.push(&number.to_ne_bytes()) {
                        std::thread::yield_now();
                    }
                    if ring.must_tell() {
                        teller.send(()).unwrap();
                    }
                }
            });
            let mut seen = 0;
            while seen < COUNT {
                told.recv_timeout(std::time::Duration::from_secs(10)).expect("told");
                ring.looking();
                while ring.pop().unwrap().is_some() {
                    seen += 1;
                }
            }
        });
    }
}
