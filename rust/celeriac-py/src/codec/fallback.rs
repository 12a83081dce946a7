//! The standard library's json with our hooks: asked whenever the fast path is in doubt (half characters, deep
//! nesting, circular references) and for the text of every error, so that the answer is always Python's.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};
use pyo3::wrap_pyfunction;

use super::tagged;

static ENCODER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static DECODER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// `json.JSONEncoder(default=…).encode(value)`.
pub(super) fn dumps<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    let py = value.py();
    let encoder = ENCODER.get_or_try_init(py, || -> PyResult<Py<PyAny>> {
        let options = PyDict::new(py);
        let module = py.import("json")?;
        options.set_item("default", wrap_pyfunction!(tagged::default, &module)?)?;
        Ok(module.getattr("JSONEncoder")?.call((), Some(&options))?.unbind())
    })?;
    Ok(encoder.bind(py).call_method1(intern!(py, "encode"), (value,))?.cast_into::<PyString>()?)
}

/// `json.JSONDecoder(object_hook=…).decode(text)`.
pub(super) fn loads<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let py = text.py();
    let decoder = DECODER.get_or_try_init(py, || -> PyResult<Py<PyAny>> {
        let options = PyDict::new(py);
        let module = py.import("json")?;
        options.set_item("object_hook", wrap_pyfunction!(tagged::object_hook, &module)?)?;
        Ok(module.getattr("JSONDecoder")?.call((), Some(&options))?.unbind())
    })?;
    decoder.bind(py).call_method1(intern!(py, "decode"), (text,))
}
