//! Group commit: threads that publish at the same time are stored by one of them, in one transaction.
//!
//! A thread that finds no leader leads: it waits for the store's connection, takes along whoever has lined up meanwhile,
//! and commits for all. Then it passes the lead to one of those who came during the commit. Nobody has a thread of its
//! own, and a thread that publishes alone never waits.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use celeriac_protocol::Publication;

use super::store::lock;
use crate::contract::TransportError;

type Answer = Result<usize, TransportError>;

/// See the module.
#[derive(Default)]
pub(crate) struct Line {
    state: Mutex<LineState>,
}

/// What the mutex guards.
#[derive(Default)]
pub(crate) struct LineState {
    led: bool,
    jobs: Vec<Arc<Job>>,
}

/// One thread's publications.
pub(crate) struct Job {
    pub(crate) batch: Vec<Publication>,
    turn: Mutex<Turn>,
    changed: Condvar,
}

enum Turn {
    Waiting,
    Lead,
    Done(Answer),
}

/// What became of a thread that wants to publish.
pub(crate) enum Entry<'l> {
    /// Another thread stored it, or failed to.
    Answered(Answer),
    /// It is to store its own and those of [`Lead::followers`].
    Lead(Lead<'l>),
}

/// The lead; passed on when dropped, also by a panic.
pub(crate) struct Lead<'l>(&'l Line);

impl Line {
    /// Lines up. Returns once this thread leads or has its answer.
    pub(crate) fn enter(&self, batch: &[Publication]) -> Entry<'_> {
        let mut state = lock(&self.state);
        if !state.led {
            state.led = true;
            return Entry::Lead(Lead(self));
        }
        let job = Arc::new(Job { batch: batch.to_vec(), turn: Mutex::new(Turn::Waiting), changed: Condvar::new() });
        state.jobs.push(Arc::clone(&job));
        drop(state);
        let mut turn = lock(&job.turn);
        loop {
            match std::mem::replace(&mut *turn, Turn::Waiting) {
                Turn::Waiting => turn = job.changed.wait(turn).unwrap_or_else(PoisonError::into_inner),
                Turn::Lead => return Entry::Lead(Lead(self)),
                Turn::Done(answer) => return Entry::Answered(answer),
            }
        }
    }

    /// For the fork handlers.
    pub(crate) fn hold(&'static self) -> MutexGuard<'static, LineState> {
        lock(&self.state)
    }
}

impl LineState {
    /// In a forked child: whoever stood here does not exist.
    pub(crate) fn forget_parent(&mut self) {
        *self = Self::default();
    }
}

impl Lead<'_> {
    /// Who has lined up until now. Each must be answered.
    pub(crate) fn followers(&self) -> Vec<Arc<Job>> {
        std::mem::take(&mut lock(&self.0.state).jobs)
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if state.jobs.is_empty() {
            state.led = false;
        } else {
            state.jobs.remove(0).tell(Turn::Lead);
        }
    }
}

impl Job {
    /// Lets its thread return.
    pub(crate) fn answer(&self, answer: Answer) {
        self.tell(Turn::Done(answer));
    }

    fn tell(&self, turn: Turn) {
        *lock(&self.turn) = turn;
        self.changed.notify_one();
    }
}
