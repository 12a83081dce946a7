//! `_core.Broker` and `_core.ResultStore`: the producer's side of a transport and its result store, as Python sees them.
//!
//! Both open at first use and again after a fork, so neither is bound to a process; the transport sees to that.

mod producer;
mod results;

use std::time::Duration;

use celeriac_transport::Options;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyMapping};

/// Adds this part's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<producer::Broker>()?;
    module.add_class::<results::ResultStore>()
}

/// Transport options as texts. Values that are not plain (None, tables) are left out: they are for other transports.
pub(crate) fn options(table: &Bound<'_, PyMapping>) -> PyResult<Options> {
    let mut options = Options::new();
    for item in table.items()?.iter() {
        let (name, value): (String, Bound<'_, PyAny>) = item.extract()?;
        if let Ok(flag) = value.cast::<PyBool>() {
            options.insert(name, flag.is_true().to_string());
        } else if let Ok(text) = value.extract::<String>() {
            options.insert(name, text);
        } else if value.extract::<f64>().is_ok() {
            options.insert(name, value.str()?.to_string());
        }
    }
    Ok(options)
}

fn timeout(timeout_ms: u64) -> Duration {
    Duration::from_millis(timeout_ms)
}
