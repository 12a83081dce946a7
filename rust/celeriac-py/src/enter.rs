//! The one door into Rust for calls that may block: refuses a forked child, releases the GIL, maps the error.

use std::process;

use celeriac_transport::contract::TransportError;
use pyo3::prelude::*;

use crate::errors::{forked, into_pyerr};

/// Runs `work` without the GIL, in the process that `owner` names. `action` completes "cannot … in process N".
pub(crate) fn enter<T: Send>(
    py: Python<'_>,
    owner: u32,
    action: &str,
    work: impl FnOnce() -> Result<T, TransportError> + Send,
) -> PyResult<T> {
    let here = process::id();
    if here != owner {
        return Err(forked(py, action, here, owner));
    }
    py.detach(work).map_err(|error| into_pyerr(py, error))
}
