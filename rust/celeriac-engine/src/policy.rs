//! Dispatch policy: how many tasks to give a child at once.
//!
//! A batch holds [`BATCH_US`] of expected work, at most [`BATCH_MAX`] tasks, and a child has two batches at most, so it never
//! waits for the hub and never sits on much that another child could run. A task that is expected to take longer
//! than a batch goes alone, and nothing is queued behind it. Unknown tasks start alone; after the first run their time
//! is known.

/// Expected work in one batch, in µs.
pub const BATCH_US: u64 = 1_500;
/// Most tasks in one batch.
pub const BATCH_MAX: usize = 64;

/// Moving average of a run time, in ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunTime {
    mean_ns: u64,
    samples: u32,
}

impl RunTime {
    /// One run took so long.
    pub fn observe(&mut self, run_ns: u64) {
        self.samples = self.samples.saturating_add(1);
        if self.samples == 1 {
            self.mean_ns = run_ns;
            return;
        }
        // One thread that waited for the interpreter must not look like a long task: a sample counts as at most eight
        // times the average, so a burst of really long ones still raises it 1.9-fold each time.
        let sample = run_ns.min(self.mean_ns.saturating_mul(8).max(1_000));
        // Plain mean of the first eight, then an average of about the last eight.
        let weight = u64::from(self.samples.min(8));
        self.mean_ns = (self.mean_ns * (weight - 1) + sample) / weight;
    }

    /// It has run for so long and has not ended: its average is no less than a share of that.
    pub fn at_least(&mut self, run_ns: u64) {
        if run_ns > self.mean_ns.saturating_mul(8) {
            self.mean_ns = run_ns / 2;
            self.samples = self.samples.max(1);
        }
    }

    /// Expected run time in µs, rounded up; `None` before the first run.
    #[must_use]
    pub fn expected_us(&self) -> Option<u64> {
        (self.samples > 0).then(|| self.mean_ns.div_ceil(1000))
    }

    /// Its share of a batch, in µs: an unknown task fills one by itself.
    #[must_use]
    pub fn share_us(&self) -> u64 {
        self.expected_us().unwrap_or(BATCH_US).max(1)
    }
}

/// A batch that is being filled.
#[derive(Debug, Default, Clone, Copy)]
pub struct Fill {
    count: usize,
    work_us: u64,
}

impl Fill {
    /// Whether a task of `share_us` still fits. The first always does.
    #[must_use]
    pub fn fits(&self, share_us: u64) -> bool {
        self.count == 0 || (self.count < BATCH_MAX && self.work_us + share_us <= BATCH_US)
    }

    /// Adds it.
    pub fn add(&mut self, share_us: u64) {
        self.count += 1;
        self.work_us += share_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(share_us: u64) -> usize {
        let mut fill = Fill::default();
        let mut count = 0;
        while fill.fits(share_us) {
            fill.add(share_us);
            count += 1;
        }
        count
    }

    #[test]
    fn batches_hold_a_millisecond_or_two_of_work() {
        let mut known = RunTime::default();
        assert_eq!(batch(known.share_us()), 1, "an unknown task goes alone");
        known.observe(20_000);
        assert_eq!(batch(known.share_us()), BATCH_MAX);
        assert_eq!(batch(500), 3);
        assert_eq!(batch(1_000), 1);
        assert_eq!(batch(60_000_000), 1);
    }

    #[test]
    fn one_slow_run_does_not_make_a_short_task_long_but_several_do() {
        let mut time = RunTime::default();
        (0..100).for_each(|_| time.observe(20_000));
        time.observe(5_000_000);
        assert!(time.expected_us().unwrap() < 50);
        (0..8).for_each(|_| time.observe(5_000_000));
        assert!(time.share_us() > BATCH_US);
        let mut stuck = RunTime::default();
        stuck.observe(20_000);
        stuck.at_least(10_000_000_000);
        assert!(stuck.share_us() > BATCH_US);
    }
}
