//! The hub's end of a zygote: the process from which children are forked.
//!
//! It has one thread and no socket of a broker, so that a fork is safe and takes a millisecond. It is asked for children by
//! messages of twelve bytes, with the child's descriptors; it answers with twelve (`python/celeriac/concurrency/_zygote.py`).
//! Where children are fresh interpreters, a launcher is in its place (`_launcher.py` there); the hub sees no difference.
//!
//! There are two. One works, the other stands by: it was forked from the same state, and if the first is killed it takes
//! over and forks a new one to stand by. So a fork never happens in a process with threads.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, IoSlice};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::away::Kit;
use super::system;

const FORK_CHILD: u32 = 1;
const FORK_ZYGOTE: u32 = 2;
const FORKED: u32 = 1;
const REFUSED: u32 = 2;
const EXITED: u32 = 3;
/// Bytes of a word.
const WORD: usize = 12;

/// What a zygote says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// The child that was asked for under that number has this pid.
    Forked(u32, i32),
    /// There is none: the number of the system's error.
    Refused(u32, i32),
    /// A child of that pid has ended, with that wait status.
    Exited(i32, i32),
}

#[derive(Debug)]
pub(crate) struct Zygote {
    socket: OwnedFd,
    /// The beginning of a word of which the rest has not come.
    partial: Vec<u8>,
    /// As a child's (`away.rs`). Python has that of the first two.
    _lifeline: Option<OwnedFd>,
}

impl Zygote {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, partial: Vec::new(), _lifeline: None }
    }

    /// Asks for a child, which is told its `index` and gets what is in `kit`.
    pub(crate) fn fork_child(&self, number: u32, index: u32, kit: &Kit) -> io::Result<()> {
        let fds = [kit.socket.as_fd(), kit.page.as_fd(), kit.lifeline.as_fd()];
        self.ask([FORK_CHILD, number, index], &fds)
    }

    /// Asks for another zygote to stand by. It may fail: then there is none.
    pub(crate) fn fork_zygote(&self) -> io::Result<Self> {
        let (ours, theirs) = system::sockets()?;
        let (reading, writing) = system::lifeline()?;
        self.ask([FORK_ZYGOTE, 0, 0], &[theirs.as_fd(), reading.as_fd()])?;
        Ok(Self { socket: ours, partial: Vec::new(), _lifeline: Some(writing) })
    }

    fn ask(&self, words: [u32; 3], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(fds));
        let flags = system::QUIET | SendFlags::DONTWAIT;
        let sent = rustix::net::sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, flags)?;
        // Its buffer holds thousands of these: one that is full enough to cut one in two is not read any more.
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// What it has said, into `words`. False: it has ended.
    pub(crate) fn listen(&mut self, words: &mut Vec<Word>) -> bool {
        loop {
            let mut bytes = [0; WORD * 64];
            match rustix::net::recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((count @ 1.., _)) => {
                    self.partial.extend_from_slice(&bytes[..count]);
                    let whole = self.partial.len() / WORD * WORD;
                    words.extend(self.partial.drain(..whole).as_slice().chunks_exact(WORD).filter_map(understood));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Ok(_) | Err(_) => return false,
            }
        }
    }
}

fn understood(bytes: &[u8]) -> Option<Word> {
    let word = |at: usize| bytes[at..at + 4].try_into().map_or(0, u32::from_ne_bytes);
    let (number, value) = (word(4), word(8).cast_signed());
    match word(0) {
        FORKED => Some(Word::Forked(number, value)),
        REFUSED => Some(Word::Refused(number, value)),
        EXITED => Some(Word::Exited(number.cast_signed(), value)),
        _ => None,
    }
}

impl AsFd for Zygote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
