//! The answer that a delivery gets for what became of its task: the acknowledgement matrix.
//!
//! | outcome | early ack, not yet acked | late ack |
//! |---|---|---|
//! | success, retry, ignore | ack | ack |
//! | failure | ack | ack if `acks_on_failure`, else dead letter (rejected) |
//! | reject | ack | dead letter (rejected) |
//! | requeue | ack | last in its queue |
//! | undecodable | dead letter | dead letter |
//! | child lost | ack | next in line with one more crash if `reject_on_worker_lost`, else as a failure; at the cap dead letter (crashed) |
//! | hard time limit | ack | ack if `acks_on_failure`, else last in its queue with one more crash; at the cap dead letter |
//!
//! A verdict (unknown, crashed: dead letter; expired, revoked: ack) goes before all of it.

use celeriac_protocol::Settlement;
use celeriac_protocol::delivery::reasons;

use crate::{TaskPolicy, Verdict};

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It returned.
    Success,
    /// It raised.
    Failure,
    /// A new message for it has been published with this end.
    Retry,
    /// It asked to leave no result.
    Ignore,
    /// It rejected its message.
    Reject,
    /// It asked for its message to go back to the queue.
    Requeue,
    /// Its body cannot be decoded.
    Undecodable,
    /// The child that ran it died.
    Lost,
    /// The child that ran it was killed, as its hard time limit was over.
    TimeLimit,
}

impl Outcome {
    /// Those that a child can report, in the order of Python's `OUTCOME_*`, from 0.
    pub const ALL: [Self; 8] = [
        Self::Success,
        Self::Failure,
        Self::Retry,
        Self::Ignore,
        Self::Reject,
        Self::Requeue,
        Self::Undecodable,
        Self::Lost,
    ];
}

/// The answer for `outcome`, when the delivery has not been answered yet. `crashes` came with the delivery.
#[must_use]
pub fn settlement(
    outcome: Outcome,
    verdict: Verdict,
    policy: TaskPolicy,
    crashes: u32,
    detail: Option<&str>,
) -> Settlement {
    let dead = |reason, otherwise: &str| Settlement::Dead { reason, detail: detail.unwrap_or(otherwise).to_owned() };
    match verdict {
        Verdict::Run => {}
        Verdict::Unknown => return dead(reasons::UNKNOWN_TASK, "no task of that name is registered in this worker"),
        Verdict::Crashed => return dead(reasons::CRASHED, &crash_text(crashes)),
        // The last two were answered when their child died.
        Verdict::Expired | Verdict::Revoked | Verdict::Lost | Verdict::TimeLimit => return Settlement::Ack,
    }
    let failed = || {
        if policy.acks_late && !policy.acks_on_failure {
            dead(reasons::REJECTED, "the task failed and acks_on_failure_or_timeout is off")
        } else {
            Settlement::Ack
        }
    };
    let again = |front| {
        if policy.max_crashes > 0 && crashes + 1 >= policy.max_crashes {
            dead(reasons::CRASHED, &crash_text(crashes + 1))
        } else {
            Settlement::Requeue { front, crashed: true }
        }
    };
    match outcome {
        Outcome::Reject if policy.acks_late => dead(reasons::REJECTED, "the task rejected its message"),
        Outcome::Requeue if policy.acks_late => Settlement::Requeue { front: false, crashed: false },
        Outcome::Undecodable => dead(reasons::UNDECODABLE, "the body cannot be decoded"),
        Outcome::Lost if policy.acks_late && policy.reject_on_worker_lost => again(true),
        Outcome::TimeLimit if policy.acks_late && !policy.acks_on_failure => again(false),
        Outcome::Failure | Outcome::Lost | Outcome::TimeLimit => failed(),
        // A reject of a task that is acked early has no effect.
        Outcome::Success | Outcome::Retry | Outcome::Ignore | Outcome::Reject | Outcome::Requeue => Settlement::Ack,
    }
}

