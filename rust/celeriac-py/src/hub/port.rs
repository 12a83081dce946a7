//! `_core.Port`.

use std::process;
use std::time::Duration;

use celeriac_hub::Next;
use pyo3::prelude::*;

use super::job::Job;
use super::wait;
use crate::errors::forked;

/// See `_core.pyi`.
#[pyclass(frozen, module = "celeriac._core")]
pub(super) struct Port {
    inner: celeriac_hub::Port,
    pid: u32,
}

impl Port {
    pub(super) fn new(inner: celeriac_hub::Port) -> Self {
        Self { inner, pid: process::id() }
    }
}

fn jobs(next: Next) -> Option<Vec<Job>> {
    match next {
        Next::Batch(jobs) => Some(jobs.into_iter().map(Job::new).collect()),
        Next::Nothing => Some(Vec::new()),
        Next::End => None,
    }
}

#[pymethods]
impl Port {
    fn next_batch(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<Option<Vec<Job>>> {
        // The usual case under load: a batch is there, and taking it costs no switch to another thread.
        let mut next = if process::id() == self.pid {
            self.inner.try_next()
        } else {
            return Err(forked(py, "take jobs", process::id(), self.pid));
        };
        if matches!(next, Next::Nothing) {
            let timeout = Duration::from_millis(timeout_ms);
            let longest = self.inner.hears_signals().then_some(timeout);
            wait::sliced(py, self.pid, "take jobs", timeout, longest, |slice| {
                next = self.inner.wait_next(slice);
                !matches!(next, Next::Nothing)
            })?;
        } else {
            py.check_signals()?;
        }
        Ok(jobs(next))
    }

    fn flush(&self) {
        self.inner.flush();
    }

    fn take_limit(&self) -> bool {
        self.inner.take_limit()
    }
}

/// See `_core.pyi`.
#[cfg(unix)]
#[pyfunction]
pub(super) fn child_port(socket: i32, page: i32, measure: bool) -> PyResult<Port> {
    let (socket, page) = (super::descriptor::owned(socket)?, super::descriptor::owned(page)?);
    Ok(Port::new(celeriac_hub::Port::of_process(socket, &page, measure)?))
}
