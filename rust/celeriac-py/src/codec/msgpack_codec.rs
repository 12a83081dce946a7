//! msgpack, with the rules of the Python library under the options that Kombu sets.
//!
//! Extension types are that library's classes, so values and bytes that hold them are handed to it, where installed; so
//! are deeply nested ones.

use celeriac_protocol::msgpack::write::TooLong;
use celeriac_protocol::msgpack::{MsgpackError, Reader, Token, write};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyUnicodeDecodeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple};

use super::items::items;
use super::{as_codec_error, keys};

/// Deeper values are the library's, which knows its own limits. Bounds our use of the stack.
const MAX_DEPTH: usize = 256;

enum Stop {
    /// A value of the Python library's: let it decide.
    Library,
    Raised(PyErr),
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<TooLong> for Stop {
    fn from(error: TooLong) -> Self {
        Self::Raised(PyValueError::new_err(error.to_string()))
    }
}

impl From<MsgpackError> for Stop {
    fn from(error: MsgpackError) -> Self {
        Self::Raised(PyValueError::new_err(error.to_string()))
    }
}

/// As `msgpack.packb(value, use_bin_type=True)`.
#[pyfunction]
#[pyo3(signature = (value, /))]
pub(super) fn msgpack_dumps<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = value.py();
    let mut into = Vec::with_capacity(256);
    match encode(value, &mut into, MAX_DEPTH) {
        Ok(()) => return Ok(PyBytes::new(py, &into)),
        Err(Stop::Raised(error)) => Err(error),
        Err(Stop::Library) => library(py, "packb", value, ("use_bin_type", true)),
    }
    .and_then(|packed| Ok(packed.cast_into::<PyBytes>()?))
    .map_err(|error| as_codec_error(py, "EncodeError", error))
}

/// As `msgpack.unpackb(data, raw=False)`.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub(super) fn msgpack_loads<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut reader = Reader::new(data);
    let value = decode(py, &mut reader, MAX_DEPTH).and_then(|value| {
        reader.end()?;
        Ok(value)
    });
    match value {
        Ok(value) => Ok(value),
        Err(Stop::Raised(error)) => Err(error),
        Err(Stop::Library) => library(py, "unpackb", &PyBytes::new(py, data), ("raw", false)),
    }
    .map_err(|error| as_codec_error(py, "DecodeError", error))
}

fn library<'py>(
    py: Python<'py>,
    function: &str,
    argument: &Bound<'py, PyAny>,
    option: (&str, bool),
) -> PyResult<Bound<'py, PyAny>> {
    let Ok(module) = py.import(intern!(py, "msgpack")) else {
        return Err(PyTypeError::new_err(
            "extension types and nesting beyond 256 levels need the Python library msgpack",
        ));
    };
    let options = PyDict::new(py);
    options.set_item(option.0, option.1)?;
    module.call_method(function, (argument,), Some(&options))
}

fn encode(value: &Bound<'_, PyAny>, into: &mut Vec<u8>, depth: usize) -> Result<(), Stop> {
    if value.is_none() {
        write::nil(into);
    } else if let Ok(flag) = value.cast::<PyBool>() {
        write::bool(flag.is_true(), into);
    } else if let Ok(text) = value.cast::<PyString>() {
        write::str(text.to_str()?, into)?;
    } else if let Ok(number) = value.cast::<PyInt>() {
        int(number, into)?;
    } else if let Ok(number) = value.cast::<PyFloat>() {
        write::float(number.value(), into);
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        write::bin(bytes.as_bytes(), into)?;
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        map(dict.len(), items(dict), into, depth)?;
    } else if value.is_instance_of::<PyDict>() {
        let own = value.call_method0(intern!(value.py(), "items"))?;
        map(value.len()?, own.try_iter()?.map(|item| item?.extract()), into, depth)?;
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        array(list.len(), |index| list.get_item(index), into, depth)?;
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        array(tuple.len(), |index| tuple.get_item(index), into, depth)?;
    } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        if is_library_type(value)? {
            return Err(Stop::Library);
        }
        let own: Vec<Bound<'_, PyAny>> = value.try_iter()?.collect::<PyResult<_>>()?;
        array(own.len(), |index| Ok(own[index].clone()), into, depth)?;
    } else if let Ok(bytes) = value.cast::<PyByteArray>() {
        write::bin(&bytes.to_vec(), into)?;
    } else if value.is_instance_of::<PyMemoryView>() {
        let bytes = value.call_method0(intern!(value.py(), "tobytes"))?;
        write::bin(bytes.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes(), into)?;
    } else if is_library_type(value)? {
        return Err(Stop::Library);
    } else {
        let kind = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("can not serialize '{kind}' object")).into());
    }
    Ok(())
}

