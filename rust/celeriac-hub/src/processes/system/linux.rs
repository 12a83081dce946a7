//! Linux: sealed memory, `/proc`.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags};

/// `size` bytes of memory as a file that nobody else can find, and nobody can take away under the other process.
pub(crate) fn memory(size: u64) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("celeriac-child", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&fd, size)?;
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

/// How much memory this process has.
#[derive(Debug)]
pub(crate) struct Resident {
    statm: File,
    page_kib: u64,
}

impl Resident {
    pub(crate) fn open() -> io::Result<Self> {
        let page_kib = rustix::param::page_size() as u64 / 1024;
        Ok(Self { statm: File::open("/proc/self/statm")?, page_kib })
    }

    pub(crate) fn kib(&mut self) -> Option<u64> {
        let mut text = [0; 128];
        let length = self.statm.read_at(&mut text, 0).ok()?;
        let pages: u64 = std::str::from_utf8(&text[..length]).ok()?.split(' ').nth(1)?.parse().ok()?;
        Some(pages * self.page_kib)
    }
}
