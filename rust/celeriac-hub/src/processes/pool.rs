//! Which child processes there are, and when another is due. Decides; `tend` carries out.
//!
//! A *place* is a child's number in the engine; a process that retires keeps its place until it has ended, while its
//! successor has another, so there are more places than processes are wanted.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use celeriac_engine::ChildId;
use celeriac_transport::bell::Bell;
use rustix::process::{Pid, Signal};

use super::exit::Exit;
use super::zygote::{Word, Zygote, reaped};

/// Children in a row that may die before they can take a task; then the worker gives up, unless another one serves.
const MOST_FAILURES: u32 = 6;
const FIRST_PAUSE_US: u64 = 100_000;
const LONGEST_PAUSE_US: u64 = 2_000_000;
/// Between two attempts to have a zygote that stands by.
const STANDBY_US: u64 = 1_000_000;
/// Children that may die before they could tell, in a warm stop, of those that died with their tasks.
const MOST_TELLERS: u32 = 3;
/// A process's sockets are closed a moment before it can be reaped.
const REAP_US: u64 = 5_000;

/// What the hub needs to have child processes.
#[derive(Debug)]
pub struct ProcessConfig {
    /// Sockets and pids of zygotes, children of this process: the first works, the second stands by.
    pub zygotes: Vec<(OwnedFd, i32)>,
    /// How many children.
    pub width: usize,
    /// Tasks after which a child is replaced.
    pub max_tasks: Option<u64>,
    /// Memory beyond which a child is replaced, in KiB.
    pub max_memory_kib: Option<u64>,
    /// How long a zygote may take to make a child, and a child to end when it has nothing to do.
    pub patience_us: u64,
    /// How long a child may take until it takes tasks.
    pub start_patience_us: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Vacant,
    /// Asked for, and not heard of yet.
    Starting,
    Up,
    /// It ends when it has done what it has.
    Retiring,
}

/// Why the hub killed a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Killed {
    /// Its task ran for longer than it may: the limit.
    Limit(String),
    /// It did not start, or did not end, in time.
    Slow,
    /// A cold stop.
    Cold,
    /// What it said made no sense, or it had closed its socket.
    Deaf,
}

#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) state: State,
    /// Under which it was asked for.
    pub(crate) number: u32,
    pub(crate) pid: Option<i32>,
    /// When its state began, in µs.
    pub(crate) since_us: u64,
    pub(crate) killed: Option<Killed>,
    pub(crate) exit: Option<Exit>,
    /// The zygote that it came from is gone: nobody will tell how it ends.
    pub(crate) orphan: bool,
    /// Its socket has ended, and with it the process, since then.
    pub(crate) deaf_us: Option<u64>,
    /// Its socket was closed as it retires and is idle, at that time.
    pub(crate) closed_us: Option<u64>,
    /// It was started while the pool closes, to tell of tasks that died with their child. It runs none.
    pub(crate) tells: bool,
}

impl Place {
    fn vacant() -> Self {
        let state = State::Vacant;
        Self {
            state,
            number: 0,
            pid: None,
            since_us: 0,
            killed: None,
            exit: None,
            orphan: false,
            deaf_us: None,
            closed_us: None,
            tells: false,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state != State::Vacant && self.exit.is_none()
    }

    /// Its socket has ended. It has, too, or will by this.
    ///
    /// Its zygote tells how it ended; if that is gone, or stopped for as long as `patience_us`, nobody does.
    pub(crate) fn is_deaf(&mut self, now_us: u64, patience_us: u64) {
        let since_us = *self.deaf_us.get_or_insert(now_us);
        self.kill(Killed::Deaf);
        if self.orphan || now_us >= since_us + patience_us {
            self.exit = Some(Exit::Unknown);
        }
    }

    /// Kills it, with whatever processes its task has started. The first reason stays.
    pub(crate) fn kill(&mut self, why: Killed) {
        if self.is_live() {
            self.killed.get_or_insert(why);
            self.signal(Signal::KILL, true);
        }
    }

    pub(crate) fn signal(&self, signal: Signal, group: bool) {
        let Some(pid) = self.pid.filter(|_| self.is_live()).and_then(Pid::from_raw) else { return };
        if group {
            rustix::process::kill_process_group(pid, signal).ok();
        }
        rustix::process::kill_process(pid, signal).ok(); // its group may not have been made yet
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) bell: Arc<Bell>,
    pub(crate) places: Vec<Place>,
    pub(crate) zygote: Option<Zygote>,
    pub(crate) standby: Option<Zygote>,
    no_standby_before_us: u64,
    /// Zygotes that are let go of, until they are reaped.
    ending: Vec<Pid>,
    pub(crate) width: usize,
    pub(crate) max_tasks: Option<u64>,
    pub(crate) max_memory_kib: Option<u64>,
    pub(crate) patience_us: u64,
    start_patience_us: u64,
    last_number: u32,
    failures: u32,
    not_before_us: u64,
    /// No new children, but one at a time that tells.
    pub(crate) closing: bool,
    /// There is something to tell while the pool closes.
    pub(crate) untold: bool,
    tellers_lost: u32,
}

impl Pool {
    pub(crate) fn new(config: ProcessConfig, bell: Arc<Bell>) -> Self {
        let mut zygotes = config.zygotes.into_iter().map(|(socket, pid)| Zygote::new(socket, pid));
        Self {
            bell,
            places: Vec::new(),
            zygote: zygotes.next(),
            standby: zygotes.next(),
            no_standby_before_us: 0,
            ending: Vec::new(),
            width: config.width,
            max_tasks: config.max_tasks,
            max_memory_kib: config.max_memory_kib,
            patience_us: config.patience_us,
            start_patience_us: config.start_patience_us,
            last_number: 0,
            failures: 0,
            not_before_us: 0,
            closing: false,
            untold: false,
            tellers_lost: 0,
        }
    }

