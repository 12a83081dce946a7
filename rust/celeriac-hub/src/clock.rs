//! The clocks of one hub: µs since it was made, and the wall.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use celeriac_engine::Now;

/// Reads both clocks. Its origin is the moment it was made; child processes are told it, and agree on it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts at 0 now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// The clock of another process of this machine, by its origin: see [`Clock::origin_ns`].
    #[cfg(unix)]
    #[must_use]
    pub fn since(origin_ns: u64) -> Self {
        let age = std::time::Duration::from_nanos(machine_ns().saturating_sub(origin_ns));
        let now = Instant::now();
        Self { origin: now.checked_sub(age).unwrap_or(now) }
    }

    /// Its origin in ns of the machine's monotonic clock, which all processes share.
    #[cfg(unix)]
    #[must_use]
    pub fn origin_ns(&self) -> u64 {
        machine_ns().saturating_sub(self.mono_ns())
    }

    /// Monotonic, in ns.
    #[must_use]
    pub fn mono_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_us: self.mono_ns() / 1000, wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX) }
    }

    /// The moment at which [`Now::mono_us`] will be `us`.
    #[must_use]
    pub fn instant(&self, us: u64) -> Instant {
        self.origin + std::time::Duration::from_micros(us)
    }
}

/// std's `Instant` reads the same clock, but does not show its value.
#[cfg(unix)]
fn machine_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
