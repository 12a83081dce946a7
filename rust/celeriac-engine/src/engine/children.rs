//! Children: what each has in hand, what the hub sees of it, and what becomes of its tasks when it dies.

use celeriac_protocol::delivery::reasons;
use celeriac_protocol::{DeliveryTag, End, Settlement};

use super::careful::Careful;
use super::dispatch::LOOK_US;
use super::{ChildId, Engine, Held, Loss, Place, Stopping, Work};
use crate::hash::TagMap;
use crate::outcome::{Outcome, settlement};
use crate::{Now, Verdict};

/// A task that has run for so long is acked, if it is to be acked early, or named as begun. Shorter ones are settled
/// with their result, in one step.
const BEGUN_US: u64 = 1_000;
/// A task that has run for so long gets nothing queued behind it: that goes back to the ready queue.
const RECALL_US: u64 = 10_000;
/// A task that has run for so long on every child makes an adaptive window give back what other workers could run.
const LONG_US: u64 = 50_000;
/// Longest pause between two looks at a child that has tasks it has not started.
const SLOWEST_LOOK_US: u64 = 32_000;

/// A child process that has had tasks for so long without starting one is stopped, or stuck in what comes before a task:
/// others get what it has, and it gets nothing for as long.
const QUIET_US: u64 = 250_000;

/// A task that a child has in hand, whether or not its delivery is still ours.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) share_us: u64,
    /// Once its delivery is not ours any more: its limits hold all the same, or the child would never be free again.
    pub(super) orphan: Option<Box<Held>>,
}

impl Job {
    pub(super) fn new(share_us: u64) -> Self {
        Self { share_us, orphan: None }
    }
}

#[derive(Debug, Default)]
pub(super) struct Child {
    pub(super) up: bool,
    pub(super) jobs: TagMap<DeliveryTag, Job>,
    /// Expected work of `jobs`.
    pub(super) work_us: u64,
    pub(super) next_look_us: Option<u64>,
    look_step_us: u64,
    recall_wanted: bool,
    /// It runs this task for [`LONG_US`] or more.
    stuck_in: Option<DeliveryTag>,
    /// Since then it has tasks and runs none.
    quiet_since_us: Option<u64>,
    /// Until then it gets nothing; 0: it is not avoided.
    pub(super) avoided_until_us: u64,
    /// It gets nothing but this.
    pub(super) careful: Option<Careful>,
    /// Tasks that it may still be given; `None` for no limit.
    budget: Option<u64>,
    /// The task that was interrupted.
    pub(super) interrupted: Option<DeliveryTag>,
    /// The task that it is to be killed for.
    pub(super) killed_for: Option<DeliveryTag>,
}

impl Child {
    pub(super) fn look_after(&mut self, step_us: u64, now: Now) {
        self.look_step_us = step_us;
        self.next_look_us = Some(now.mono_us + step_us);
    }

    /// Something ended: it is alive, so the next look can wait.
    pub(super) fn look_after_outcome(&mut self, now: Now) {
        self.quiet_since_us = None;
        if self.avoided_until_us > 0 {
            (self.avoided_until_us, self.next_look_us) = (0, None);
        }
        if !self.jobs.is_empty() {
            self.look_after(LOOK_US, now);
        }
    }

    /// It has run `tag` for so long, so it has at least as much in hand: nothing is queued behind a long task.
    fn runs_for(&mut self, tag: DeliveryTag, run_us: u64) {
        if let Some(job) = self.jobs.get_mut(&tag)
            && job.share_us < run_us
        {
            self.work_us += run_us - job.share_us;
            job.share_us = run_us;
        }
    }

    /// It is given `tag`. It takes no more if that was the last that it may have.
    pub(super) fn take(&mut self, tag: DeliveryTag, job: Job) {
        self.work_us += job.share_us;
        self.jobs.insert(tag, job);
        if let Some(budget) = &mut self.budget {
            *budget = budget.saturating_sub(1);
            self.up = *budget > 0;
        }
    }

    /// It has `tag` no longer.
    pub(super) fn done(&mut self, tag: DeliveryTag) -> bool {
        let Some(job) = self.jobs.remove(&tag) else { return false };
        self.work_us -= job.share_us;
        self.stuck_in = self.stuck_in.filter(|stuck| *stuck != tag);
        self.careful = self.careful.filter(|careful| !careful.is_of(tag));
        if self.jobs.is_empty() {
            self.quiet_since_us = None;
            self.next_look_us = Some(self.avoided_until_us).filter(|at| *at > 0);
        }
        true
    }
}

impl Engine {
    /// A child can take tasks.
    pub fn child_up(&mut self, child: ChildId) {
        self.child_up_for(child, None);
    }

