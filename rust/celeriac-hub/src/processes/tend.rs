//! The hub's loop with child processes: one sleep for all that can happen, and what follows from it.

use celeriac_engine::{ChildId, Loss, Now, Stopping};
use celeriac_protocol::DeliveryTag;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use super::away::Away;
use super::exit::Exit;
use super::pool::{Killed, Pool, State};
use super::zygote::Word;
use crate::notices::{ChildNews, Notice};
use crate::run::{ERROR, Ended, INFO, Loop, WARNING};

impl Loop {
    /// Sleeps until something comes or it is `wake_us`; reads and writes what the sockets have and take.
    pub(crate) fn sleep(&mut self, wake_us: Option<u64>) {
        let Some(pool) = &self.pool else { return };
        let now_us = self.clock.now().mono_us;
        let wake_us = [wake_us, pool.next_wake_us(now_us)].into_iter().flatten().min();
        let mut timeout = wake_us.map(|at| std::time::Duration::from_micros(at.saturating_sub(now_us)));
        pool.bell.lie_down();
        if !self.inbox.is_empty() {
            timeout = Some(std::time::Duration::ZERO);
        }
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut children = Vec::with_capacity(self.links.len());
        let mut fds = Vec::with_capacity(self.links.len() + 3);
        fds.push(PollFd::new(&pool.bell, PollFlags::IN));
        for zygote in [&pool.zygote, &pool.standby].into_iter().flatten() {
            fds.push(PollFd::new(zygote, PollFlags::IN));
        }
        let zygotes = 1..fds.len();
        for (child, link) in self.links.iter_mut().enumerate() {
            let Some(away) = link.away().filter(|away| !away.ended) else { continue };
            let away: &Away = away;
            let events = if away.wants_to_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            fds.push(PollFd::from_borrowed_fd(away.socket(), events));
            children.push(child);
        }
        let found = rustix::event::poll(&mut fds, timeout.as_ref());
        pool.bell.get_up(found.is_ok() && !fds[0].revents().is_empty());
        if found.is_err() {
            return; // a signal: the next turn looks again
        }
        let spoke = fds[zygotes.clone()].iter().any(|fd| !fd.revents().is_empty());
        let ready: Vec<_> = children.into_iter().zip(fds[zygotes.end..].iter().map(PollFd::revents)).collect();
        drop(fds);
        self.zygote_spoke |= spoke;
        for (child, events) in ready {
            let Some(away) = self.links[child].away() else { continue };
            if events.contains(PollFlags::OUT) {
                away.write();
            }
            if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                away.read();
            }
        }
    }

    /// Hears what children and zygotes say, and sees to it that there are as many children as there should be.
    pub(crate) fn tend(&mut self, now: Now) {
        if self.pool.is_none() {
            return;
        }
        if std::mem::take(&mut self.zygote_spoke) {
            self.hear_zygotes(now);
        }
        for child in 0..self.links.len() {
            self.reports(child, now);
            self.greet(child, now);
            self.check_memory(child, now);
        }
        if let Some(pool) = &mut self.pool {
            pool.reap_zygotes();
            pool.stand_by(now.mono_us);
        }
        self.bury(now);
        self.see_to_telling(now);
        self.see_off(now);
        self.start_children(now);
    }

    fn greet(&mut self, child: ChildId, now: Now) {
        let Some(pool) = &mut self.pool else { return };
        let Some(pid) = self.links[child].away().and_then(|away| away.greeted) else { return };
        if !pool.greeted(child, pid, now.mono_us) {
            return;
        }
        let tells = pool.places[child].tells && self.engine.has_to_tell();
        if self.engine.stopping() != Stopping::No && !tells {
            self.links[child].close();
            return;
        }
        let max_tasks = pool.max_tasks.filter(|_| !tells);
        self.notices.push(Notice::Child(ChildNews::Up { child, pid }));
        self.engine.child_up_for(child, max_tasks);
    }

    fn check_memory(&mut self, child: ChildId, now: Now) {
        let Some(pool) = &mut self.pool else { return };
        let Some(most) = pool.max_memory_kib else { return };
        if pool.places[child].state != State::Up {
            return;
        }
        let Some(away) = self.links[child].away() else { return };
        let kib = away.page().resident_kib.load(std::sync::atomic::Ordering::Relaxed);
        if kib > most {
            let text = format!("child process exiting after exceeding memory limit ({kib}KiB / {most}KiB)");
            self.notices.push(Notice::Log(WARNING, text));
            self.retire_at_once(child, now);
        }
    }

    /// It gets no more tasks, and ends after those that it has. A successor is started now.
    pub(crate) fn retire(&mut self, child: ChildId, now: Now) {
        let Some(pool) = &mut self.pool else { return };
        pool.retire(child, now.mono_us);
        self.engine.child_down(child);
    }

    /// The same, but what it has not started goes to others.
    fn retire_at_once(&mut self, child: ChildId, now: Now) {
        self.retire(child, now);
        let tags = self.links[child].recall();
        self.engine.recalled(child, tags, now);
    }

    fn hear_zygotes(&mut self, now: Now) {
        let Some(pool) = &mut self.pool else { return };
        let mut words = Vec::new();
        let lives = pool.zygote.as_mut().is_none_or(|zygote| zygote.listen(&mut words));
        let stands_by = pool.standby.as_mut().is_none_or(|zygote| zygote.listen(&mut words));
        for word in words {
            if let Word::Refused(0, error) = word {
                pool.no_standby(now.mono_us);
                let text = format!("cannot start a zygote that stands by: {}", Exit::Refused(error).words());
                self.notices.push(Notice::Log(WARNING, text));
            }
            pool.hear(word);
        }
        if !stands_by {
            pool.lose_standby();
        }
        if !lives {
            self.succeed_zygote("was killed", now);
        }
    }

    /// The zygote that worked is lost.
    fn succeed_zygote(&mut self, how: &str, now: Now) {
        let Some(pool) = &mut self.pool else { return };
        if pool.succeed() {
            let text = format!("the zygote, from which child processes come, {how}: the one that stood by took over");
            self.notices.push(Notice::Log(WARNING, text));
        } else if !pool.closing {
            let text = format!(
                "the zygote, from which child processes come, {how}, and none stands by: no child process can be \
                 started any more, so the worker ends when what runs has ended"
            );
            self.notices.push(Notice::Log(ERROR, text));
            self.failure = Some("its zygotes, from which child processes come, are gone".to_owned());
            self.stop(Stopping::Warm, now);
        }
    }

    /// Children that have ended: what they had told is heard, what they had is lost or goes to others.
    fn bury(&mut self, now: Now) {
        for child in 0..self.links.len() {
            let Some(pool) = &mut self.pool else { return };
            let place = &mut pool.places[child];
            let deaf = self.links[child].away().is_some_and(|away| away.ended);
            if deaf && place.exit.is_none() && place.state != State::Vacant {
                place.is_deaf(now.mono_us, pool.patience_us);
            }
            if let Some(exit) = place.exit {
                self.bury_one(child, exit, now);
            }
        }
    }

    fn bury_one(&mut self, child: ChildId, exit: Exit, now: Now) {
        while self.links[child].away().is_some_and(Away::read) {}
        self.reports(child, now);
        let running = self.links[child].begun();
        let Some(pool) = &mut self.pool else { return };
        let place = &mut pool.places[child];
        let (pid, state, killed) = (place.pid.unwrap_or_default(), place.state, place.killed.take());
        let how = exit.words();
        let expected = state == State::Retiring || pool.closing;
        let (text, loss) = match &killed {
            Some(Killed::Limit(limit)) => (None, Loss::TimeLimit(limit.clone())),
            Some(Killed::Cold) => (None, Loss::Died(how.clone())),
            Some(Killed::Slow) if state == State::Starting => (
                Some(format!("child process {pid} did not start in time (worker_proc_alive_timeout): killed")),
                Loss::Died(how.clone()),
            ),
            Some(Killed::Slow) => (
                Some(format!("child process {pid} did not end in time (worker_proc_alive_timeout): killed")),
                Loss::Died(how.clone()),
            ),
            Some(Killed::Deaf) | None if expected && running.is_none() && exit.is_success() => {
                (None, Loss::Died(how.clone()))
            }
            None if matches!(exit, Exit::Refused(_)) => {
                (Some(format!("cannot start a child process: {how}")), Loss::Died(how.clone()))
            }
            Some(Killed::Deaf) | None => (
                Some(format!("child process {pid} exited prematurely: {how}{}", self.engine_name(running))),
                Loss::Died(how.clone()),
            ),
        };
        if let Some(text) = text {
            self.notices.push(Notice::Log(ERROR, text));
        }
        self.engine.child_lost(child, running, &loss, now);
        self.links[child].vacate();
        self.notices.push(Notice::Child(ChildNews::Down { child, pid, status: exit.status() }));
        let fatal = self.pool.as_mut().and_then(|pool| pool.vacate(child, &how, now.mono_us));
        if let Some(why) = fatal {
            self.end(Ended::Fatal(why));
        }
    }

    fn engine_name(&self, running: Option<DeliveryTag>) -> String {
        let Some(delivery) = running.and_then(|tag| self.engine.delivery(tag)) else { return String::new() };
        let message = &delivery.message;
        let Ok(head) = &message.head else { return String::new() };
        format!(", while it ran {}[{}]", message.text(&head.task), message.text(&head.id))
    }

    /// In a warm stop: whether a child is needed that tells of those that died with their tasks, and can be had.
    fn see_to_telling(&mut self, now: Now) {
        let Some(pool) = &mut self.pool else { return };
        pool.untold = self.engine.has_to_tell();
        if pool.untold && !pool.can_tell() {
            self.engine.leave_untold(now);
            pool.untold = false;
        }
    }

    /// Retiring children that have nothing to do any more are told to end; slow ones are killed.
    fn see_off(&mut self, now: Now) {
        while let Some(child) = self.pool.as_ref().and_then(Pool::superfluous) {
            self.retire_at_once(child, now);
        }
        let Some(pool) = &mut self.pool else { return };
        for (child, place) in pool.places.iter_mut().enumerate() {
            let awaited = place.tells && pool.untold;
            let leaves = place.state == State::Retiring || (pool.closing && place.state != State::Vacant && !awaited);
            if leaves && place.closed_us.is_none() && self.links[child].is_idle() {
                self.links[child].close();
                place.closed_us = Some(now.mono_us);
            }
        }
        if !pool.reap_slow(now.mono_us) {
            self.succeed_zygote("does not answer", now);
        }
    }

    fn start_children(&mut self, now: Now) {
        loop {
            let Some(pool) = &mut self.pool else { return };
            let Some(child) = pool.due(now.mono_us) else { return };
            if child >= self.links.len() {
                self.links.push(crate::link::Link::vacant());
                self.engine.add_child();
            }
            let number = pool.places[child].number;
            let index = u32::try_from(child + 1).unwrap_or_default();
            let asked = Away::create(&self.clock).and_then(|(away, kit)| {
                let zygote = pool.zygote.as_ref().ok_or(std::io::ErrorKind::NotConnected)?;
                zygote.fork_child(number, index, &kit)?;
                Ok(away)
            });
            match asked {
                Ok(away) => self.links[child].occupy(away),
                Err(error) => {
                    self.notices.push(Notice::Log(ERROR, format!("cannot start a child process: {error}")));
                    if let Some(why) = pool.vacate(child, &error.to_string(), now.mono_us) {
                        self.end(Ended::Fatal(why));
                    }
                    return;
                }
            }
        }
    }

    /// The soft limit of its task is over.
    pub(crate) fn interrupt(&mut self, child: ChildId, tag: DeliveryTag) {
        let Some(pool) = &self.pool else { return };
        if self.links[child].limit(tag) {
            pool.places[child].signal(Signal::USR1, false);
        }
    }

    /// The hard limit of its task is over.
    pub(crate) fn kill(&mut self, child: ChildId, tag: DeliveryTag, limit: String) {
        let Some(pool) = &mut self.pool else { return };
        if self.links[child].begun() == Some(tag) {
            pool.places[child].kill(Killed::Limit(limit));
        }
    }

    /// Before a stop. Cold: what runs is not waited for.
    pub(crate) fn stop_children(&mut self, cold: bool) {
        let Some(pool) = &mut self.pool else { return };
        pool.closing = true;
        if cold {
            pool.places.iter_mut().for_each(|place| place.kill(Killed::Cold));
        }
    }

    pub(crate) fn resize(&mut self, width: usize) {
        if let Some(pool) = &mut self.pool {
            pool.width = width;
        }
    }

    pub(crate) fn restart_children(&mut self, now: Now) {
        let count = self.pool.as_ref().map_or(0, |pool| pool.places.len());
        for child in 0..count {
            self.retire_at_once(child, now);
        }
        self.notices.push(Notice::Log(INFO, format!("{count} child processes are replaced")));
    }

    pub(crate) fn pid_of(&self, child: ChildId) -> Option<i32> {
        self.pool.as_ref().and_then(|pool| pool.places.get(child)?.pid)
    }
}
