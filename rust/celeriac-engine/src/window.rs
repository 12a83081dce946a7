//! Prefetch window: how many deliveries this worker may hold unsettled.
//!
//! - An explicit prefetch is kept to the letter; 0 on the wire is `Unlimited` here.
//! - Adaptive: as much as is expected to run in [`AHEAD_US`] on each child, so that a fleet shares long tasks and a worker
//!   of short ones never waits for its broker.
//! - Whatever the count, the bytes held are capped; one message larger than the cap is still let through when nothing
//!   else is held.

/// Work to hold for each child, in µs of expected run time.
pub const AHEAD_US: u64 = 50_000;
const FEWEST: usize = 4;
const MOST: usize = 512;

/// How the window is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefetch {
    /// As many as are useful.
    Adaptive,
    /// Only the byte cap counts.
    Unlimited,
    /// Exactly this many.
    Fixed(usize),
}

/// The window and its credit.
#[derive(Debug)]
pub struct Window {
    prefetch: Prefetch,
    max_bytes: usize,
    mean_bytes: usize,
}

impl Window {
    /// `max_bytes`: cap on the payload held.
    #[must_use]
    pub fn new(prefetch: Prefetch, max_bytes: usize) -> Self {
        Self { prefetch, max_bytes, mean_bytes: 1024 }
    }

    /// A message of `bytes` bytes has come: what the next ones are likely to weigh.
    pub fn observe(&mut self, bytes: usize) {
        // Rises at once and falls slowly: the cap on bytes must hold when large messages follow small ones.
        self.mean_bytes = if bytes > self.mean_bytes { bytes } else { (self.mean_bytes * 15 + bytes) / 16 };
    }

    /// Deliveries that may be held at once, with `children` that run tasks which take `expected_us` on average
    /// (`None`: not known yet).
    #[must_use]
    pub fn size(&self, children: usize, expected_us: Option<u64>) -> usize {
        match self.prefetch {
            Prefetch::Fixed(count) => count,
            Prefetch::Unlimited => usize::MAX,
            Prefetch::Adaptive => {
                let each = expected_us.map_or(FEWEST as u64, |us| AHEAD_US / us.max(1));
                let each = usize::try_from(each).unwrap_or(MOST).clamp(FEWEST, MOST);
                each.saturating_mul(children.max(1))
            }
        }
    }

    /// How many ready deliveries are more than a share of the fleet's work, once tasks turn out to be long: they wait here
    /// while another worker may be idle. None with an explicit prefetch, which is kept to the letter.
    #[must_use]
    pub fn excess(&self, ready: usize, children: usize, expected_us: Option<u64>) -> usize {
        if self.prefetch == Prefetch::Adaptive { ready.saturating_sub(self.size(children, expected_us)) } else { 0 }
    }

    /// How many more may be asked for while `held` deliveries of `bytes` bytes are open.
    #[must_use]
    pub fn credit(&self, held: usize, bytes: usize, children: usize, expected_us: Option<u64>) -> usize {
        let by_count = self.size(children, expected_us).saturating_sub(held);
        if held == 0 {
            return by_count.min((self.max_bytes / self.mean_bytes.max(1)).max(1));
        }
        by_count.min(self.max_bytes.saturating_sub(bytes) / self.mean_bytes.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_prefetch_is_kept_to_the_letter() {
        let window = Window::new(Prefetch::Fixed(3), 1 << 20);
        for (held, credit) in [(0, 3), (2, 1), (3, 0), (9, 0)] {
            assert_eq!(window.credit(held, held * 10, 8, Some(1)), credit);
        }
    }

    #[test]
    fn adaptive_follows_the_run_time() {
        let window = Window::new(Prefetch::Adaptive, 1 << 30);
        assert_eq!(window.size(2, None), 8);
        assert_eq!(window.size(2, Some(1_000)), 100);
        assert_eq!(window.size(2, Some(10)), 2 * MOST);
        assert_eq!(window.size(2, Some(60_000_000)), 8);
    }

    #[test]
    fn only_an_adaptive_window_gives_back() {
        assert_eq!(Window::new(Prefetch::Adaptive, 1 << 30).excess(500, 2, Some(1_000_000)), 492);
        assert_eq!(Window::new(Prefetch::Adaptive, 1 << 30).excess(500, 2, Some(20)), 0);
        assert_eq!(Window::new(Prefetch::Fixed(500), 1 << 30).excess(500, 2, Some(1_000_000)), 0);
    }

    #[test]
    fn bytes_are_capped_but_one_large_message_always_fits() {
        let mut window = Window::new(Prefetch::Unlimited, 1000);
        window.observe(5000);
        assert_eq!(window.credit(0, 0, 1, None), 1);
        assert_eq!(window.credit(1, 5000, 1, None), 0);
        let mut small = Window::new(Prefetch::Unlimited, 10_240);
        small.observe(1024);
        assert_eq!(small.credit(4, 4096, 1, None), 6);
    }
}
