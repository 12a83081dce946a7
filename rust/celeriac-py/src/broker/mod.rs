//! `_core.Broker` and `_core.ResultStore`: the producer's side of a transport and its result store, as Python sees them.
//!
//! Both open at first use and again after a fork, so neither is bound to a process; the transport sees to that.

mod producer;
mod results;

use std::time::Duration;

use celeriac_transport::{Options, open};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyMapping, PySequence};

/// Adds this part's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(is_amqp, module)?)?;
    module.add_class::<producer::Broker>()?;
    module.add_class::<results::ResultStore>()
}

/// See `_core.pyi`.
#[pyfunction]
#[pyo3(signature = (url, /))]
fn is_amqp(url: &str) -> bool {
    open::is_amqp(url)
}

/// Transport options as texts: a list's members with commas between them, a table's members as `table.member`. Values
/// that are neither (None, functions) are left out: they are for other transports.
pub(crate) fn options(table: &Bound<'_, PyMapping>) -> PyResult<Options> {
    let mut options = Options::new();
    for item in table.items()?.iter() {
        let (name, value): (String, Bound<'_, PyAny>) = item.extract()?;
        if let Some(text) = plain(&value)? {
            options.insert(name, text);
        } else if let Ok(members) = value.cast::<PyMapping>() {
            for (member, text) in self::options(members)? {
                options.insert(format!("{name}.{member}"), text);
            }
        } else if let Ok(members) = value.cast::<PySequence>() {
            let members: Vec<Option<String>> =
                members.try_iter()?.map(|member| plain(&member?)).collect::<PyResult<_>>()?;
            options.insert(name, members.into_iter().flatten().collect::<Vec<_>>().join(","));
        }
    }
    Ok(options)
}

fn plain(value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    Ok(if let Ok(flag) = value.cast::<PyBool>() {
        Some(flag.is_true().to_string())
    } else if let Ok(text) = value.extract::<String>() {
        Some(text)
    } else if value.extract::<f64>().is_ok() {
        Some(value.str()?.to_string())
    } else {
        None
    })
}

fn timeout(timeout_ms: u64) -> Duration {
    Duration::from_millis(timeout_ms)
}
