//! The two clocks, as the caller read them.

/// A reading of both clocks at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, in µs since an origin of the caller's choice. For durations and deadlines.
    pub mono_us: u64,
    /// Wall clock, in ms since the Unix epoch. For what messages say about time.
    pub wall_ms: i64,
}
