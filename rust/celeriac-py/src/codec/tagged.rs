//! Tagged types: what JSON has no form for travels as `{"__type__": marker, "__value__": …}`.
//!
//! The order of the encoder is Kombu's: `__json__()`, Django's lazy texts, registered types by isinstance in the order
//! of their first registration, then bytes. What JSON has a form for never gets here.

use std::sync::{Arc, Mutex, PoisonError};

use celeriac_protocol::base64;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyCFunction, PyDict, PyString, PyType};

/// One registered type.
struct Entry {
    kind: Py<PyType>,
    /// `None`: encoded as what its encoder returns, with no tag; not decoded.
    marker: Option<String>,
    encode: Py<PyAny>,
}

/// Immutable; replaced on each registration, so that no lock is held while Python code runs.
#[derive(Default, Clone)]
struct Registry {
    entries: Vec<Arc<Entry>>,
    /// In the order of registration; markers are few, so a search is fine.
    decoders: Vec<(String, Arc<Py<PyAny>>)>,
}

static REGISTRY: PyOnceLock<Mutex<Arc<Registry>>> = PyOnceLock::new();

/// What an object is written as.
pub(super) enum Reduced<'py> {
    /// Another object.
    Object(Bound<'py, PyAny>),
    /// A tag around another object.
    Tagged(String, Bound<'py, PyAny>),
    /// A tag around a text.
    Bytes(&'static str, String),
}

fn registry(py: Python<'_>) -> PyResult<Arc<Registry>> {
    let cell = REGISTRY.get_or_try_init(py, || builtin(py).map(|registry| Mutex::new(Arc::new(registry))))?;
    Ok(Arc::clone(&cell.lock().unwrap_or_else(PoisonError::into_inner)))
}

fn change<T>(py: Python<'_>, change: impl FnOnce(&mut Registry) -> T) -> PyResult<T> {
    let mut next = Registry::clone(&*registry(py)?);
    let answer = change(&mut next);
    if let Some(cell) = REGISTRY.get(py) {
        let old = std::mem::replace(&mut *cell.lock().unwrap_or_else(PoisonError::into_inner), Arc::new(next));
        drop(old); // outside the lock: this may free Python objects
    }
    Ok(answer)
}

/// The types that Kombu registers, in its order.
fn builtin(py: Python<'_>) -> PyResult<Registry> {
    let mut registry = Registry::default();
    let datetime = py.import("datetime")?;
    let decimal = py.import("decimal")?.getattr("Decimal")?;
    let uuid = py.import("uuid")?.getattr("UUID")?;
    let function = |made: PyResult<Bound<'_, PyCFunction>>| made.map(|made| made.into_any().unbind());
    let isoformat = function(pyo3::wrap_pyfunction!(isoformat, &datetime))?;
    let text = py.import("builtins")?.getattr("str")?.unbind();
    let mut add = |kind: Bound<'_, PyAny>, marker: &str, encode: Py<PyAny>, decode: Py<PyAny>| -> PyResult<()> {
        registry.add(kind.cast_into::<PyType>()?.unbind(), Some(marker.to_owned()), encode, decode);
        Ok(())
    };
    let to = function(pyo3::wrap_pyfunction!(to_datetime, &datetime))?;
    add(datetime.getattr("datetime")?, "datetime", isoformat.clone_ref(py), to)?;
    let to = function(pyo3::wrap_pyfunction!(to_date, &datetime))?;
    add(datetime.getattr("date")?, "date", isoformat.clone_ref(py), to)?;
    let to = function(pyo3::wrap_pyfunction!(to_time, &datetime))?;
    add(datetime.getattr("time")?, "time", isoformat, to)?;
    add(decimal.clone(), "decimal", text, decimal.unbind())?;
    let hex = function(pyo3::wrap_pyfunction!(uuid_members, &datetime))?;
    let to = function(pyo3::wrap_pyfunction!(to_uuid, &datetime))?;
    add(uuid, "uuid", hex, to)?;
    let to = function(pyo3::wrap_pyfunction!(to_bytes, &datetime))?;
    registry.decoders.push(("bytes".to_owned(), Arc::new(to)));
    let to = function(pyo3::wrap_pyfunction!(to_binary, &datetime))?;
    registry.decoders.push(("base64".to_owned(), Arc::new(to)));
    Ok(registry)
}

impl Registry {
    fn add(&mut self, kind: Py<PyType>, marker: Option<String>, encode: Py<PyAny>, decode: Py<PyAny>) {
        if let Some(marker) = &marker {
            self.decoders.retain(|(known, _)| known != marker);
            self.decoders.push((marker.clone(), Arc::new(decode)));
        }
        let entry = Arc::new(Entry { kind, marker, encode });
        match self.entries.iter_mut().find(|known| known.kind.as_ptr() == entry.kind.as_ptr()) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
    }
}

/// Adds a tagged type, for encoding by isinstance and decoding by marker.
#[pyfunction]
#[pyo3(signature = (kind, marker, encode, decode, /))]
pub(super) fn json_register(
    py: Python<'_>,
    kind: Bound<'_, PyType>,
    marker: Option<String>,
    encode: Py<PyAny>,
    decode: Py<PyAny>,
) -> PyResult<()> {
    change(py, |registry| registry.add(kind.unbind(), marker, encode, decode))
}

/// Removes a type added with `json_register`.
#[pyfunction]
#[pyo3(signature = (marker, /))]
#[expect(clippy::needless_pass_by_value, reason = "an argument from Python")]
pub(super) fn json_unregister(py: Python<'_>, marker: Option<String>) -> PyResult<bool> {
    change(py, |registry| {
        let before = registry.entries.len() + registry.decoders.len();
        registry.entries.retain(|entry| entry.marker != marker);
        registry.decoders.retain(|(known, _)| Some(known) != marker.as_ref());
        registry.entries.len() + registry.decoders.len() != before
    })
}

/// What `object`, for which JSON has no form, is written as.
pub(super) fn reduce<'py>(object: &Bound<'py, PyAny>) -> PyResult<Reduced<'py>> {
    let py = object.py();
    if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        return Ok(reduce_bytes(bytes.as_bytes()));
    }
    if let Some(reducer) = object.getattr_opt(intern!(py, "__json__"))?
        && !reducer.is_none()
    {
        return Ok(Reduced::Object(reducer.call0()?));
    }
    if is_lazy_text(object)? {
        return Ok(Reduced::Object(object.str()?.into_any()));
    }
    for entry in &registry(py)?.entries {
        if object.is_instance(entry.kind.bind(py))? {
            let value = entry.encode.bind(py).call1((object,))?;
            return Ok(match &entry.marker {
                Some(marker) => Reduced::Tagged(marker.clone(), value),
                None => Reduced::Object(value),
            });
        }
    }
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(reduce_bytes(bytes.as_bytes()));
    }
    let kind = object.get_type().name()?;
    Err(PyTypeError::new_err(format!("Object of type {kind} is not JSON serializable")))
}

