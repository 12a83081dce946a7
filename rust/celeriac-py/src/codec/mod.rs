//! The codec as Python sees it: values to bytes and back, and scanned messages.
//!
//! `celeriac-protocol` knows the bytes; here are the objects. Errors are `EncodeError` and `DecodeError` of
//! `celeriac.exceptions`, with the cause they came from.

mod binary;
mod bulk;
mod content;
mod envelope;
mod fallback;
mod items;
mod json_decode;
mod json_encode;
mod keys;
mod message;
mod msgpack_codec;
mod repr;
pub(crate) mod table;
mod tagged;

pub(crate) use message::PyMessage;

use pyo3::prelude::*;
use pyo3::wrap_pyfunction;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(json_encode::json_dumps, module)?)?;
    module.add_function(wrap_pyfunction!(json_decode::json_loads, module)?)?;
    module.add_function(wrap_pyfunction!(tagged::json_register, module)?)?;
    module.add_function(wrap_pyfunction!(tagged::json_unregister, module)?)?;
    module.add_function(wrap_pyfunction!(msgpack_codec::msgpack_dumps, module)?)?;
    module.add_function(wrap_pyfunction!(msgpack_codec::msgpack_loads, module)?)?;
    module.add_function(wrap_pyfunction!(binary::compress, module)?)?;
    module.add_function(wrap_pyfunction!(binary::decompress, module)?)?;
    module.add_function(wrap_pyfunction!(binary::new_id, module)?)?;
    module.add_function(wrap_pyfunction!(binary::new_ids, module)?)?;
    module.add_function(wrap_pyfunction!(repr::bounded_repr, module)?)?;
    module.add_function(wrap_pyfunction!(envelope::encode_envelope, module)?)?;
    module.add_class::<bulk::EnvelopeModel>()?;
    module.add_function(wrap_pyfunction!(content::encode_content, module)?)?;
    module.add_class::<PyMessage>()
}

/// `celeriac.exceptions.<class>` with `text`, caused by `cause`.
fn wrapped(py: Python<'_>, class: &str, text: &str, cause: PyErr) -> PyErr {
    let error = crate::errors::public(py, class, text);
    error.set_cause(py, Some(cause));
    error
}

/// `error` as `class`, keeping its text; an exit or interrupt stays what it is.
fn as_codec_error(py: Python<'_>, class: &str, error: PyErr) -> PyErr {
    if !error.is_instance_of::<pyo3::exceptions::PyException>(py) {
        return error;
    }
    let value = error.value(py);
    let text = value.str().and_then(|text| text.extract::<String>()).unwrap_or_default();
    let text = if text.is_empty() { value.get_type().name().map_or(text, |name| name.to_string()) } else { text };
    wrapped(py, class, &text, error)
}
