//! Time limits: the message's own, else its task's. Looked at when the hub looks at a child, which it does again at the
//! moment a limit will be reached.
//!
//! They hold for a task whose delivery was lost, too. A soft limit interrupts the task once; a hard one kills its child. Time counts from the start of the task itself.

use celeriac_protocol::DeliveryTag;

use super::{ChildId, Engine, Notice, Work};

/// Limits longer than this are none: no clock would reach them.
const LONGEST_S: f64 = 1e9;

fn micros(seconds: Option<f64>) -> Option<u64> {
    let seconds = seconds.filter(|seconds| *seconds > 0.0 && *seconds < LONGEST_S)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range: just checked")]
    Some((seconds * 1e6) as u64)
}

/// As the settings have it: 1.5, but 300 rather than 300.0.
fn words(us: u64) -> String {
    let whole = us / 1_000_000;
    match us % 1_000_000 {
        0 => whole.to_string(),
        part => format!("{whole}.{part:06}").trim_end_matches('0').to_owned(),
    }
}

impl Engine {
    /// Asks for what a task that has run for `run_us` has brought upon itself. Returns in how many µs to look again.
    pub(super) fn keep_limits(&mut self, child: ChildId, tag: DeliveryTag, run_us: u64) -> Option<u64> {
        let held = self.find(tag).or_else(|| self.children[child].jobs.get(&tag)?.orphan.as_deref())?;
        let policy = self.tasks.policy(held.task);
        let message = &held.delivery.message;
        let found = message.head.as_ref().ok()?;
        let soft = micros(found.soft_time_limit).or(policy.soft_limit_us);
        let hard = micros(found.time_limit).or(policy.hard_limit_us);
        if soft.is_none() && hard.is_none() {
            return None;
        }
        let name = format!("{}[{}]", message.text(&found.task), message.text(&found.id));
        let state = &mut self.children[child];
        if let Some(limit) = hard.filter(|limit| run_us >= *limit) {
            if state.killed_for != Some(tag) {
                state.killed_for = Some(tag);
                let limit = words(limit);
                self.notices.push(Notice::Error(format!("Hard time limit ({limit}s) exceeded for {name}")));
                self.work.push_back(Work::Kill { child, tag, limit });
            }
            return None;
        }
        let mut next = hard.map(|limit| limit - run_us);
        if let Some(limit) = soft {
            if run_us < limit {
                next = Some(next.unwrap_or(u64::MAX).min(limit - run_us));
            } else if state.interrupted != Some(tag) {
                state.interrupted = Some(tag);
                let text = format!("Soft time limit ({}s) exceeded for {name}", words(limit));
                self.notices.push(Notice::Warning(text));
                self.work.push_back(Work::Interrupt { child, tag });
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::{micros, words};

    #[test]
    fn limits_are_read_and_written_as_people_write_them() {
        assert_eq!((micros(Some(0.25)), micros(Some(0.0)), micros(Some(f64::NAN))), (Some(250_000), None, None));
        assert_eq!((words(300_000_000), words(1_500_000)), ("300".to_owned(), "1.5".to_owned()));
    }
}
