//! A scanned message as Python sees it: objects are made when asked for.

use bytes::Bytes;
use celeriac_protocol::amqp::Fields;
use celeriac_protocol::amqp::content::is_content;
use celeriac_protocol::{Head, Malformed, Message, Span, Text};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use super::json_decode::{decode, decode_bytes};
use super::{content, table};
use crate::errors::public;

/// A scanned message.
#[pyclass(frozen, name = "Message", module = "celeriac._core")]
pub(crate) struct PyMessage {
    message: Message,
}

/// What a protocol 1 body holds that protocol 2 has in its body, too; the rest are headers.
const BODY_FIELDS: [&str; 5] = ["args", "kwargs", "callbacks", "errbacks", "chord"];

impl PyMessage {
    /// Wraps a message. One whose scan failed is an error at the first use, not here.
    pub(crate) fn new(message: Message) -> Self {
        Self { message }
    }

    fn head(&self, py: Python<'_>) -> PyResult<&Head> {
        self.message.head.as_ref().map_err(|malformed| unreadable(py, malformed))
    }

    fn text<'py>(&self, py: Python<'py>, pick: impl Fn(&Head) -> &Text) -> PyResult<Bound<'py, PyString>> {
        Ok(PyString::new(py, self.message.text(pick(self.head(py)?))))
    }

    /// The headers of protocol 2.
    fn own_headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let head = self.head(py)?;
        if is_content(&self.message.raw) {
            let Span { start, end } = head.headers;
            let table = &self.message.raw[start as usize..end as usize];
            return table::dict(py, Fields::new(table, start as usize));
        }
        self.object(py, head.headers)
    }

    fn object<'py>(&self, py: Python<'py>, span: Span) -> PyResult<Bound<'py, PyDict>> {
        let bytes = &self.message.raw[span.start as usize..span.end as usize];
        if bytes.is_empty() {
            return Ok(PyDict::new(py));
        }
        let value = decode_bytes(py, bytes)?;
        value.cast_into::<PyDict>().map_err(|_| public(py, "DecodeError", "headers and properties must be objects"))
    }

    /// The decoded body of an uncompressed JSON message.
    fn json_body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let head = self.head(py)?;
        if let Some(method) = &head.compression {
            let text = format!("the body is compressed ({})", self.message.text(method));
            return Err(public(py, "DecodeError", &text));
        }
        let content_type = self.message.text(&head.content_type);
        if content_type != "application/json" {
            return Err(public(py, "DecodeError", &format!("the body is {content_type}, not application/json")));
        }
        let body = self.message.body().map_err(|malformed| unreadable(py, &malformed))?;
        match self.message.text(&head.content_encoding) {
            "utf-8" | "UTF-8" | "utf8" | "ascii" | "us-ascii" | "binary" => decode_bytes(py, &body),
            other => {
                let text = PyBytes::new(py, &body).call_method1(intern!(py, "decode"), (other,));
                let text = text.map_err(|error| super::as_codec_error(py, "DecodeError", error))?;
                match text.cast::<PyString>()?.to_str() {
                    Ok(text) => decode(py, text),
                    Err(error) => Err(super::as_codec_error(py, "DecodeError", error)),
                }
            }
        }
    }
}

