//! A whole message as it stands on Redis and SQLite.

use celeriac_protocol::base64;
use celeriac_protocol::json::write;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::items::items;
use super::json_encode::{append, append_key};
use crate::errors::public;

/// A whole message. Its members are in the order in which Kombu writes them.
#[pyfunction]
#[pyo3(signature = (headers, properties, body, content_type, content_encoding, /))]
pub(super) fn encode_envelope<'py>(
    headers: &Bound<'py, PyAny>,
    properties: &Bound<'py, PyAny>,
    body: &[u8],
    content_type: &str,
    content_encoding: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = headers.py();
    let properties = match properties.cast_exact::<PyDict>() {
        Ok(dict) => dict.clone(),
        Err(_) => py.get_type::<PyDict>().call1((properties,))?.cast_into::<PyDict>()?,
    };
    let mut into = Vec::with_capacity(1024 + body.len() * 4 / 3);
    into.extend_from_slice(b"{\"body\": ");
    let given = properties.get_item(intern!(py, "body_encoding"))?;
    if let Some(encoding) = &given
        && encoding.cast::<PyString>().is_ok_and(|encoding| encoding.to_str().is_ok_and(|name| name == "utf-8"))
    {
        let text = std::str::from_utf8(body)
            .map_err(|_| public(py, "EncodeError", "body_encoding 'utf-8' needs a body that is UTF-8 text"))?;
        write::string(text, &mut into);
    } else {
        into.push(b'"');
        base64::encode(body, &mut into);
        into.push(b'"');
    }
    into.extend_from_slice(b", \"content-encoding\": ");
    write::string(content_encoding, &mut into);
    into.extend_from_slice(b", \"content-type\": ");
    write::string(content_type, &mut into);
    into.extend_from_slice(b", \"headers\": ");
    append(headers, &mut into)?;
    into.extend_from_slice(b", \"properties\": ");
    if given.is_some() {
        append(&properties, &mut into)?;
    } else {
        append_properties(&properties, &mut into)?;
    }
    into.push(b'}');
    Ok(PyBytes::new(py, &into))
}

/// The properties with `body_encoding` where Kombu has it: before the delivery tag.
fn append_properties(properties: &Bound<'_, PyDict>, into: &mut Vec<u8>) -> PyResult<()> {
    const BASE64: &[u8] = b"\"body_encoding\": \"base64\"";
    let mut written = false;
    let mut separator: &[u8] = b"{";
    for item in items(properties) {
        let (key, value) = item?;
        if !written && key.cast::<PyString>().is_ok_and(|key| key.to_str().is_ok_and(|key| key == "delivery_tag")) {
            into.extend_from_slice(separator);
            into.extend_from_slice(BASE64);
            separator = b", ";
            written = true;
        }
        into.extend_from_slice(separator);
        append_key(&key, into)?;
        into.extend_from_slice(b": ");
        append(&value, into)?;
        separator = b", ";
    }
    if !written {
        into.extend_from_slice(separator);
        into.extend_from_slice(BASE64);
    }
    into.push(b'}');
    Ok(())
}
