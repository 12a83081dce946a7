//! The hub's thread: takes from the inbox, lets the engine decide, carries out what it says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use celeriac_engine::{ChildId, Cycle, Engine, Failure, Fatal, Notice as Said, Now, Stopping, Work};
use celeriac_transport::contract::{self, Consumer, Event, TransportError};
use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::Clock;
use crate::child::{Shared, Told};
use crate::hub::{HubStats, Published};
use crate::inbox::{Command, Input};
use crate::link::Link;
use crate::notices::{Notice, Notices};
#[cfg(unix)]
use crate::processes::pool::Pool;
use crate::running::Running;

/// Entries of the inbox that one turn takes at most, so that children are not starved by events.
const TURN: usize = 256;
#[cfg(unix)]
pub(crate) const INFO: u8 = 20;
pub(crate) const WARNING: u8 = 30;
pub(crate) const ERROR: u8 = 40;
const CRITICAL: u8 = 50;

/// Why the loop ended.
pub(crate) enum Ended {
    Asked,
    Fatal(String),
}

pub(crate) struct Loop {
    consumer: Box<dyn Consumer>,
    pub(crate) engine: Engine,
    pub(crate) inbox: Receiver<Input>,
    pub(crate) links: Vec<Link>,
    #[cfg(unix)]
    pub(crate) pool: Option<Pool>,
    #[cfg(unix)]
    pub(crate) zygote_spoke: bool,
    /// Why it stops, if nobody asked it to.
    pub(crate) failure: Option<String>,
    pub(crate) notices: Arc<Notices>,
    published: Arc<Published>,
    pub(crate) clock: Clock,
    told: Vec<Told>,
    looks: Vec<ChildId>,
    stats: HubStats,
    announced: bool,
    /// The transport was told to stop; it is the last thing to end.
    stopping_transport: bool,
    ended: Option<Ended>,
}

impl Loop {
    pub(crate) fn new(
        consumer: Box<dyn Consumer>,
        engine: Engine,
        inbox: Receiver<Input>,
        children: &[Arc<Shared>],
        notices: Arc<Notices>,
        published: Arc<Published>,
        clock: Clock,
    ) -> Self {
        Self {
            consumer,
            engine,
            inbox,
            links: children.iter().map(|shared| Link::new(Arc::clone(shared))).collect(),
            #[cfg(unix)]
            pool: None,
            #[cfg(unix)]
            zygote_spoke: false,
            failure: None,
            notices,
            published,
            clock,
            told: Vec::new(),
            looks: Vec::new(),
            stats: HubStats::default(),
            announced: false,
            stopping_transport: false,
            ended: None,
        }
    }

    #[cfg(unix)]
    pub(crate) fn with_pool(self, pool: Option<Pool>) -> Self {
        Self { pool, ..self }
    }

