//! `_core.Hub`, `_core.Port`, `_core.Job`: the worker's I/O thread, one child's end of it, one attempt of one task.

mod config;
#[cfg(unix)]
mod descriptor;
mod job;
mod notices;
mod port;
mod wait;

use std::process;
use std::time::Duration;

use celeriac_hub::PortError;
use pyo3::exceptions::{PyIndexError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};

use crate::codec::PyMessage;
use crate::enter::enter;
use crate::errors::into_pyerr;
use crate::topology;

/// Adds this part's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Hub>()?;
    module.add_class::<port::Port>()?;
    #[cfg(unix)]
    module.add_function(wrap_pyfunction!(port::child_port, module)?)?;
    module.add_class::<job::Job>()?;
    job::add_outcomes(module)
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "celeriac._core")]
struct Hub {
    inner: celeriac_hub::Hub,
    pid: u32,
}

/// `(child, pid, message, seconds)`.
type Running = (usize, Option<i32>, Py<PyMessage>, f64);

#[pymethods]
impl Hub {
    #[new]
    fn new(py: Python<'_>, config: &Bound<'_, PyMapping>) -> PyResult<Self> {
        Ok(Self { inner: config::hub(py, config)?, pid: process::id() })
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        enter(py, self.pid, "start the hub", || self.inner.start())
    }

    fn port(&self, py: Python<'_>, child: usize) -> PyResult<port::Port> {
        let made = enter(py, self.pid, "open a port of the hub", || Ok(self.inner.port(child)))?;
        match made {
            Ok(inner) => Ok(port::Port::new(inner)),
            Err(PortError::NoSuchChild(children)) => {
                Err(PyIndexError::new_err(format!("no child {child}: the hub was made for {children}")))
            }
            Err(PortError::InUse) => Err(PyRuntimeError::new_err(format!("the port of child {child} is in use"))),
        }
    }

    fn notices(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<Vec<notices::Told>> {
        let mut taken = Vec::new();
        wait::sliced(py, self.pid, "read notices", Duration::from_millis(timeout_ms), None, |slice| {
            taken = self.inner.notices(slice);
            !taken.is_empty()
        })?;
        taken.into_iter().map(|notice| notices::told(py, notice)).collect()
    }

    fn revoke(&self, task_ids: Vec<String>) {
        self.inner.revoke(task_ids);
    }

    fn set_consuming(&self, queue: &Bound<'_, PyAny>, on: bool) -> PyResult<()> {
        self.inner.set_consuming(topology::queue(queue)?, on);
        Ok(())
    }

    fn running(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<Vec<Running>> {
        let timeout = Duration::from_millis(timeout_ms);
        let running = enter(py, self.pid, "ask what runs", || Ok(self.inner.running(timeout)))?;
        let row = |one: celeriac_hub::Running| {
            let seconds = Duration::from_micros(one.run_us).as_secs_f64();
            Ok((one.child, one.pid, Py::new(py, PyMessage::new(one.delivery.message.clone()))?, seconds))
        };
        running.into_iter().map(row).collect()
    }

    fn resize(&self, width: usize) {
        self.inner.resize(width);
    }

    fn restart_children(&self) {
        self.inner.restart_children();
    }

    fn stop(&self, cold: bool) {
        self.inner.stop(cold);
    }

    fn join(&self, py: Python<'_>, timeout_ms: u64) -> PyResult<bool> {
        wait::sliced(py, self.pid, "join the hub", Duration::from_millis(timeout_ms), None, |slice| {
            self.inner.join(slice)
        })
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.inner.stats();
        let engine = stats.engine;
        let table = PyDict::new(py);
        for (name, value) in [
            ("received", engine.received),
            ("ended", engine.ended),
            ("acked", engine.acked),
            ("requeued", engine.requeued),
            ("parked", engine.parked),
            ("dead", engine.dead),
            ("lost", engine.lost),
            ("refused", engine.refused),
            ("recalled", engine.recalled),
            ("cycles", engine.cycles),
            ("failed_cycles", engine.failed_cycles),
            ("held", engine.held),
            ("held_bytes", engine.held_bytes),
            ("ready", engine.ready),
            ("waiting", engine.waiting),
            ("with_children", engine.with_children),
            ("busy_us", stats.busy_us),
            ("turns", stats.turns),
            ("dropped_notices", stats.dropped_notices),
        ] {
            table.set_item(name, value)?;
        }
        Ok(table)
    }

    /// For tests of what follows a panic of the hub's thread.
    fn _panic(&self) {
        self.inner.panic_for_test();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Forgotten without a stop: what it holds goes back at once. In a forked child there is no thread to tell.
        if process::id() == self.pid {
            self.inner.stop(true);
        }
    }
}

/// Only for errors of a transport that come outside `enter`.
fn refuse(py: Python<'_>, text: String) -> PyErr {
    into_pyerr(py, celeriac_transport::contract::TransportError::Config(text))
}
