//! The hub's inbox: what the transport, children of this process and the main thread have to say.
//!
//! A hub without child processes sleeps on the channel. One that has some sleeps in `poll`, on their sockets and a bell
//! (`celeriac_transport::bell`), which is rung only while it sleeps: a busy hub costs its callers no syscall.

use std::sync::Arc;

use celeriac_engine::{ChildId, Stopping};
#[cfg(unix)]
use celeriac_transport::bell::Bell;
use celeriac_transport::contract::{Event, QueueSpec};
use crossbeam_channel::{Receiver, Sender};

use crate::child::Ticket;
use crate::running::Running;

#[derive(Debug)]
pub(crate) enum Command {
    Revoke(Vec<String>),
    SetConsuming(QueueSpec, bool),
    Stop(Stopping),
    /// So many child processes from now on.
    Resize(usize),
    /// New processes in the place of all, each when its task has ended.
    Restart,
    Running(Sender<Vec<Running>>),
    Panic,
}

#[derive(Debug)]
pub(crate) enum Input {
    Event(Event),
    /// Some child has told something.
    Reports,
    PortUp(ChildId, Sender<Vec<Ticket>>),
    PortDown(ChildId),
    Command(Command),
}

/// The end for those who speak.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    sender: Sender<Input>,
    #[cfg(unix)]
    bell: Option<Arc<Bell>>,
}

impl Inbox {
    /// Both ends; the hub sleeps on the channel.
    pub(crate) fn new() -> (Self, Receiver<Input>) {
        let (sender, outlet) = crossbeam_channel::unbounded();
        #[cfg(unix)]
        return (Self { sender, bell: None }, outlet);
        #[cfg(not(unix))]
        return (Self { sender }, outlet);
    }

    /// The hub sleeps where `bell` wakes it.
    #[cfg(unix)]
    pub(crate) fn with_bell(self, bell: Arc<Bell>) -> Self {
        Self { bell: Some(bell), ..self }
    }

    /// A hub that has ended needs no news.
    pub(crate) fn send(&self, input: Input) {
        drop(self.sender.send(input));
        #[cfg(unix)]
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }
}

#[cfg(test)]
impl From<Sender<Input>> for Inbox {
    fn from(sender: Sender<Input>) -> Self {
        #[cfg(unix)]
        return Self { sender, bell: None };
        #[cfg(not(unix))]
        return Self { sender };
    }
}
