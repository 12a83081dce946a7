//! The one error table: every error of the core and the class of `celeriac.exceptions` that it becomes.
//!
//! The classes live in Python, where users import them; they are looked up once and by name.

use celeriac_transport::contract::TransportError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

static EXCEPTIONS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// An instance of `celeriac.exceptions.<class>` with `text`.
pub(crate) fn public(py: Python<'_>, class: &str, text: &str) -> PyErr {
    let made = EXCEPTIONS
        .get_or_try_init(py, || py.import("celeriac.exceptions").map(Bound::unbind))
        .and_then(|module| module.bind(py).getattr(class)?.call1((text,)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(_) => PyRuntimeError::new_err(text.to_owned()),
    }
}

/// One arm a variant and no wildcard: a new variant does not compile until it has its class.
#[expect(clippy::needless_pass_by_value, reason = "used as the last step of an error path, in map_err")]
pub(crate) fn into_pyerr(py: Python<'_>, error: TransportError) -> PyErr {
    let class = match &error {
        TransportError::Config(_) => "ImproperlyConfigured",
        TransportError::Unavailable(_) => "BrokerUnavailable",
        TransportError::Corrupt(_) => "BrokerCorrupt",
        TransportError::Full(_) => "BrokerFull",
        TransportError::Refused(_) => "BrokerRefused",
    };
    public(py, class, &error.to_string())
}

/// A core object was used in a process other than its own.
pub(crate) fn forked(py: Python<'_>, action: &str, here: u32, owner: u32) -> PyErr {
    let text = format!("cannot {action} in process {here}: opened in {owner}; reopen after a fork");
    public(py, "ForkedProcessError", &text)
}