    /// A child can take so many tasks.
    pub fn child_up_for(&mut self, child: ChildId, budget: Option<u64>) {
        if let Some(state) = self.children.get_mut(child) {
            state.up = true;
            state.budget = budget;
        }
    }

    /// One more child, which is not up yet.
    pub fn add_child(&mut self) -> ChildId {
        self.children.push(Child::default());
        self.children.len() - 1
    }

    /// A child takes no more tasks; what it runs goes on.
    pub fn child_down(&mut self, child: ChildId) {
        if let Some(state) = self.children.get_mut(child) {
            state.up = false;
            self.unname_on(child);
        }
    }

    /// Children whose page is to be looked at now, for [`Engine::looked`].
    pub fn looks_due(&self, now: Now, due: &mut Vec<ChildId>) {
        let is_due = |child: &Child| child.next_look_us.is_some_and(|at| at <= now.mono_us);
        due.extend(self.children.iter().enumerate().filter(|(_, child)| is_due(child)).map(|(id, _)| id));
    }

    /// What a look at a child's page showed: the task it runs and since when (µs, monotonic).
    pub fn looked(&mut self, child: ChildId, running: Option<(DeliveryTag, u64)>, now: Now) {
        let others = self.children[child].jobs.len().saturating_sub(1);
        let Some((tag, since_us)) = running else {
            let state = &mut self.children[child];
            state.next_look_us = None;
            if state.avoided_until_us <= now.mono_us {
                state.avoided_until_us = 0;
            }
            if !state.jobs.is_empty() {
                let quiet_us = now.mono_us - *state.quiet_since_us.get_or_insert(now.mono_us);
                if self.limits && quiet_us >= QUIET_US {
                    state.quiet_since_us = None;
                    state.avoided_until_us = now.mono_us + QUIET_US;
                    state.next_look_us = Some(state.avoided_until_us);
                    self.want_recall(child);
                    return;
                }
                state.look_after((state.look_step_us * 2).clamp(LOOK_US, SLOWEST_LOOK_US), now);
            }
            return;
        };
        self.children[child].quiet_since_us = None;
        let run_us = now.mono_us.saturating_sub(since_us);
        let row = self.ledger.get(tag).and_then(|held| held.task);
        self.tasks.at_least(row, run_us.saturating_mul(1000));
        let mut look_again = false;
        let late = self.ledger.get(tag).filter(|held| !held.begun).map(|held| self.tasks.policy(held.task).acks_late);
        match late {
            Some(_) if run_us < BEGUN_US => look_again = true,
            Some(false) => self.ack_early(tag, now),
            Some(true) => self.name_as_begun(tag),
            None => {}
        }
        if others > 0 {
            if run_us >= RECALL_US {
                self.want_recall(child);
            } else {
                look_again = true;
            }
        }
        let limit_us = if self.limits { self.keep_limits(child, tag, run_us) } else { None };
        let mut pause_us = LOOK_US;
        if !look_again && self.gives_back() {
            if run_us >= LONG_US {
                self.children[child].stuck_in = Some(tag);
                self.give_back(run_us, now);
            } else {
                (look_again, pause_us) = (true, LONG_US - run_us);
            }
        }
        let state = &mut self.children[child];
        state.runs_for(tag, run_us);
        state.next_look_us = None;
        if look_again {
            state.look_after(pause_us.min(limit_us.unwrap_or(pause_us)), now);
        } else if let Some(limit_us) = limit_us {
            state.look_after(limit_us, now);
        }
    }

    fn gives_back(&self) -> bool {
        self.stopping == Stopping::No && self.window.excess(usize::MAX, 1, None) > 0
    }

    /// If every child is stuck, the window shrinks to what tasks this long call for, and ready deliveries beyond it go
    /// to the head of their queue, the last one first. While one child moves on, they are better off here.
    fn give_back(&mut self, run_us: u64, now: Now) {
        if self.children.iter().any(|child| child.up && child.stuck_in.is_none()) {
            return;
        }
        self.tasks.long(run_us.saturating_mul(1000));
        let expected = self.tasks.overall.expected_us();
        let ready = self.ready.len() + self.careful.len();
        for _ in 0..self.window.excess(ready, self.children_up(), expected) {
            let Some(tag) = self.pop_last() else { break };
            self.hand_back(tag, now);
        }
    }

    /// A task has started, and will not be seen to end: with early acknowledgement its message must not come back.
    pub fn begun(&mut self, tag: DeliveryTag, now: Now) {
        let early = |held: &Held| !held.begun && !self.tasks.policy(held.task).acks_late;
        if self.ledger.get(tag).is_some_and(early) {
            self.ack_early(tag, now);
        }
    }