#[pymethods]
impl PyMessage {
    #[staticmethod]
    #[pyo3(signature = (envelope, /))]
    fn scan(py: Python<'_>, envelope: &[u8]) -> PyResult<Self> {
        let message = Message::scan(Bytes::copy_from_slice(envelope));
        match &message.head {
            Ok(_) => Ok(Self { message }),
            Err(malformed) => Err(unreadable(py, malformed)),
        }
    }

    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        self.text(py, |head| &head.id)
    }

    #[getter]
    fn task<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        self.text(py, |head| &head.task)
    }

    #[getter]
    fn protocol(&self, py: Python<'_>) -> PyResult<u8> {
        Ok(self.head(py)?.protocol)
    }

    #[getter]
    fn retries(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.head(py)?.retries)
    }

    #[getter]
    fn priority(&self, py: Python<'_>) -> PyResult<u8> {
        Ok(self.head(py)?.priority)
    }

    #[getter]
    fn eta_ms(&self, py: Python<'_>) -> PyResult<Option<i64>> {
        Ok(self.head(py)?.eta_ms)
    }

    #[getter]
    fn expires_ms(&self, py: Python<'_>) -> PyResult<Option<i64>> {
        Ok(self.head(py)?.expires_ms)
    }

    #[getter]
    fn ignore_result(&self, py: Python<'_>) -> PyResult<Option<bool>> {
        Ok(self.head(py)?.ignore_result)
    }

    #[getter]
    fn group<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        let group = self.head(py)?.group.as_ref();
        Ok(group.map(|text| PyString::new(py, self.message.text(text))))
    }

    #[getter]
    fn parent_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        let parent_id = self.head(py)?.parent_id.as_ref();
        Ok(parent_id.map(|text| PyString::new(py, self.message.text(text))))
    }

    #[getter]
    fn content_type<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        self.text(py, |head| &head.content_type)
    }

    #[getter]
    fn content_encoding<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        self.text(py, |head| &head.content_encoding)
    }

    #[getter]
    fn compression<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        let compression = self.head(py)?.compression.as_ref();
        Ok(compression.map(|text| PyString::new(py, self.message.text(text))))
    }

    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.message.raw)
    }

    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let head = self.head(py)?;
        let headers = self.own_headers(py)?;
        if head.protocol == 1 {
            let fields = self.json_body(py)?.cast_into::<PyDict>()?;
            if let Some(taskset) = fields.get_item(intern!(py, "taskset"))? {
                fields.set_item(intern!(py, "group"), taskset)?;
                fields.del_item(intern!(py, "taskset"))?;
            }
            for (key, value) in fields.iter() {
                if !BODY_FIELDS.contains(&key.extract::<&str>()?) {
                    headers.set_item(key, value)?;
                }
            }
        }
        Ok(headers)
    }

    fn properties<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let head = self.head(py)?;
        if is_content(&self.message.raw) {
            return content::properties(py, &self.message.raw);
        }
        self.object(py, head.properties)
    }

    fn body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let body = self.message.body().map_err(|malformed| unreadable(py, &malformed))?;
        Ok(PyBytes::new(py, &body))
    }

    fn json_payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        payload(&self.json_body(py)?)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let head = self.head(py)?;
        Ok(format!("<Message {}[{}]>", self.message.text(&head.task), self.message.text(&head.id)))
    }
}

/// `(args, kwargs, embed)` of a decoded body: the three parts of protocol 2, or the fields of protocol 1.
fn payload<'py>(body: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    let py = body.py();
    if let Ok(parts) = body.cast::<PyList>()
        && parts.len() == 3
    {
        return Ok(parts.to_tuple());
    }
    let Ok(fields) = body.cast::<PyDict>() else {
        let what = match body.cast::<PyList>() {
            Ok(parts) => format!("an array of {}", parts.len()),
            Err(_) => body.get_type().name()?.to_string(),
        };
        return Err(public(py, "DecodeError", &format!("a body is [args, kwargs, embed], not {what}")));
    };
    let embed = PyDict::new(py);
    for key in ["callbacks", "errbacks", "chain", "chord"] {
        embed.set_item(key, if key == "chain" { None } else { fields.get_item(key)? })?;
    }
    let args = match fields.get_item(intern!(py, "args"))? {
        Some(args) => args,
        None => PyTuple::empty(py).into_any(),
    };
    let kwargs = match fields.get_item(intern!(py, "kwargs"))? {
        Some(kwargs) => kwargs,
        None => PyDict::new(py).into_any(),
    };
    PyTuple::new(py, [args, kwargs, embed.into_any()])
}

fn unreadable(py: Python<'_>, malformed: &Malformed) -> PyErr {
    public(py, "DecodeError", &malformed.to_string())
}
