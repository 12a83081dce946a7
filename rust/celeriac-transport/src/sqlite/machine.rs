//! Clocks that processes of one machine share, and who is alive on it.
#![expect(unsafe_code, reason = "clock_gettime: std's Instant cannot be compared between processes")]

use std::time::{SystemTime, UNIX_EPOCH};

/// Wall clock, ms since the epoch.
pub(crate) fn wall_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// Wall clock, µs since the epoch.
pub(crate) fn wall_us() -> i64 {
    i64::try_from(since_epoch().as_micros()).unwrap_or(i64::MAX)
}

fn since_epoch() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// ms of this boot, the same for every process; stands still while the machine sleeps, so a laptop's lid costs no lease.
pub(crate) fn mono_ms() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec to write to; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// A process, told apart from others that had or will have its pid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pub(crate) pid: i64,
    /// Start time in ticks of the boot; 0 if unknown.
    pub(crate) started: i64,
    /// Boot of the machine; empty if unknown.
    pub(crate) boot: String,
    /// Namespace in which `pid` means something.
    pub(crate) namespace: String,
}

impl ProcessId {
    /// This process.
    pub(crate) fn own() -> Self {
        let pid = i64::from(std::process::id());
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default().to_string_lossy().into_owned();
        Self { pid, started: start_time(pid).unwrap_or(0), boot, namespace }
    }

    /// Whether `other` is known to run no more. `false` when in doubt: then its lease decides.
    pub(crate) fn knows_dead(&self, other: &Self) -> bool {
        if self.boot.is_empty() || other.boot.is_empty() {
            return false;
        }
        if self.boot != other.boot {
            return true; // the machine was restarted, or the file was copied from another one
        }
        // Without /proc or in another container the pid says nothing.
        if self.namespace.is_empty() || self.namespace != other.namespace || self.started == 0 {
            return false;
        }
        start_time(other.pid).is_none_or(|started| other.started != 0 && started != other.started)
    }
}

/// When the process started, in ticks of the boot; `None` if it has ended, reaped or not.
fn start_time(pid: i64) -> Option<i64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in brackets and may hold anything, brackets too: fields count from the last one.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::ProcessId;

    #[test]
    fn a_killed_child_is_dead_even_before_it_is_reaped() {
        let own = ProcessId::own();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i64::from(child.id());
        let other = ProcessId { pid, started: super::start_time(pid).unwrap(), ..own.clone() };
        assert!(!own.knows_dead(&own));
        assert!(!own.knows_dead(&other));
        child.kill().unwrap();
        let patience = std::time::Instant::now();
        while !own.knows_dead(&other) {
            assert!(patience.elapsed().as_secs() < 5);
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(own.knows_dead(&other));
    }

    #[test]
    fn reused_pids_and_other_boots_are_dead_and_other_containers_unknown() {
        let own = ProcessId::own();
        assert!(own.knows_dead(&ProcessId { started: own.started - 1, ..own.clone() }));
        assert!(own.knows_dead(&ProcessId { boot: "earlier".into(), ..own.clone() }));
        assert!(!own.knows_dead(&ProcessId { namespace: "pid:[1]".into(), pid: 1 << 30, ..own.clone() }));
    }
}
