//! A whole message in AMQP's form, and its parts as Python sees them.

use celeriac_protocol::amqp::{WireError, content, write};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyString};

use super::table;
use crate::errors::public;

/// The properties of AMQP, most significant bit first, and how each is written. `headers`, `content_type` and
/// `content_encoding` are given apart.
const TEXTS: [(u16, &str); 8] = [
    (10, "correlation_id"),
    (9, "reply_to"),
    (8, "expiration"),
    (7, "message_id"),
    (5, "type"),
    (4, "user_id"),
    (3, "app_id"),
    (2, "cluster_id"),
];

/// A whole message. Properties that AMQP has no place for are left out, as py-amqp leaves them out.
#[pyfunction]
#[pyo3(signature = (headers, properties, body, content_type, content_encoding, mandatory = false, /))]
pub(super) fn encode_content<'py>(
    headers: &Bound<'py, PyAny>,
    properties: &Bound<'py, PyAny>,
    body: &[u8],
    content_type: &str,
    content_encoding: &str,
    mandatory: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = headers.py();
    let properties = match properties.cast_exact::<PyDict>() {
        Ok(dict) => dict.clone(),
        Err(_) => py.get_type::<PyDict>().call1((properties,))?.cast_into::<PyDict>()?,
    };
    let mut into = Vec::with_capacity(768 + body.len());
    content::begin(mandatory, false, &mut into);
    let published = properties.get_item(intern!(py, "delivery_info"))?;
    for name in [intern!(py, "exchange"), intern!(py, "routing_key")] {
        let given = match &published {
            Some(published) => published.get_item(name).ok().filter(|given| !given.is_none()),
            None => None,
        };
        let text = given.as_ref().map(PyAnyMethods::extract::<&str>).transpose()?.unwrap_or("");
        short(py, name.to_str()?, text, &mut into)?;
    }
    let opened = write::open(&mut into);
    let mut flags: u16 = 1 << 15 | 1 << 14 | 1 << 13;
    into.extend_from_slice(&[0, 0]);
    short(py, "content_type", content_type, &mut into)?;
    short(py, "content_encoding", content_encoding, &mut into)?;
    let table = write::open(&mut into);
    table::append_fields(headers, "header", &mut into)?;
    write::close(table, &mut into).map_err(|error| too_long(py, "headers", &error))?;
    for (bit, name) in [(12, intern!(py, "delivery_mode")), (11, intern!(py, "priority"))] {
        if let Some(number) = given(&properties, name)? {
            flags |= 1 << bit;
            into.push(octet(&number, name.to_str()?)?);
        }
    }
    for (bit, name) in TEXTS {
        if bit == 5
            && let Some(moment) = given(&properties, intern!(py, "timestamp"))?
        {
            flags |= 1 << 6;
            into.extend_from_slice(&seconds(&moment)?.to_be_bytes());
        }
        if let Some(text) = given(&properties, &PyString::intern(py, name))? {
            flags |= 1 << bit;
            // As Kombu: `expiration` and others may come as numbers.
            short(py, name, text.str()?.to_str()?, &mut into)?;
        }
    }
    into[opened..opened + 2].copy_from_slice(&flags.to_be_bytes());
    write::close(opened, &mut into).map_err(|error| too_long(py, "properties", &error))?;
    into.extend_from_slice(body);
    Ok(PyBytes::new(py, &into))
}

/// Properties as an envelope's would be: without what is asked for by itself, with where the message was published to.
pub(super) fn properties<'py>(py: Python<'py>, raw: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    content::properties(raw, |name, view| {
        if name.starts_with("content_") {
            return Ok(());
        }
        made.set_item(PyString::intern(py, name), table::object(py, view, 0)?).map_err(Stop::Raised)
    })
    .map_err(|stop| stop.into_pyerr(py))?;
    let (exchange, key) = content::destination(raw).map_err(|error| table::unreadable(py, &error))?;
    let info = PyDict::new(py);
    info.set_item(intern!(py, "exchange"), String::from_utf8_lossy(exchange))?;
    info.set_item(intern!(py, "routing_key"), String::from_utf8_lossy(key))?;
    made.set_item(intern!(py, "delivery_info"), info)?;
    Ok(made)
}

enum Stop {
    Wire(WireError),
    Raised(PyErr),
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl Stop {
    fn into_pyerr(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Wire(error) => table::unreadable(py, &error),
            Self::Raised(error) => error,
        }
    }
}

fn given<'py>(properties: &Bound<'py, PyDict>, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(properties.get_item(name)?.filter(|value| !value.is_none()))
}

fn short(py: Python<'_>, name: &str, text: &str, into: &mut Vec<u8>) -> PyResult<()> {
    write::short(text, into).map_err(|_| {
        let text = format!("property '{name}' has {} bytes: AMQP takes at most 255", text.len());
        public(py, "EncodeError", &text)
    })
}

fn octet(number: &Bound<'_, PyAny>, name: &str) -> PyResult<u8> {
    let py = number.py();
    let whole = py.get_type::<PyInt>().call1((number,));
    whole.and_then(|whole| whole.extract::<u8>()).map_err(|_| {
        let shown = number.repr().map(|text| text.to_string()).unwrap_or_default();
        public(py, "EncodeError", &format!("property '{name}' is {shown}: AMQP takes a whole number from 0 to 255"))
    })
}

/// The property `timestamp`, of a number or a datetime.
fn seconds(moment: &Bound<'_, PyAny>) -> PyResult<u64> {
    let py = moment.py();
    let whole = match moment.call_method0("utctimetuple") {
        Ok(parts) => py.import("calendar")?.call_method1("timegm", (parts,))?.extract::<u64>(),
        Err(_) => py.get_type::<PyInt>().call1((moment,)).and_then(|whole| whole.extract::<u64>()),
    };
    whole.map_err(|_| {
        let shown = moment.repr().map(|text| text.to_string()).unwrap_or_default();
        public(py, "EncodeError", &format!("property 'timestamp' is {shown}: AMQP takes a date, or seconds since 1970"))
    })
}

fn too_long(py: Python<'_>, what: &str, error: &WireError) -> PyErr {
    public(py, "EncodeError", &format!("{what} cannot be sent through AMQP: {}", error.what))
}