fn reduce_bytes(bytes: &[u8]) -> Reduced<'static> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Reduced::Bytes("bytes", text.to_owned());
    }
    let mut text = Vec::new();
    base64::encode(bytes, &mut text);
    Reduced::Bytes("base64", String::from_utf8(text).unwrap_or_default())
}

/// Django's `gettext_lazy` and its kin, if Django is loaded at all.
fn is_lazy_text(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    let Ok(module) = modules.get_item(intern!(py, "django.utils.functional")) else { return Ok(false) };
    match module.getattr_opt(intern!(py, "Promise"))? {
        Some(promise) => object.is_instance(&promise),
        None => Ok(false),
    }
}

/// `default` for the standard library's encoder.
#[pyfunction]
pub(super) fn default<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let (marker, value) = match reduce(object)? {
        Reduced::Object(other) => return Ok(other),
        Reduced::Tagged(marker, value) => (marker, value),
        Reduced::Bytes(marker, text) => (marker.to_owned(), PyString::new(py, &text).into_any()),
    };
    let tagged = PyDict::new(py);
    tagged.set_item(intern!(py, "__type__"), marker)?;
    tagged.set_item(intern!(py, "__value__"), value)?;
    Ok(tagged.into_any())
}

/// `object_hook` for the standard library's decoder, and for ours.
#[pyfunction]
pub(super) fn object_hook(object: Bound<'_, PyDict>) -> PyResult<Bound<'_, PyAny>> {
    let py = object.py();
    if object.len() != 2 {
        return Ok(object.into_any());
    }
    let (Some(marker), Some(value)) =
        (object.get_item(intern!(py, "__type__"))?, object.get_item(intern!(py, "__value__"))?)
    else {
        return Ok(object.into_any());
    };
    let decoder = marker.extract::<String>().ok().and_then(|marker| {
        registry(py).ok()?.decoders.iter().find(|(known, _)| *known == marker).map(|(_, decode)| Arc::clone(decode))
    });
    match decoder {
        Some(decode) => decode.bind(py).call1((value,)),
        None => Err(PyValueError::new_err(format!("unsupported tagged type {}: register it first", marker.repr()?))),
    }
}

#[pyfunction]
fn isoformat<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    value.call_method0(intern!(value.py(), "isoformat"))
}

#[pyfunction]
fn to_datetime<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let py = text.py();
    let class = py.import(intern!(py, "datetime"))?.getattr(intern!(py, "datetime"))?;
    let parse = |text: &str| class.call_method1(intern!(py, "fromisoformat"), (text,));
    let text = text.to_str()?;
    match text.strip_suffix('Z') {
        Some(rest) => parse(&format!("{rest}+00:00")), // Python 3.10 does not know Z
        None => parse(text),
    }
}

#[pyfunction]
fn to_date<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    to_datetime(text)?.call_method0(intern!(text.py(), "date"))
}

#[pyfunction]
fn to_time<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let py = text.py();
    py.import(intern!(py, "datetime"))?
        .getattr(intern!(py, "time"))?
        .call_method1(intern!(py, "fromisoformat"), (text,))
}

#[pyfunction]
fn uuid_members<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let py = value.py();
    let members = PyDict::new(py);
    members.set_item(intern!(py, "hex"), value.getattr(intern!(py, "hex"))?)?;
    Ok(members)
}

#[pyfunction]
fn to_uuid<'py>(members: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    let py = members.py();
    py.import(intern!(py, "uuid"))?.getattr(intern!(py, "UUID"))?.call((), Some(members))
}

#[pyfunction]
fn to_bytes<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    text.call_method1(intern!(text.py(), "encode"), (intern!(text.py(), "utf-8"),))
}

#[pyfunction]
fn to_binary<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = base64::decode(text.to_str()?.as_bytes());
    let bytes = bytes.ok_or_else(|| PyValueError::new_err("a tagged 'base64' value is not base64"))?;
    Ok(PyBytes::new(text.py(), &bytes))
}