    pub(crate) fn run(mut self) {
        let (notices, published) = (Arc::clone(&self.notices), Arc::clone(&self.published));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while self.ended.is_none() {
                self.turn();
            }
        }));
        self.links.iter_mut().for_each(Link::close);
        let reason = match (outcome, self.ended.take()) {
            (Ok(()), Some(Ended::Fatal(why))) => {
                self.consumer.stop();
                self.consumer.join();
                Some(why)
            }
            (Ok(()), _) => {
                self.consumer.join();
                self.failure.take()
            }
            (Err(panic), _) => {
                // What is held and what runs cannot be trusted any more: leases run out when this process ends, and
                // no delivery is handed back while its task may still run here.
                std::mem::forget(self.consumer);
                let text = panic.downcast_ref::<&str>().map(ToString::to_string);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                Some(format!("the hub failed: {text}; deliveries that it held return when their leases run out"))
            }
        };
        if let Some(why) = &reason {
            notices.push(Notice::Log(CRITICAL, why.clone()));
        }
        notices.push(Notice::Stopped(reason));
        published.done.set();
    }

    /// Sleeps until something comes, and returns it if it came through the inbox.
    fn next_input(&mut self) -> Option<Input> {
        let wake = self.engine.next_wake_us();
        #[cfg(unix)]
        if self.pool.is_some() {
            self.sleep(wake);
            return self.inbox.try_recv().ok();
        }
        let came = match wake {
            Some(us) => match self.inbox.recv_deadline(self.clock.instant(us)) {
                Err(RecvTimeoutError::Timeout) => return None,
                came => came.ok(),
            },
            None => self.inbox.recv().ok(),
        };
        if came.is_none() {
            self.end(Ended::Fatal("nobody holds the hub".to_owned()));
        }
        came
    }

    fn turn(&mut self) {
        let first = self.next_input();
        if self.ended.is_some() {
            return;
        }
        let now = self.clock.now();
        let mut next = first;
        for _ in 0..TURN {
            let Some(input) = next else { break };
            self.handle(input, now);
            next = self.inbox.try_recv().ok();
        }
        if let Some(input) = next {
            self.handle(input, now);
        }
        #[cfg(unix)]
        self.tend(now);
        self.engine.tick(now);
        self.look(now);
        self.engine.dispatch(now);
        self.work(now);
        self.engine.dispatch(now); // what a recall brought back
        self.work(now);
        self.cycle(now);
        self.tell();
        self.finish();
        self.stats.turns += 1;
        self.stats.busy_us += self.clock.mono_ns() / 1000 - now.mono_us;
        self.stats.engine = self.engine.stats();
        *self.published.stats.lock().unwrap_or_else(PoisonError::into_inner) = self.stats;
    }

    pub(crate) fn end(&mut self, why: Ended) {
        self.ended.get_or_insert(why);
    }

    fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Event(event) => self.event(event, now),
            Input::Reports => {
                if let Some(link) = self.links.first() {
                    link.heard(); // before the outboxes are read
                }
                (0..self.links.len()).for_each(|child| self.reports(child, now));
            }
            Input::PortUp(child, door) => {
                if self.engine.stopping() == Stopping::No {
                    self.links[child].open(door);
                    self.engine.child_up(child);
                }
            }
            Input::PortDown(child) => self.port_down(child, now),
            Input::Command(command) => self.command(command, now),
        }
    }

    fn port_down(&mut self, child: ChildId, now: Now) {
        self.reports(child, now);
        if !self.links[child].has_port() {
            self.links[child].close();
            self.engine.child_down(child);
        }
        let tags = self.links[child].recall();
        self.engine.recalled(child, tags, now);
    }

    fn command(&mut self, command: Command, now: Now) {
        match command {
            Command::Revoke(ids) => self.engine.revoke(ids.iter().map(String::as_str), now),
            Command::SetConsuming(queue, on) => self.consumer.set_consuming(queue, on),
            Command::Stop(how) => {
                self.stop(how, now);
            }
            Command::Running(asked) => drop(asked.send(self.what_runs(now))),
            #[cfg(unix)]
            Command::Resize(width) => self.resize(width),
            #[cfg(unix)]
            Command::Restart => self.restart_children(now),
            #[cfg(not(unix))]
            Command::Resize(_) | Command::Restart => {}
            #[expect(clippy::panic, reason = "a test asks for it")]
            Command::Panic => panic!("asked for by a test"),
        }
    }

    pub(crate) fn stop(&mut self, how: Stopping, now: Now) {
        if how == Stopping::Cold {
            self.last_look(now);
        }
        #[cfg(unix)]
        self.stop_children(how == Stopping::Cold);
        self.engine.stop(how, now);
        self.work(now);
        self.links.iter_mut().for_each(Link::close);
    }

    fn what_runs(&self, now: Now) -> Vec<Running> {
        let found = self.links.iter().enumerate().filter_map(|(child, link)| {
            let (tag, since_us) = link.running()?;
            let delivery = Arc::clone(self.engine.delivery(tag)?);
            let run_us = now.mono_us.saturating_sub(since_us);
            Some(Running { child, pid: self.pid_of(child), delivery, run_us })
        });
        found.collect()
    }

    #[cfg(not(unix))]
    fn pid_of(&self, _child: ChildId) -> Option<i32> {
        None
    }

    /// Before a cold stop hands everything back: nothing starts any more, what runs counts as begun however short a time
    /// it does, and what has ended is heard. Else tasks that have run would go back to their queues and run again.
    fn last_look(&mut self, now: Now) {
        for child in 0..self.links.len() {
            let mut told = std::mem::take(&mut self.told);
            let (back, begun) = self.links[child].last_look(&mut told);
            self.engine.recalled(child, back, now);
            for tag in begun {
                self.engine.begun(tag, now);
            }
            self.hear(child, told, now);
        }
    }

    fn event(&mut self, event: Event, now: Now) {
        match event {
            Event::Deliveries(batch) => self.engine.deliveries(batch, now),
            Event::Cycled { id, lost } => {
                self.announce();
                self.engine.cycled(id, &lost);
            }
            Event::Failed { cycle, error } => self.failed(cycle, &error, now),
            Event::Lost(tags) => self.engine.lost(&tags, now),
            Event::Broadcast { exchange, routing_key, payload } => {
                self.notices.push(Notice::Broadcast { exchange, routing_key, payload });
            }
            Event::Down(error) => {
                self.engine.down();
                self.notices.push(Notice::Down(error.to_string()));
            }
            Event::Up => {
                self.engine.up();
                self.notices.push(Notice::Up);
                self.announce();
            }
            Event::Notice(text) => self.notices.push(Notice::Log(WARNING, text)),
            Event::Stopped if self.stopping_transport => self.end(Ended::Asked),
            Event::Stopped => self.end(Ended::Fatal("the transport has stopped by itself".to_owned())),
        }
    }

    fn announce(&mut self) {
        if !self.announced {
            self.announced = true;
            self.notices.push(Notice::Ready);
        }
    }

    fn failed(&mut self, cycle: contract::Cycle, error: &TransportError, now: Now) {
        let contract::Cycle { id, ends, results, publish, credit_total, started } = cycle;
        let cycle = Cycle { id, ends, results, publish, credit_total, started };
        let failure = match error {
            TransportError::Unavailable(_) | TransportError::Full(_) => Failure::Transient,
            TransportError::Refused(_) => Failure::Refused,
            TransportError::Config(_) | TransportError::Corrupt(_) => Failure::Permanent,
        };
        let why = error.to_string();
        self.notices.push(Notice::Log(WARNING, format!("a cycle of {} ends was not stored: {why}", cycle.ends.len())));
        if let Err(Fatal(why)) = self.engine.failed(cycle, failure, &why, now) {
            self.end(Ended::Fatal(why));
        }
    }

    pub(crate) fn reports(&mut self, child: ChildId, now: Now) {
        let mut told = std::mem::take(&mut self.told);
        self.links[child].reports(&mut told);
        self.hear(child, told, now);
    }

    fn hear(&mut self, child: ChildId, mut told: Vec<Told>, now: Now) {
        for one in told.drain(..) {
            match one {
                Told::End { report, .. } => self.engine.outcome(child, report, now),
                Told::Progress { tag, results } => self.engine.progress(tag, results),
                Told::Dropped { tag, started, .. } => self.engine.dropped(child, tag, started, now),
            }
        }
        self.told = told;
    }

    fn look(&mut self, now: Now) {
        let mut looks = std::mem::take(&mut self.looks);
        looks.clear();
        self.engine.looks_due(now, &mut looks);
        for &child in &looks {
            self.reports(child, now);
            let running = self.links[child].running();
            self.engine.looked(child, running, now);
        }
        self.looks = looks;
    }

    fn work(&mut self, now: Now) {
        while let Some(work) = self.engine.next_work() {
            match work {
                Work::Dispatch { child, batch } => {
                    let refused = self.links[child].send(batch);
                    if !refused.is_empty() {
                        self.engine.child_down(child); // its port is gone, and the news of it is on its way
                        self.engine.recalled(child, refused, now);
                    }
                }
                Work::Recall { child } => {
                    self.reports(child, now);
                    let tags = self.links[child].recall();
                    self.engine.recalled(child, tags, now);
                }
                #[cfg(unix)]
                Work::Interrupt { child, tag } => self.interrupt(child, tag),
                #[cfg(unix)]
                Work::Kill { child, tag, limit } => self.kill(child, tag, limit),
                #[cfg(unix)]
                Work::Retire { child } => self.retire(child, now),
                #[cfg(not(unix))]
                Work::Interrupt { .. } | Work::Kill { .. } | Work::Retire { .. } => {}
            }
        }
    }

    fn cycle(&mut self, now: Now) {
        if self.stopping_transport {
            return;
        }
        if let Some(Cycle { id, ends, results, publish, credit_total, started }) = self.engine.next_cycle(now) {
            self.consumer.submit(contract::Cycle { id, ends, results, publish, credit_total, started });
        }
    }

    fn tell(&mut self) {
        if !self.engine.has_notices() {
            return;
        }
        for said in self.engine.take_notices() {
            self.notices.push(match said {
                Said::Warning(text) => Notice::Log(WARNING, text),
                Said::Error(text) => Notice::Log(ERROR, text),
                Said::Received(delivery) => Notice::Received(delivery),
                Said::Unknown(delivery) => Notice::Unknown(delivery),
                Said::Revoked(delivery, verdict) => Notice::Revoked(delivery, verdict.word().unwrap_or("")),
                Said::Dead { delivery, reason, detail } => Notice::Dead { delivery, reason, detail },
            });
        }
    }

    fn finish(&mut self) {
        #[cfg(unix)]
        if self.pool.as_ref().is_some_and(|pool| !pool.all_gone()) {
            return;
        }
        if !self.stopping_transport && self.engine.is_drained() {
            self.stopping_transport = true;
            self.consumer.stop();
        }
    }
}