    fn name_as_begun(&mut self, tag: DeliveryTag) {
        if let Some(held) = self.ledger.get_mut(tag) {
            held.begun = true;
            self.pending.started.push(tag);
        }
    }

    fn ack_early(&mut self, tag: DeliveryTag, now: Now) {
        let Ok(settled) = self.ledger.settle(tag, now) else { return };
        self.count(&Settlement::Ack);
        self.pending.push(End { tag, settlement: Settlement::Ack, results: Vec::new(), publish: Vec::new() });
        self.acked.insert(tag, settled.item);
    }

    /// Its delivery is lost, but the child that has it may run it to its end.
    pub(super) fn orphan(&mut self, tag: DeliveryTag, held: Held) {
        if let Place::Child(child) = held.place
            && let Some(job) = self.children[child].jobs.get_mut(&tag)
        {
            job.orphan = Some(Box::new(held));
            self.want_recall(child);
        }
    }

    pub(super) fn want_recall(&mut self, child: ChildId) {
        let state = &mut self.children[child];
        if !state.recall_wanted {
            state.recall_wanted = true;
            self.work.push_back(Work::Recall { child });
        }
    }

    /// The answer to [`Work::Recall`]: these were not started and never will be by that child.
    pub fn recalled(&mut self, child: ChildId, mut tags: Vec<DeliveryTag>, now: Now) {
        self.children[child].recall_wanted = false;
        tags.sort_unstable();
        for tag in tags.into_iter().rev() {
            if self.children[child].done(tag) {
                if let Some(budget) = &mut self.children[child].budget {
                    *budget += 1;
                }
                self.stats.recalled += 1;
                self.back_in_line(tag, now);
            }
        }
    }

    /// A task that no child has any more, and that was not started: next in line, or back to the broker when stopping.
    pub(super) fn back_in_line(&mut self, tag: DeliveryTag, now: Now) {
        if self.stopping == Stopping::No || self.is_to_be_told(tag) {
            self.line_up(tag, true);
        } else {
            self.let_go(tag, now);
        }
    }

    /// A child dropped a task: it will neither start nor end it.
    pub fn dropped(&mut self, child: ChildId, tag: DeliveryTag, started: bool, now: Now) {
        self.lost_with(child, tag, started, None, now);
    }

    fn lost_with(&mut self, child: ChildId, tag: DeliveryTag, started: bool, loss: Option<&Loss>, now: Now) {
        if !self.children[child].done(tag) {
            return;
        }
        if !started {
            self.back_in_line(tag, now);
            return;
        }
        self.begun(tag, now);
        let Some(held) = self.find(tag) else { return };
        let (task, verdict, crashes) = (held.task, held.verdict, held.delivery.crashes);
        if let Some(answer) = held.answer.clone() {
            // This child was to tell the end, which stays what it is.
            if self.may_tell() {
                self.line_up(tag, true);
            } else {
                self.settle_untold(tag, answer, now);
            }
            return;
        }
        let (outcome, told_as, cause) = match loss {
            None => (Outcome::Lost, Verdict::Lost, None),
            Some(Loss::Died(how)) => (Outcome::Lost, Verdict::Lost, Some(how)),
            Some(Loss::TimeLimit(limit)) => (Outcome::TimeLimit, Verdict::TimeLimit, Some(limit)),
        };
        let answer = settlement(outcome, verdict, self.tasks.policy(task), crashes, None);
        let owed = self.ledger.get(tag).is_some();
        let requeued = matches!(answer, Settlement::Requeue { .. });
        if (owed && requeued) || !self.may_tell() {
            self.settle_untold(tag, answer, now);
            return;
        }
        // It is over, but its end must be told: another child stores WorkerLostError.
        if let Some(held) = self.find_mut(tag) {
            // At the cap it is told as what it is: a task that took down as many processes as it may.
            held.verdict = if matches!(answer, Settlement::Dead { reason: reasons::CRASHED, .. }) {
                Verdict::Crashed
            } else {
                told_as
            };
            held.cause = cause.map(|text| text.as_str().into());
            held.answer = Some(answer);
            self.line_up(tag, true);
        }
    }

    /// A child has died. `running` is what it ran, if anything; the rest goes to others.
    pub fn child_lost(&mut self, child: ChildId, running: Option<DeliveryTag>, loss: &Loss, now: Now) {
        let Some(state) = self.children.get_mut(child) else { return };
        state.up = false;
        state.recall_wanted = false;
        let mut tags: Vec<_> = state.jobs.keys().copied().collect();
        self.unname_on(child);
        tags.sort_unstable();
        for tag in tags.into_iter().rev() {
            self.lost_with(child, tag, running == Some(tag), Some(loss), now);
        }
        self.children[child] = Child::default();
    }
}
