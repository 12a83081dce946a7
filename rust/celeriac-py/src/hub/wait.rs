//! Waiting with the GIL released, in slices on the main thread so that signal handlers run in between.

use std::process;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::errors::forked;

/// Longest wait of the main thread before signal handlers run.
const SLICE: Duration = Duration::from_millis(50);

static MAIN: PyOnceLock<(Py<PyAny>, u64)> = PyOnceLock::new();

/// Only the main thread runs signal handlers; others need not wake up for them.
fn is_main(py: Python<'_>) -> PyResult<bool> {
    let (get_ident, main) = MAIN.get_or_try_init(py, || -> PyResult<_> {
        let threading = py.import("threading")?;
        let main = threading.call_method0("main_thread")?.getattr("ident")?.extract()?;
        Ok((threading.getattr("get_ident")?.unbind(), main))
    })?;
    Ok(get_ident.bind(py).call0()?.extract::<u64>()? == *main)
}

/// `longest`: one wait; `None` for the usual slices.
///
/// Calls `wait` with what it may wait for, until it says true or `timeout` has passed; returns what it said last.
pub(super) fn sliced(
    py: Python<'_>,
    owner: u32,
    action: &str,
    timeout: Duration,
    longest: Option<Duration>,
    mut wait: impl FnMut(Duration) -> bool + Send,
) -> PyResult<bool> {
    let here = process::id();
    if here != owner {
        return Err(forked(py, action, here, owner));
    }
    if timeout.is_zero() {
        return Ok(wait(Duration::ZERO));
    }
    let longest = match longest {
        Some(longest) => longest,
        None if is_main(py)? => SLICE,
        None => timeout,
    };
    let start = Instant::now();
    loop {
        py.check_signals()?;
        let left = timeout.saturating_sub(start.elapsed());
        if py.detach(|| wait(left.min(longest))) {
            return Ok(true);
        }
        if start.elapsed() >= timeout {
            return Ok(false);
        }
    }
}