    /// A place for a new child, if one is due. It counts as starting from now on.
    pub(crate) fn due(&mut self, now_us: u64) -> Option<ChildId> {
        if !self.is_short() || now_us < self.not_before_us {
            return None;
        }
        let found = self.places.iter().position(|place| place.state == State::Vacant);
        let child = found.unwrap_or_else(|| {
            self.places.push(Place::vacant());
            self.places.len() - 1
        });
        self.last_number += 1;
        let number = self.last_number;
        let tells = self.closing;
        self.places[child] = Place { state: State::Starting, number, since_us: now_us, tells, ..Place::vacant() };
        Some(child)
    }

    fn is_short(&self) -> bool {
        let tells = |place: &Place| place.tells && place.state != State::Vacant && place.closed_us.is_none();
        let short =
            if self.closing { self.untold && !self.places.iter().any(tells) } else { self.serving() < self.width };
        short && self.zygote.is_some()
    }

    /// A child can be started to tell.
    pub(crate) fn can_tell(&self) -> bool {
        self.zygote.is_some() && self.tellers_lost < MOST_TELLERS
    }

    fn serving(&self) -> usize {
        self.places.iter().filter(|place| matches!(place.state, State::Starting | State::Up)).count()
    }

    /// A child to be retired as there are more than wanted; the last one first.
    pub(crate) fn superfluous(&self) -> Option<ChildId> {
        if self.closing || self.serving() <= self.width {
            return None;
        }
        self.places.iter().rposition(|place| place.state == State::Up)
    }

    pub(crate) fn retire(&mut self, child: ChildId, now_us: u64) {
        let place = &mut self.places[child];
        if matches!(place.state, State::Starting | State::Up) {
            place.state = State::Retiring;
            place.since_us = now_us;
        }
    }

    /// It can take tasks. True if this is news.
    pub(crate) fn greeted(&mut self, child: ChildId, pid: i32, now_us: u64) -> bool {
        let place = &mut self.places[child];
        place.pid.get_or_insert(pid); // the zygote may be gone, or slower
        if place.state != State::Starting {
            return false;
        }
        place.state = State::Up;
        place.since_us = now_us;
        self.failures = 0;
        true
    }

    /// Takes note of what a zygote said.
    pub(crate) fn hear(&mut self, word: Word) {
        match word {
            Word::Forked(number, pid) => {
                if let Some(place) = self.places.iter_mut().find(|place| place.number == number && place.is_live()) {
                    place.pid = Some(pid);
                    if place.killed.is_some() {
                        place.signal(Signal::KILL, true); // it had no pid then
                    }
                }
            }
            Word::Refused(number, error) => {
                if let Some(place) = self.places.iter_mut().find(|place| place.number == number && place.is_live()) {
                    place.exit = Some(Exit::Refused(error));
                }
            }
            Word::Exited(pid, status) => {
                if let Some(place) = self.places.iter_mut().find(|place| place.pid == Some(pid) && place.is_live()) {
                    place.exit = Some(Exit::Status(status));
                }
            }
        }
    }

    /// The working zygote is gone; the other takes over. False: there is none. A child that was asked for may have been
    /// made: its socket tells, by a greeting or by its end.
    pub(crate) fn succeed(&mut self) -> bool {
        for place in &mut self.places {
            place.orphan |= place.is_live();
        }
        let lost = std::mem::replace(&mut self.zygote, self.standby.take());
        self.let_go(lost);
        self.zygote.is_some()
    }

