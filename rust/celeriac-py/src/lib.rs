//! `celeriac._core`: what Python may see of the Rust core, and nothing else.
//!
//! Tags, ints, `bytes` and one config object per constructor cross here, in batches; sockets, parsed headers and
//! object graphs do not, except for the codec, whose work they are. All of Python's side is `celeriac._bridge`.

mod broker;
mod codec;
mod enter;
mod errors;
mod hub;
mod topology;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    codec::register(module)?;
    broker::register(module)?;
    hub::register(module)
}
