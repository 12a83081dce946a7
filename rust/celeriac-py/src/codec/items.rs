//! Walks the items of a dict without copying them first.
//!
//! `PyO3`'s own walk panics when a hook changes the dict meanwhile; this one reports it as Python does.
#![allow(unsafe_code, reason = "PyDict_Next is the only way to walk a dict without a copy of its items")]

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The items of a dict, in order.
pub(super) struct Items<'a, 'py> {
    dict: &'a Bound<'py, PyDict>,
    position: ffi::Py_ssize_t,
    /// Of the dict when the walk began.
    length: usize,
    left: usize,
}

/// Walks `dict`.
pub(super) fn items<'a, 'py>(dict: &'a Bound<'py, PyDict>) -> Items<'a, 'py> {
    let length = dict.len();
    Items { dict, position: 0, length, left: length }
}

impl<'py> Iterator for Items<'_, 'py> {
    type Item = PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 && self.dict.len() == self.length {
            return None;
        }
        if self.dict.len() != self.length {
            self.length = self.dict.len();
            self.left = 0; // the walk ends after this error
            return Some(Err(PyRuntimeError::new_err("dictionary changed size during iteration")));
        }
        let py = self.dict.py();
        let mut key = std::ptr::null_mut();
        let mut value = std::ptr::null_mut();
        // SAFETY: the dict is alive and the GIL is held. CPython checks the position against the dict's present table
        // on every call, so a dict that changed since the last one is skipped over or ends early, nothing worse.
        let more =
            unsafe { ffi::PyDict_Next(self.dict.as_ptr(), &raw mut self.position, &raw mut key, &raw mut value) };
        if more == 0 {
            self.left = 0;
            return None;
        }
        self.left -= 1;
        // SAFETY: both are borrowed from the dict and not null; they are made owned before anything else can run.
        Some(Ok(unsafe { (Bound::from_borrowed_ptr(py, key), Bound::from_borrowed_ptr(py, value)) }))
    }
}