    /// The one that stood by is gone.
    pub(crate) fn lose_standby(&mut self) {
        let lost = self.standby.take();
        self.let_go(lost);
    }

    /// There can be none now.
    pub(crate) fn no_standby(&mut self, now_us: u64) {
        self.no_standby_before_us = now_us + STANDBY_US;
    }

    /// Has the zygote that works fork one that stands by, if none does; after a pause if it has just said that it cannot.
    pub(crate) fn stand_by(&mut self, now_us: u64) {
        if self.standby.is_none()
            && !self.closing
            && now_us >= self.no_standby_before_us
            && let Some(zygote) = &self.zygote
        {
            self.standby = zygote.fork_zygote().ok();
        }
    }

    fn let_go(&mut self, zygote: Option<Zygote>) {
        self.ending.extend(zygote.and_then(Zygote::let_go));
    }

    /// Reaps zygotes that are let go of and have ended.
    pub(crate) fn reap_zygotes(&mut self) {
        self.ending.retain(|pid| !reaped(*pid));
    }

    /// The child is gone. Returns why the worker must end, if it must.
    pub(crate) fn vacate(&mut self, child: ChildId, how: &str, now_us: u64) -> Option<String> {
        let place = std::mem::replace(&mut self.places[child], Place::vacant());
        if place.tells && place.closed_us.is_none() {
            self.tellers_lost += 1;
            self.pause(self.tellers_lost, now_us);
        }
        if place.state != State::Starting || self.closing {
            return None;
        }
        self.failures += 1;
        self.pause(self.failures, now_us);
        let serves = self.places.iter().any(|place| place.state == State::Up);
        (self.failures >= MOST_FAILURES && !serves).then(|| {
            format!(
                "{MOST_FAILURES} child processes in a row died before they could take a task, the last with {how}: see what \
                 they logged; an import or a receiver of worker_process_init may have failed"
            )
        })
    }

    /// After so many failures the next child is not due at once.
    fn pause(&mut self, failures: u32, now_us: u64) {
        let pause = FIRST_PAUSE_US << failures.saturating_sub(1).min(8);
        self.not_before_us = now_us + pause.min(LONGEST_PAUSE_US);
    }

    /// Kills those that take too long to start, or to end. False: one was asked for and never made, so the zygote that
    /// works does not.
    pub(crate) fn reap_slow(&mut self, now_us: u64) -> bool {
        let is_slow = |place: &Place| {
            place.is_live() && place.killed.is_none() && self.slow_us(place).is_some_and(|at| now_us >= at)
        };
        let slow: Vec<ChildId> =
            self.places.iter().enumerate().filter(|(_, place)| is_slow(place)).map(|(child, _)| child).collect();
        let mut answers = true;
        for child in slow {
            let place = &mut self.places[child];
            place.kill(Killed::Slow);
            if place.pid.is_none() {
                place.exit = Some(Exit::Unknown);
                answers = false;
            }
        }
        answers
    }

    /// When it will have taken too long to start, or to end.
    fn slow_us(&self, place: &Place) -> Option<u64> {
        match place.state {
            State::Starting if place.pid.is_some() => Some(place.since_us + self.start_patience_us),
            State::Starting => Some(place.since_us + self.patience_us),
            _ => place.closed_us.map(|at| at + self.patience_us),
        }
    }

    /// When to look again, if nothing comes.
    pub(crate) fn next_wake_us(&self, now_us: u64) -> Option<u64> {
        if self.places.iter().any(|place| place.exit.is_some()) {
            return Some(now_us); // to be buried
        }
        let waits = self.places.iter().filter(|place| place.is_live() && place.killed.is_none());
        let patience = waits.filter_map(|place| self.slow_us(place));
        let deaf = self.places.iter().filter(|place| place.is_live());
        let deaf = deaf.filter_map(|place| place.deaf_us.map(|at| at + self.patience_us));
        let ending = (!self.ending.is_empty()).then_some(now_us + REAP_US);
        let standby = (!self.closing && self.standby.is_none() && self.zygote.is_some())
            .then(|| self.no_standby_before_us.max(now_us));
        patience
            .chain(ending)
            .chain(standby)
            .chain(deaf)
            .chain(self.is_short().then(|| self.not_before_us.max(now_us)))
            .min()
    }

    pub(crate) fn all_gone(&self) -> bool {
        self.places.iter().all(|place| place.state == State::Vacant)
    }
}