/// `ExtType` (a tuple) or `Timestamp`.
fn is_library_type(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(value.get_type().module()?.to_str()?.starts_with("msgpack."))
}

fn int(number: &Bound<'_, PyInt>, into: &mut Vec<u8>) -> PyResult<()> {
    if let Ok(value) = number.extract::<i64>() {
        write::int(value, into);
    } else if let Ok(value) = number.extract::<u64>() {
        write::uint(value, into);
    } else {
        return Err(PyOverflowError::new_err("Integer value out of range"));
    }
    Ok(())
}

fn array<'py>(
    length: usize,
    item: impl Fn(usize) -> PyResult<Bound<'py, PyAny>>,
    into: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Stop> {
    let depth = deeper(depth)?;
    write::array(length, into)?;
    for index in 0..length {
        encode(&item(index)?, into, depth)?;
    }
    Ok(())
}

fn map<'py>(
    length: usize,
    items: impl Iterator<Item = PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)>>,
    into: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Stop> {
    let depth = deeper(depth)?;
    write::map(length, into)?;
    let mut written = 0;
    for item in items {
        let (key, value) = item?;
        encode(&key, into, depth)?;
        encode(&value, into, depth)?;
        written += 1;
    }
    if written != length {
        return Err(PyValueError::new_err("a mapping's length is not that of its items").into());
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, Stop> {
    depth.checked_sub(1).ok_or(Stop::Library)
}

fn decode<'py>(py: Python<'py>, reader: &mut Reader<'_>, depth: usize) -> Result<Bound<'py, PyAny>, Stop> {
    Ok(match reader.next_token()? {
        Token::Nil => py.None().into_bound(py),
        Token::Bool(value) => PyBool::new(py, value).to_owned().into_any(),
        Token::Int(value) => PyInt::new(py, value).into_any(),
        Token::UInt(value) => PyInt::new(py, value).into_any(),
        Token::Float(value) => PyFloat::new(py, value).into_any(),
        Token::Str(bytes) => PyString::new(py, text(py, bytes)?).into_any(),
        Token::Bin(bytes) => PyBytes::new(py, bytes).into_any(),
        Token::Array(length) => {
            let depth = deeper(depth)?;
            let list = PyList::empty(py);
            for _ in 0..length {
                list.append(decode(py, reader, depth)?)?;
            }
            list.into_any()
        }
        Token::Map(length) => {
            let depth = deeper(depth)?;
            let dict = PyDict::new(py);
            for _ in 0..length {
                let key = match reader.next_token()? {
                    Token::Str(bytes) => keys::key(py, text(py, bytes)?).into_any(),
                    Token::Bin(bytes) => PyBytes::new(py, bytes).into_any(),
                    Token::Ext(..) => return Err(Stop::Library),
                    _ => return Err(PyValueError::new_err("a map key must be text or bytes").into()),
                };
                dict.set_item(key, decode(py, reader, depth)?)?;
            }
            dict.into_any()
        }
        Token::Ext(..) => return Err(Stop::Library),
    })
}

fn text<'a>(py: Python<'_>, bytes: &'a [u8]) -> PyResult<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| match PyUnicodeDecodeError::new_utf8(py, bytes, error) {
        Ok(made) => PyErr::from_value(made.into_any()),
        Err(raised) => raised,
    })
}
