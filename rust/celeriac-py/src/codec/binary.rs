//! Compression and ids.

use std::time::{SystemTime, UNIX_EPOCH};

use celeriac_protocol::compression::{self, CompressionError};
use celeriac_protocol::uuid::{uuid7, uuid7s};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::public;

/// Bytes worth giving up the GIL for.
const LONG: usize = 16 << 10;

/// `data` compressed by `method`.
#[pyfunction]
#[pyo3(signature = (data, method, /))]
pub(super) fn compress<'py>(py: Python<'py>, data: &[u8], method: &str) -> PyResult<Bound<'py, PyBytes>> {
    let made = detached(py, data.len(), || compression::compress(data, method));
    made.map(|bytes| PyBytes::new(py, &bytes)).map_err(|error| failed(py, &error, "EncodeError"))
}

/// `data` decompressed by `method`, at most `max_bytes` of it.
#[pyfunction]
#[pyo3(signature = (data, method, max_bytes, /))]
pub(super) fn decompress<'py>(
    py: Python<'py>,
    data: &[u8],
    method: &str,
    max_bytes: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let made = detached(py, data.len(), || compression::decompress(data, method, max_bytes));
    made.map(|bytes| PyBytes::new(py, &bytes)).map_err(|error| failed(py, &error, "DecodeError"))
}

fn detached<T: Send>(py: Python<'_>, length: usize, work: impl FnOnce() -> T + Send) -> T {
    if length < LONG { work() } else { py.detach(work) }
}

fn failed(py: Python<'_>, error: &CompressionError, class: &str) -> PyErr {
    match error {
        CompressionError::Unknown(_) => PyValueError::new_err(error.to_string()),
        CompressionError::Damaged(..) | CompressionError::TooLong(_) => public(py, class, &error.to_string()),
    }
}

/// A UUID text of version 7: it begins with the time.
#[pyfunction]
pub(super) fn new_id() -> PyResult<String> {
    uuid7(wall_ms()).map_err(no_randomness)
}

/// `count` ids as `new_id` makes them, with one call of the operating system.
#[pyfunction]
pub(super) fn new_ids(count: usize) -> PyResult<Vec<String>> {
    uuid7s(wall_ms(), count).map_err(no_randomness)
}

fn wall_ms() -> u64 {
    // A clock before 1970 costs the order of ids, not their uniqueness.
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_millis()).unwrap_or(0)
}

fn no_randomness(error: impl std::fmt::Display) -> PyErr {
    PyOSError::new_err(format!("no randomness for an id: {error}"))
}
