//! Descriptors that Python hands over.
#![expect(unsafe_code, reason = "a number from Python becomes a descriptor that is owned here")]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Owns `fd` from now on: Python has detached it from whatever object it had, and does not close it.
pub(super) fn owned(fd: RawFd) -> PyResult<OwnedFd> {
    if fd < 0 {
        return Err(PyValueError::new_err(format!("no descriptor: {fd}")));
    }
    // SAFETY: it is not -1, and `_bridge/hub.py`, the only caller, gives away what `detach` returned: nobody else owns it.
    // Should it not be open, every use of it fails with an error.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
