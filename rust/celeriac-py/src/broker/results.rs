//! `_core.ResultStore`.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_protocol::ResultWrite;
use celeriac_transport::contract::{Results, TransportError};
use celeriac_transport::open;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping};

use crate::enter::enter;
use crate::errors::into_pyerr;

/// How long a wait may go on without looking for signals. One that comes meanwhile ends the slice on the main thread.
const SLICE: Duration = Duration::from_millis(200);

/// Results in a store of the transport crate.
#[pyclass(frozen, module = "celeriac._core")]
pub(crate) struct ResultStore {
    /// `None` once closed.
    inner: Mutex<Option<Arc<dyn Results>>>,
}

impl ResultStore {
    fn inner(&self) -> Result<Arc<dyn Results>, TransportError> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clone().ok_or_else(|| TransportError::Unavailable("the result store is closed: open another".to_owned()))
    }

    fn run<T: Send>(
        &self,
        py: Python<'_>,
        action: &str,
        work: impl FnOnce(&dyn Results) -> Result<T, TransportError> + Send,
    ) -> PyResult<T> {
        let inner = self.inner().map_err(|error| into_pyerr(py, error))?;
        enter(py, process::id(), action, move || work(&*inner))
    }
}

#[pymethods]
impl ResultStore {
    #[new]
    fn new(py: Python<'_>, url: &str, options: &Bound<'_, PyMapping>, timeout_ms: u64) -> PyResult<Self> {
        let results = open::results(url, &super::options(options)?, super::timeout(timeout_ms));
        Ok(Self { inner: Mutex::new(Some(results.map_err(|error| into_pyerr(py, error))?)) })
    }

    fn get<'py>(&self, py: Python<'py>, key: &str) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut values = self.run(py, "read a result", |store| store.get(&[key]))?;
        Ok(values.pop().flatten().map(|value| PyBytes::new(py, &value)))
    }

    fn get_many<'py>(&self, py: Python<'py>, keys: Vec<String>) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
        let values = self.run(py, "read results", move |store| {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            store.get(&keys)
        })?;
        Ok(values.into_iter().map(|value| value.map(|value| PyBytes::new(py, &value))).collect())
    }

    fn put(&self, py: Python<'_>, key: &str, value: &[u8], expires_ms: Option<i64>, success: bool) -> PyResult<bool> {
        let write = ResultWrite { key: key.into(), value: Bytes::copy_from_slice(value), expires_ms, success };
        let stored = self.run(py, "store a result", move |store| store.put(&[write]))?;
        Ok(stored > 0)
    }

    fn delete(&self, py: Python<'_>, keys: Vec<String>) -> PyResult<usize> {
        self.run(py, "delete results", move |store| {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            store.delete(&keys)
        })
    }

    fn cleanup(&self, py: Python<'_>) -> PyResult<u64> {
        self.run(py, "drop expired results", |store| store.cleanup())
    }

    fn generation(&self, py: Python<'_>) -> PyResult<u64> {
        self.run(py, "wait for results", |store| store.generation())
    }

    fn wait_change(&self, py: Python<'_>, seen: u64, timeout_ms: u64) -> PyResult<u64> {
        let deadline = Instant::now() + super::timeout(timeout_ms);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let now = self.run(py, "wait for results", move |store| store.wait_change(seen, left.min(SLICE)))?;
            py.check_signals()?;
            if now != seen || Instant::now() >= deadline {
                return Ok(now);
            }
        }
    }

    fn close(&self) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
