//! Python objects to JSON bytes, in the exact form of `json.dumps` with its defaults.
//!
//! Exact types first, subclasses after, in the standard library's order; what JSON has no form for goes through
//! [`super::tagged`]. Deep or circular values are handed to the standard library whole.

use celeriac_protocol::json::write;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use super::items::items;
use super::tagged::{self, Reduced};
use super::{as_codec_error, fallback};

/// Deeper values are the standard library's; circular ones end there, too. Bounds our use of the stack.
const MAX_DEPTH: usize = 200;

/// Why the fast path stopped.
enum Stop {
    /// Let the standard library decide.
    Doubt,
    /// Python raised.
    Raised(PyErr),
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// `value` as Kombu's JSON dialect.
#[pyfunction]
#[pyo3(signature = (value, /))]
pub(super) fn json_dumps<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let mut bytes = Vec::with_capacity(256);
    append(value, &mut bytes)?;
    Ok(PyBytes::new(value.py(), &bytes))
}

/// Appends `value` to `into`. An error is an `EncodeError`.
pub(super) fn append(value: &Bound<'_, PyAny>, into: &mut Vec<u8>) -> PyResult<()> {
    let start = into.len();
    let error = match encode(value, into, MAX_DEPTH) {
        Ok(()) => return Ok(()),
        Err(Stop::Raised(error)) => error,
        Err(Stop::Doubt) => match fallback::dumps(value) {
            Ok(text) => {
                into.truncate(start);
                into.extend_from_slice(text.to_str()?.as_bytes());
                return Ok(());
            }
            Err(error) => error,
        },
    };
    into.truncate(start);
    Err(as_codec_error(value.py(), "EncodeError", error))
}

/// Appends a key of an object, coerced to text. An error is an `EncodeError`.
pub(super) fn append_key(key: &Bound<'_, PyAny>, into: &mut Vec<u8>) -> PyResult<()> {
    let error = match encode_key(key, into) {
        Ok(()) => return Ok(()),
        Err(Stop::Raised(error)) => error,
        Err(Stop::Doubt) => match fallback::dumps(key) {
            Ok(text) => {
                into.extend_from_slice(text.to_str()?.as_bytes());
                return Ok(());
            }
            Err(error) => error,
        },
    };
    Err(as_codec_error(key.py(), "EncodeError", error))
}

fn encode(value: &Bound<'_, PyAny>, into: &mut Vec<u8>, depth: usize) -> Result<(), Stop> {
    if let Ok(text) = value.cast_exact::<PyString>() {
        return string(text, into);
    }
    if value.is_none() {
        into.extend_from_slice(b"null");
    } else if let Ok(number) = value.cast_exact::<PyInt>() {
        int(number, into)?;
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        object(items(dict), into, depth)?;
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        array(list.len(), |index| list.get_item(index), into, depth)?;
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        array(tuple.len(), |index| tuple.get_item(index), into, depth)?;
    } else if let Ok(flag) = value.cast_exact::<PyBool>() {
        into.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
    } else if let Ok(number) = value.cast_exact::<PyFloat>() {
        write::float(number.value(), into);
    } else {
        return encode_other(value, into, depth);
    }
    Ok(())
}

/// Subclasses of what JSON has a form for, and everything else.
fn encode_other(value: &Bound<'_, PyAny>, into: &mut Vec<u8>, depth: usize) -> Result<(), Stop> {
    if let Ok(text) = value.cast::<PyString>() {
        return string(text, into);
    }
    if let Ok(number) = value.cast::<PyInt>() {
        return Ok(int(number, into)?);
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        write::float(number.value(), into);
        return Ok(());
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        // A subclass decides by its own iterator, as for the standard library.
        let own: Vec<Bound<'_, PyAny>> = value.try_iter()?.collect::<PyResult<_>>()?;
        return array(own.len(), |index| Ok(own[index].clone()), into, depth);
    }
    if value.is_instance_of::<PyDict>() {
        // A subclass decides by its own `items`, as for the standard library.
        let own = value.call_method0(intern!(value.py(), "items"))?;
        return object(own.try_iter()?.map(|item| item?.extract()), into, depth);
    }
    let depth = depth.checked_sub(1).ok_or(Stop::Doubt)?;
    match tagged::reduce(value)? {
        Reduced::Object(other) => encode(&other, into, depth),
        Reduced::Tagged(marker, other) => {
            tag(&marker, into);
            encode(&other, into, depth)?;
            into.push(b'}');
            Ok(())
        }
        Reduced::Bytes(marker, text) => {
            tag(marker, into);
            write::string(&text, into);
            into.push(b'}');
            Ok(())
        }
    }
}

fn tag(marker: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(b"{\"__type__\": ");
    write::string(marker, into);
    into.extend_from_slice(b", \"__value__\": ");
}

fn array<'py>(
    length: usize,
    item: impl Fn(usize) -> PyResult<Bound<'py, PyAny>>,
    into: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Stop> {
    let depth = depth.checked_sub(1).ok_or(Stop::Doubt)?;
    into.push(b'[');
    for index in 0..length {
        if index > 0 {
            into.extend_from_slice(b", ");
        }
        // Out of range if an encoder hook has shortened the list: an error rather than a guess.
        encode(&item(index)?, into, depth)?;
    }
    into.push(b']');
    Ok(())
}

fn object<'py>(
    items: impl Iterator<Item = PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)>>,
    into: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Stop> {
    let depth = depth.checked_sub(1).ok_or(Stop::Doubt)?;
    into.push(b'{');
    let mut first = true;
    for item in items {
        let (key, value) = item?;
        if !first {
            into.extend_from_slice(b", ");
        }
        first = false;
        encode_key(&key, into)?;
        into.extend_from_slice(b": ");
        encode(&value, into, depth)?;
    }
    into.push(b'}');
    Ok(())
}

fn encode_key(key: &Bound<'_, PyAny>, into: &mut Vec<u8>) -> Result<(), Stop> {
    if let Ok(text) = key.cast::<PyString>() {
        return string(text, into);
    }
    into.push(b'"');
    if let Ok(number) = key.cast::<PyFloat>() {
        write::float(number.value(), into);
    } else if let Ok(flag) = key.cast::<PyBool>() {
        into.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
    } else if key.is_none() {
        into.extend_from_slice(b"null");
    } else if let Ok(number) = key.cast::<PyInt>() {
        int(number, into)?;
    } else {
        let kind = key.get_type().name()?;
        let text = format!("keys must be str, int, float, bool or None, not {kind}");
        return Err(PyTypeError::new_err(text).into());
    }
    into.push(b'"');
    Ok(())
}

fn string(text: &Bound<'_, PyString>, into: &mut Vec<u8>) -> Result<(), Stop> {
    // Half characters have no UTF-8; the standard library writes them as \udXXX.
    write::string(text.to_str().map_err(|_| Stop::Doubt)?, into);
    Ok(())
}

fn int(number: &Bound<'_, PyInt>, into: &mut Vec<u8>) -> PyResult<()> {
    if let Ok(value) = number.extract::<i64>() {
        write::int(value, into);
        return Ok(());
    }
    let py = number.py();
    let digits = py.get_type::<PyInt>().call_method1(intern!(py, "__repr__"), (number,))?;
    into.extend_from_slice(digits.cast::<PyString>()?.to_str()?.as_bytes());
    Ok(())
}
