//! What each system has a way of its own for. Linux has the better ones; everything else here is POSIX.
//!
//! Both are tested on Linux, where only its own is used.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(test, not(target_os = "linux")))]
mod portable;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net::SendFlags;

#[cfg(target_os = "linux")]
pub(super) use linux::{Resident, memory};
#[cfg(not(target_os = "linux"))]
pub(super) use portable::{Resident, memory};

/// A write to a process that has ended is an error and no signal.
#[cfg(not(target_vendor = "apple"))]
pub(super) const QUIET: SendFlags = SendFlags::NOSIGNAL;
/// There it is an option of the socket: see [`sockets`].
#[cfg(target_vendor = "apple")]
pub(super) const QUIET: SendFlags = SendFlags::empty();

/// Two connected sockets, of which no other program inherits one.
pub(super) fn sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    #[cfg(target_vendor = "apple")]
    for socket in [&ours, &theirs] {
        rustix::net::sockopt::set_socket_nosigpipe(socket, true)?;
    }
    Ok((ours.into(), theirs.into()))
}

/// A pipe as a lifeline: the end that a process watches, and the one that the worker keeps.
pub(super) fn lifeline() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reading, writing) = io::pipe()?;
    Ok((reading.into(), writing.into()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn memory_has_its_size_and_is_empty_and_shared_by_all_who_have_it() {
        for made in [memory(8192).unwrap(), portable::memory(8192).unwrap()] {
            let (one, other) = (File::from(made.try_clone().unwrap()), File::from(made));
            assert_eq!(one.metadata().unwrap().len(), 8192);
            one.write_at(b"told", 8000).unwrap();
            let mut seen = [1; 8];
            other.read_exact_at(&mut seen, 7998).unwrap();
            assert_eq!(&seen, b"\0\0told\0\0");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_how_much_memory_it_has() {
        let mut resident = Resident::open().unwrap();
        assert!((1_000..100_000_000).contains(&resident.kib().unwrap()));
        assert_eq!(portable::Resident::open().unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