fn crash_text(crashes: u32) -> String {
    format!("{crashes} processes died running it (task_max_crashes)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outcome: Outcome, policy: TaskPolicy, crashes: u32) -> Settlement {
        settlement(outcome, Verdict::Run, policy, crashes, Some("why"))
    }

    fn reason(settlement: &Settlement) -> &'static str {
        match settlement {
            Settlement::Dead { reason, detail } => {
                assert!(!detail.is_empty());
                reason
            }
            other => panic!("not dead: {other:?}"),
        }
    }

    #[test]
    fn early_ack_acks_whatever_happens_but_keeps_what_cannot_be_read() {
        let early = TaskPolicy { acks_on_failure: false, reject_on_worker_lost: true, ..TaskPolicy::default() };
        for outcome in Outcome::ALL {
            let answer = answer(outcome, early, 0);
            match outcome {
                Outcome::Undecodable => assert_eq!(reason(&answer), reasons::UNDECODABLE),
                _ => assert_eq!(answer, Settlement::Ack, "{outcome:?}"),
            }
        }
    }

    #[test]
    fn late_ack_follows_the_tasks_settings() {
        let late = TaskPolicy { acks_late: true, ..TaskPolicy::default() };
        for outcome in [Outcome::Success, Outcome::Retry, Outcome::Ignore, Outcome::Failure, Outcome::Lost] {
            assert_eq!(answer(outcome, late, 0), Settlement::Ack, "{outcome:?}");
        }
        assert_eq!(reason(&answer(Outcome::Reject, late, 0)), reasons::REJECTED);
        assert_eq!(answer(Outcome::Requeue, late, 0), Settlement::Requeue { front: false, crashed: false });
        let strict = TaskPolicy { acks_on_failure: false, ..late };
        assert_eq!(reason(&answer(Outcome::Failure, strict, 0)), reasons::REJECTED);
        assert_eq!(reason(&answer(Outcome::Lost, strict, 0)), reasons::REJECTED);
    }

    #[test]
    fn crashes_are_counted_up_to_the_cap() {
        let careful = TaskPolicy { acks_late: true, reject_on_worker_lost: true, ..TaskPolicy::default() };
        let again = Settlement::Requeue { front: true, crashed: true };
        assert_eq!(answer(Outcome::Lost, careful, 0), again);
        assert_eq!(answer(Outcome::Lost, careful, 1), again);
        assert_eq!(reason(&answer(Outcome::Lost, careful, 2)), reasons::CRASHED);
        let endless = TaskPolicy { max_crashes: 0, ..careful };
        assert_eq!(answer(Outcome::Lost, endless, u32::MAX - 1), again);
    }

    #[test]
    fn a_task_that_runs_into_its_limit_again_and_again_is_a_dead_letter() {
        let late = TaskPolicy { acks_late: true, ..TaskPolicy::default() };
        assert_eq!(answer(Outcome::TimeLimit, late, 0), Settlement::Ack);
        assert_eq!(answer(Outcome::TimeLimit, TaskPolicy::default(), 0), Settlement::Ack);
        let strict = TaskPolicy { acks_on_failure: false, ..late };
        assert_eq!(answer(Outcome::TimeLimit, strict, 1), Settlement::Requeue { front: false, crashed: true });
        assert_eq!(reason(&answer(Outcome::TimeLimit, strict, 2)), reasons::CRASHED);
    }

    #[test]
    fn a_verdict_goes_before_the_outcome() {
        for outcome in Outcome::ALL {
            let of = |verdict| settlement(outcome, verdict, TaskPolicy::default(), 3, None);
            assert_eq!(reason(&of(Verdict::Unknown)), reasons::UNKNOWN_TASK);
            assert_eq!(reason(&of(Verdict::Crashed)), reasons::CRASHED);
            assert_eq!(of(Verdict::Expired), Settlement::Ack);
            assert_eq!(of(Verdict::Revoked), Settlement::Ack);
        }
    }
}
