//! A child process's end: batches from a socket, outcomes into the ring.
//!
//! Used by one thread, without any other in the process. Writing may block, which only ever waits for the hub; the hub
//! never waits for a child.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::area::Mapping;
use super::frame;
use super::system;
use crate::child::{Shared, Ticket, Told};
use crate::{Clock, Port};

/// Memory is measured once in that time, and after each task that takes longer.
const MEASURE_US: u64 = 10_000;

/// Where a child process puts what it has to say.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) area: Arc<Mapping>,
    socket: Arc<OwnedFd>,
    /// For the bytes of a record, kept from one to the next.
    scratch: Mutex<Vec<u8>>,
    memory: Option<Mutex<Memory>>,
}

impl Outbox {
    pub(crate) fn put(&self, told: &Told) {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        frame::record(told, &mut scratch);
        if !self.area.ring.push(&scratch) {
            self.send(&scratch);
            scratch.shrink_to(frame::USUAL);
        }
    }

    /// The hub is to look at the ring.
    pub(crate) fn wake(&self) {
        if self.area.ring.must_tell() {
            self.send(&[]);
        }
    }

    /// Writes how much memory the process has into the page, if that is limited and the last time is long enough ago.
    pub(crate) fn measure(&self, now_us: u64) {
        if let Some(memory) = &self.memory {
            memory.lock().unwrap_or_else(PoisonError::into_inner).measure(&self.area, now_us);
        }
    }

    /// Errors are the hub's end, and that is this process's end, too: see the lifeline in `celeriac/concurrency/_child.py`.
    fn send(&self, record: &[u8]) {
        let length = u32::try_from(record.len()).unwrap_or_default().to_ne_bytes();
        for mut piece in [&length[..], record] {
            while !piece.is_empty() {
                match rustix::net::send(&self.socket, piece, system::QUIET) {
                    Ok(sent) => piece = &piece[sent..],
                    Err(Errno::INTR) => {}
                    Err(_) => return,
                }
            }
        }
    }
}

#[derive(Debug)]
struct Memory {
    resident: system::Resident,
    last_us: u64,
}

impl Memory {
    fn measure(&mut self, area: &Mapping, now_us: u64) {
        if now_us.saturating_sub(self.last_us) < MEASURE_US {
            return;
        }
        self.last_us = now_us;
        if let Some(kib) = self.resident.kib() {
            area.page.resident_kib.store(kib, Ordering::Relaxed);
        }
    }
}

/// Where batches come from.
#[derive(Debug)]
pub(crate) struct Inlet {
    socket: Arc<OwnedFd>,
}

/// What came through it.
pub(crate) enum Came {
    Batch(Vec<Ticket>),
    Nothing,
    End,
}

impl Inlet {
    /// A batch, if one is there.
    pub(crate) fn try_take(&self) -> Came {
        let mut head = [0; 4];
        match rustix::net::recv(&self.socket, &mut head[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => Came::End,
            Ok((count, _)) => self.finish(head, count),
            Err(Errno::AGAIN | Errno::INTR) => Came::Nothing,
            Err(_) => Came::End,
        }
    }

    /// Waits for a batch or a signal.
    pub(crate) fn take(&self, timeout: Duration) -> Came {
        let wait = Timespec::try_from(timeout).ok();
        match rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], wait.as_ref()) {
            Ok(0) | Err(_) => Came::Nothing,
            Ok(_) => self.try_take(),
        }
    }

    fn finish(&self, mut head: [u8; 4], count: usize) -> Came {
        if self.fill(&mut head[count..]).is_none() {
            return Came::End;
        }
        let mut body = vec![0; u32::from_ne_bytes(head) as usize];
        if self.fill(&mut body).is_none() {
            return Came::End;
        }
        frame::tickets(Bytes::from(body)).map_or(Came::End, Came::Batch)
    }

    /// The rest of a frame whose beginning has come: the hub is writing it.
    fn fill(&self, mut into: &mut [u8]) -> Option<()> {
        while !into.is_empty() {
            match rustix::net::recv(&self.socket, &mut *into, RecvFlags::WAITALL) {
                Ok((0, _)) => return None,
                Ok((count, _)) => into = &mut into[count..],
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}

impl Port {
    /// The port of this child process, from the two descriptors that the hub sent to its zygote. `measure`: the hub wants to
    /// know how much memory the process has.
    ///
    /// # Errors
    /// The descriptors are not what the hub made, or this system does not tell how much memory a process has.
    pub fn of_process(socket: OwnedFd, page: &OwnedFd, measure: bool) -> io::Result<Self> {
        let area = Arc::new(Mapping::open(page.as_fd())?);
        let socket = Arc::new(socket);
        let clock = Clock::since(area.page.clock_origin_ns.load(Ordering::Relaxed));
        let memory =
            if measure { Some(Mutex::new(Memory { resident: system::Resident::open()?, last_us: 0 })) } else { None };
        let outbox = Outbox { area, socket: Arc::clone(&socket), scratch: Mutex::default(), memory };
        // Nothing is measured before the first task has ended: a child that is too large from the start would be replaced by
        // another one like it for ever, and no task would run.
        outbox.send(&frame::hello(std::process::id()));
        Ok(Self::over_socket(Arc::new(Shared::in_child(clock, outbox)), Inlet { socket }))
    }
}
