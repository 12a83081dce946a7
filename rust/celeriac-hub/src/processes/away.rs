//! The hub's end of one child process: its memory, its socket, and what waits to be written to it.
//!
//! Nothing here blocks: what the socket does not take now waits in a queue, what comes is read as far as it has come.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::area::Mapping;
use super::frame::{self, Said};
use super::system;
use crate::Clock;
use crate::child::{Ticket, Told};
use crate::page::Page;

const CHUNK: usize = 64 * 1024;
/// Bytes read from one child in one turn, so that none starves the others.
const TURN: usize = 4 << 20;

/// What a child process gets to know its hub by.
#[derive(Debug)]
pub(crate) struct Kit {
    pub(crate) socket: OwnedFd,
    pub(crate) page: OwnedFd,
    pub(crate) lifeline: OwnedFd,
}

#[derive(Debug)]
pub(crate) struct Away {
    area: Mapping,
    socket: OwnedFd,
    /// Closed when this process ends, however it does: the kernel kills the child then.
    _lifeline: OwnedFd,
    out: VecDeque<Bytes>,
    /// No batch will follow what is in `out`.
    closing: bool,
    closed: bool,
    partial: Vec<u8>,
    came: Vec<Told>,
    /// It has said that it can take jobs: its pid.
    pub(crate) greeted: Option<i32>,
    /// Nothing more can come from it.
    pub(crate) ended: bool,
}

impl Away {
    /// Our end, and what the child needs for its own.
    pub(crate) fn create(clock: &Clock) -> io::Result<(Self, Kit)> {
        let (area, page) = Mapping::create()?;
        area.page.clock_origin_ns.store(clock.origin_ns(), Ordering::Relaxed);
        let (ours, theirs) = system::sockets()?;
        let (reading, writing) = system::lifeline()?;
        let away = Self {
            area,
            socket: ours,
            _lifeline: writing,
            out: VecDeque::new(),
            closing: false,
            closed: false,
            partial: Vec::new(),
            came: Vec::new(),
            greeted: None,
            ended: false,
        };
        Ok((away, Kit { socket: theirs, page, lifeline: reading }))
    }

    pub(crate) fn page(&self) -> &Page {
        &self.area.page
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn wants_to_write(&self) -> bool {
        !self.out.is_empty() && !self.ended
    }

    pub(crate) fn takes_batches(&self) -> bool {
        self.greeted.is_some() && !self.closing && !self.ended
    }

    pub(crate) fn send(&mut self, tickets: &[Ticket]) {
        self.out.extend(frame::batch(tickets));
        self.write();
    }

    /// It ends when it has seen what it was sent.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.write();
    }

    /// As much as the socket takes.
    pub(crate) fn write(&mut self) {
        while let Some(piece) = self.out.front_mut() {
            match rustix::net::send(&self.socket, piece, system::QUIET | SendFlags::DONTWAIT) {
                Ok(sent) if sent == piece.len() => drop(self.out.pop_front()),
                Ok(sent) => drop(piece.split_to(sent)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.out.clear(), // it has ended, which is heard of elsewhere
            }
        }
        if self.closing && !self.closed {
            self.closed = true;
            rustix::net::shutdown(&self.socket, Shutdown::Write).ok();
        }
    }

    /// What has come through the socket. Whether there may be more.
    pub(crate) fn read(&mut self) -> bool {
        let mut count = 0;
        while count < TURN && !self.ended {
            let start = self.partial.len();
            self.partial.resize(start + CHUNK, 0);
            let read = rustix::net::recv(&self.socket, &mut self.partial[start..], RecvFlags::DONTWAIT);
            self.partial.truncate(start + read.map_or(0, |(read, _)| read));
            match read {
                Ok((0, _)) => self.ended = true,
                Ok((read, _)) => {
                    count += read;
                    self.parse();
                    if read < CHUNK {
                        return false;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => self.ended = true,
            }
        }
        !self.ended
    }

    fn parse(&mut self) {
        let mut at = 0;
        while let Some(head) = self.partial.get(at..at + 4) {
            let length = head.try_into().map_or(0, u32::from_ne_bytes) as usize;
            if length > frame::LONGEST {
                return self.damaged();
            }
            if length == 0 {
                self.area.ring.looking();
                at += 4;
                continue;
            }
            let Some(record) = self.partial.get(at + 4..at + 4 + length) else {
                self.partial.reserve((at + 4 + length).saturating_sub(self.partial.len()) + CHUNK);
                break;
            };
            let record = Bytes::copy_from_slice(record);
            at += 4 + length;
            self.understand(record);
            if self.ended {
                return;
            }
        }
        self.partial.drain(..at);
        if self.partial.is_empty() && self.partial.capacity() > 4 * CHUNK {
            self.partial = Vec::new();
        }
    }

    fn understand(&mut self, record: Bytes) {
        match frame::said(record) {
            Some(Said::Hello(pid)) => self.greeted = Some(pid),
            Some(Said::Told(told)) => self.came.push(told),
            None => self.damaged(),
        }
    }

    /// What it tells makes no sense, so it is not listened to any more; whoever looks after it ends it.
    fn damaged(&mut self) {
        self.ended = true;
        self.partial = Vec::new();
    }

    /// Everything it has told, into `into`.
    pub(crate) fn take(&mut self, into: &mut Vec<Told>) {
        loop {
            match self.area.ring.pop() {
                Ok(Some(record)) => self.understand(Bytes::from(record)),
                Ok(None) => break,
                Err(_) => {
                    self.damaged();
                    break;
                }
            }
        }
        into.append(&mut self.came);
    }
}
