//! Many whole messages from one model: what they share is encoded once.
//!
//! The messages of a bulk call differ in ids, arguments and their representations. The rest, three quarters of their bytes,
//! is written into a [`Model`] with holes; a message is a copy of it with the holes filled.

use celeriac_protocol::base64;
use celeriac_protocol::json::write;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use super::items::items;
use super::json_encode::{append, append_key};
use super::repr::bounded_repr;

/// Levels of a representation, as everywhere.
const LEVELS: usize = 3;

#[derive(Clone, Copy)]
enum Hole {
    Id,
    Tag,
    Args,
    Kwargs,
}

#[derive(Default)]
struct Model {
    bytes: Vec<u8>,
    /// What goes before `bytes[at]`, in order.
    holes: Vec<(usize, Hole)>,
}

impl Model {
    /// Writes an object; members that `hole` names are left open.
    fn object(&mut self, dict: &Bound<'_, PyDict>, hole: impl Fn(&str) -> Option<Hole>) -> PyResult<()> {
        let mut separator: &[u8] = b"{";
        for item in items(dict) {
            let (key, value) = item?;
            self.bytes.extend_from_slice(separator);
            append_key(&key, &mut self.bytes)?;
            self.bytes.extend_from_slice(b": ");
            let open = key.cast::<PyString>().ok().and_then(|key| key.to_str().ok().and_then(&hole));
            match open {
                Some(hole) => self.holes.push((self.bytes.len(), hole)),
                None => append(&value, &mut self.bytes)?,
            }
            separator = b", ";
        }
        self.bytes.extend_from_slice(if dict.is_empty() { b"{}" } else { b"}" });
        Ok(())
    }
}

/// What the messages of one task share; see the module.
#[pyclass(frozen, module = "celeriac._core")]
pub(crate) struct EnvelopeModel {
    model: Model,
    /// The body's third part.
    links: Vec<u8>,
    args_chars: usize,
    kwargs_chars: usize,
}

#[pymethods]
impl EnvelopeModel {
    /// `headers` and `properties` are those of any message; `root_id` changes with `id` if the two are equal there. `None` as
    /// a number of characters leaves the model's representation in all of them.
    #[new]
    #[pyo3(signature = (headers, properties, embed, args_chars, kwargs_chars, /))]
    fn new(
        headers: &Bound<'_, PyDict>,
        properties: &Bound<'_, PyDict>,
        embed: &Bound<'_, PyAny>,
        args_chars: Option<usize>,
        kwargs_chars: Option<usize>,
    ) -> PyResult<Self> {
        let model = model(headers, properties, args_chars.is_some(), kwargs_chars.is_some())?;
        let mut links = Vec::new();
        append(embed, &mut links)?;
        Ok(Self { model, links, args_chars: args_chars.unwrap_or(0), kwargs_chars: kwargs_chars.unwrap_or(0) })
    }

    /// The message of one call, with a JSON body.
    #[pyo3(signature = (id, tag, args, kwargs, /))]
    fn one<'py>(
        &self,
        id: &Bound<'py, PyAny>,
        tag: &Bound<'py, PyAny>,
        args: &Bound<'py, PyAny>,
        kwargs: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut into = Vec::with_capacity(self.model.bytes.len() + 512);
        self.write(id, tag, args, kwargs, &mut Vec::with_capacity(256), &mut into)?;
        Ok(PyBytes::new(id.py(), &into))
    }

    /// The messages of many.
    #[pyo3(signature = (ids, tags, calls, /))]
    fn many<'py>(
        &self,
        ids: &Bound<'py, PyList>,
        tags: &Bound<'py, PyList>,
        calls: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = ids.py();
        if ids.len() != calls.len() || tags.len() != calls.len() {
            return Err(PyValueError::new_err("EnvelopeModel.many: ids, tags and calls differ in length"));
        }
        let made = PyList::empty(py);
        let (mut body, mut into) = (Vec::with_capacity(256), Vec::with_capacity(self.model.bytes.len() + 512));
        for ((id, tag), call) in ids.iter().zip(tags.iter()).zip(calls.iter()) {
            let call = call.cast_into::<PyTuple>()?;
            into.clear();
            self.write(&id, &tag, &call.get_item(0)?, &call.get_item(1)?, &mut body, &mut into)?;
            made.append(PyBytes::new(py, &into))?;
        }
        Ok(made)
    }
}

impl EnvelopeModel {
    fn write(
        &self,
        id: &Bound<'_, PyAny>,
        tag: &Bound<'_, PyAny>,
        args: &Bound<'_, PyAny>,
        kwargs: &Bound<'_, PyAny>,
        body: &mut Vec<u8>,
        into: &mut Vec<u8>,
    ) -> PyResult<()> {
        body.clear();
        body.push(b'[');
        append(args, body)?;
        body.extend_from_slice(b", ");
        append(kwargs, body)?;
        body.extend_from_slice(b", ");
        body.extend_from_slice(&self.links);
        body.push(b']');
        into.extend_from_slice(b"{\"body\": \"");
        base64::encode(body, into);
        into.extend_from_slice(
            b"\", \"content-encoding\": \"utf-8\", \"content-type\": \"application/json\", \"headers\": ",
        );
        let mut from = 0;
        for &(at, hole) in &self.model.holes {
            into.extend_from_slice(&self.model.bytes[from..at]);
            from = at;
            match hole {
                Hole::Id => append(id, into)?,
                Hole::Tag => append(tag, into)?,
                Hole::Args => write::string(&bounded_repr(args, self.args_chars, LEVELS)?, into),
                Hole::Kwargs => write::string(&bounded_repr(kwargs, self.kwargs_chars, LEVELS)?, into),
            }
        }
        into.extend_from_slice(&self.model.bytes[from..]);
        Ok(())
    }
}

/// Headers, properties and the end of the envelope.
fn model(
    headers: &Bound<'_, PyDict>,
    properties: &Bound<'_, PyDict>,
    own_args: bool,
    own_kwargs: bool,
) -> PyResult<Model> {
    let py = headers.py();
    let (id, root) = (headers.get_item(intern!(py, "id"))?, headers.get_item(intern!(py, "root_id"))?);
    let own_root = match (&id, &root) {
        (Some(id), Some(root)) => id.eq(root)?,
        _ => false,
    };
    let mut model = Model::default();
    model.object(headers, |key| match key {
        "id" => Some(Hole::Id),
        "root_id" if own_root => Some(Hole::Id),
        "argsrepr" if own_args => Some(Hole::Args),
        "kwargsrepr" if own_kwargs => Some(Hole::Kwargs),
        _ => None,
    })?;
    model.bytes.extend_from_slice(b", \"properties\": ");
    // Kombu has the encoding before the tag, which is its last member.
    let sent = PyDict::new(py);
    sent.update(properties.as_mapping())?;
    let tag = intern!(py, "delivery_tag");
    if sent.contains(tag)? {
        sent.del_item(tag)?;
    }
    sent.set_item(intern!(py, "body_encoding"), intern!(py, "base64"))?;
    sent.set_item(tag, py.None())?;
    model.object(&sent, |key| match key {
        "correlation_id" => Some(Hole::Id),
        "delivery_tag" => Some(Hole::Tag),
        _ => None,
    })?;
    model.bytes.push(b'}');
    Ok(model)
}
