//! Systems without the means of `linux.rs`.

use std::io;
use std::os::fd::OwnedFd;

/// As on Linux, but without a seal: the file has no name, so only the two processes have it, and neither changes its size.
pub(crate) fn memory(size: u64) -> io::Result<OwnedFd> {
    let file = tempfile::tempfile()?;
    file.set_len(size)?;
    Ok(file.into())
}

/// No system call gives it: that of the most that a process ever had would replace a process for a peak that is over.
#[derive(Debug)]
pub(crate) enum Resident {}

impl Resident {
    pub(crate) fn open() -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the memory of a process is measured on Linux only"))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn kib(&mut self) -> Option<u64> {
        match *self {}
    }
}
