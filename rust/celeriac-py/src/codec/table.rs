//! Python objects to AMQP's field values and back, in py-amqp's types: what it can send can be sent, what it reads is read
//! as the same value.

use celeriac_protocol::amqp::{Fields, MAX_TABLE_DEPTH, View, WireError, write};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PySequence, PyString, PyTuple,
};

use super::items::items;
use super::keys;
use crate::errors::public;

/// Appends the fields of a mapping, without their length. `what` it is, for errors: a header, an argument.
pub(crate) fn append_fields(fields: &Bound<'_, PyAny>, what: &str, into: &mut Vec<u8>) -> PyResult<()> {
    append_table(fields, &Place { what, name: None }, into, 0)
}

/// Where a value stands, for errors.
struct Place<'a> {
    what: &'a str,
    name: Option<&'a str>,
}

impl Place<'_> {
    fn refuse(&self, py: Python<'_>, why: &str) -> PyErr {
        let Self { what, name } = self;
        let name = name.map(|name| format!(" '{name}'")).unwrap_or_default();
        public(py, "EncodeError", &format!("{what}{name} cannot be sent through AMQP: {why}"))
    }
}

fn append_table(fields: &Bound<'_, PyAny>, place: &Place<'_>, into: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    let py = fields.py();
    let mut field = |key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>| -> PyResult<()> {
        let name = key.cast::<PyString>().map_err(|_| place.refuse(py, "names must be text"))?.to_str()?;
        write::short(name, into).map_err(|error| place.refuse(py, &format!("name '{name}': {}", error.what)))?;
        append_value(value, &Place { what: place.what, name: place.name.or(Some(name)) }, into, depth)
    };
    if let Ok(dict) = fields.cast_exact::<PyDict>() {
        for item in items(dict) {
            let (key, value) = item?;
            field(&key, &value)?;
        }
        return Ok(());
    }
    for item in fields.cast::<PyMapping>()?.items()?.iter() {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        field(&key, &value)?;
    }
    Ok(())
}

fn append_value(value: &Bound<'_, PyAny>, place: &Place<'_>, into: &mut Vec<u8>, depth: usize) -> PyResult<()> {
    let py = value.py();
    if let Ok(text) = value.cast::<PyString>() {
        let text = text.to_str().map_err(|_| place.refuse(py, "half a character is no text"))?;
        return long(text.as_bytes(), place, py, into);
    }
    if value.is_none() {
        write::void(into);
    } else if let Ok(flag) = value.cast::<PyBool>() {
        write::bool(flag.is_true(), into);
    } else if let Ok(number) = value.cast::<PyInt>() {
        let number = number.extract::<i64>().map_err(|_| place.refuse(py, "a whole number has at most 64 bits"))?;
        write::int(number, into);
    } else if let Ok(number) = value.cast::<PyFloat>() {
        write::float(number.value(), into);
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        return long(bytes.as_bytes(), place, py, into);
    } else if let Ok(bytes) = value.cast::<PyByteArray>() {
        return long(&bytes.to_vec(), place, py, into);
    } else if value.is_instance_of::<PyDict>() || value.cast::<PyMapping>().is_ok() {
        let opened = nested(b'F', place, py, into, depth)?;
        append_table(value, place, into, depth + 1)?;
        write::close(opened, into).map_err(|error| place.refuse(py, error.what))?;
    } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let opened = nested(b'A', place, py, into, depth)?;
        for member in value.cast::<PySequence>()?.try_iter()? {
            append_value(&member?, place, into, depth + 1)?;
        }
        write::close(opened, into).map_err(|error| place.refuse(py, error.what))?;
    } else {
        return append_other(value, place, into);
    }
    Ok(())
}

fn long(bytes: &[u8], place: &Place<'_>, py: Python<'_>, into: &mut Vec<u8>) -> PyResult<()> {
    write::text(bytes, into).map_err(|error| place.refuse(py, error.what))
}

fn nested(letter: u8, place: &Place<'_>, py: Python<'_>, into: &mut Vec<u8>, depth: usize) -> PyResult<usize> {
    if depth + 1 >= MAX_TABLE_DEPTH {
        return Err(place.refuse(py, &format!("it nests more than {MAX_TABLE_DEPTH} deep")));
    }
    into.push(letter);
    Ok(write::open(into))
}

#[cold]
fn append_other(value: &Bound<'_, PyAny>, place: &Place<'_>, into: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    if value.is_instance(&py.import("datetime")?.getattr("datetime")?)? {
        // A naive one is taken as UTC, as py-amqp does.
        let moment = value.call_method0("utctimetuple")?;
        let seconds: i64 = py.import("calendar")?.call_method1("timegm", (moment,))?.extract()?;
        let seconds = u64::try_from(seconds).map_err(|_| place.refuse(py, "a date before 1970"))?;
        write::timestamp(seconds, into);
        return Ok(());
    }
    if value.is_instance(&py.import("decimal")?.getattr("Decimal")?)? {
        let (scale, unscaled) = decimal(value).ok_or_else(|| {
            place.refuse(py, "a Decimal has at most 255 digits behind the point and 31 bits without it")
        })?;
        write::decimal(scale, unscaled, into);
        return Ok(());
    }
    let kind = value.get_type().name()?;
    let why = format!("its type is {kind}; text, bytes, numbers, bool, None, datetime, list and dict can");
    Err(place.refuse(py, &why))
}

fn decimal(value: &Bound<'_, PyAny>) -> Option<(u8, i32)> {
    let parts: (u8, Vec<u8>, i32) = value.call_method0("as_tuple").ok()?.extract().ok()?;
    let (sign, digits, exponent) = parts;
    let mut unscaled: i32 = 0;
    for digit in digits.into_iter().map(i32::from).chain(std::iter::repeat_n(0, usize::try_from(exponent).unwrap_or(0)))
    {
        unscaled = unscaled.checked_mul(10)?.checked_add(digit)?;
    }
    let scale = u8::try_from(exponent.min(0).checked_neg()?).ok()?;
    Some((scale, if sign == 1 { -unscaled } else { unscaled }))
}

/// The members of a table as a dict.
pub(crate) fn dict<'py>(py: Python<'py>, fields: Fields<'_>) -> PyResult<Bound<'py, PyDict>> {
    table(py, fields, 0)
}

fn table<'py>(py: Python<'py>, mut fields: Fields<'_>, depth: usize) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    while let Some((name, view)) = fields.field().map_err(|error| unreadable(py, &error))? {
        match std::str::from_utf8(name) {
            Ok(name) => made.set_item(keys::key(py, name), object(py, view, depth)?)?,
            Err(_) => made.set_item(PyBytes::new(py, name), object(py, view, depth)?)?,
        }
    }
    Ok(made)
}

/// A value as py-amqp gives it: text that is no UTF-8 as bytes, dates naive and in UTC.
pub(crate) fn object<'py>(py: Python<'py>, view: View<'_>, depth: usize) -> PyResult<Bound<'py, PyAny>> {
    if matches!(view, View::Array(_) | View::Table(_)) && depth + 1 >= MAX_TABLE_DEPTH {
        return Err(public(py, "DecodeError", &format!("a header nests more than {MAX_TABLE_DEPTH} deep")));
    }
    Ok(match view {
        View::Void => py.None().into_bound(py),
        View::Bool(flag) => PyBool::new(py, flag).to_owned().into_any(),
        View::Int(number) => PyInt::new(py, number).into_any(),
        View::Float(number) => PyFloat::new(py, number).into_any(),
        View::Str(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => PyString::new(py, text).into_any(),
            Err(_) => PyBytes::new(py, bytes).into_any(),
        },
        View::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        View::Decimal(scale, unscaled) => {
            let made = py.import("decimal")?.getattr("Decimal")?.call1((unscaled,))?;
            made.call_method1("scaleb", (-i32::from(scale),))?
        }
        View::Timestamp(seconds) => {
            let module = py.import("datetime")?;
            let epoch = module.getattr("datetime")?.call1((1970, 1, 1))?;
            let since = module.getattr("timedelta")?.call1((0, seconds));
            // A date that Python has not: the number says more than an error that loses the message.
            match since.and_then(|since| epoch.call_method1(intern!(py, "__add__"), (since,))) {
                Ok(date) => date,
                Err(_) => seconds.into_pyobject(py)?.into_any(),
            }
        }
        View::Array(mut members) => {
            let list = PyList::empty(py);
            while let Some(member) = members.member().map_err(|error| unreadable(py, &error))? {
                list.append(object(py, member, depth + 1)?)?;
            }
            list.into_any()
        }
        View::Table(fields) => table(py, fields, depth + 1)?.into_any(),
    })
}

pub(crate) fn unreadable(py: Python<'_>, error: &WireError) -> PyErr {
    public(py, "DecodeError", &error.to_string())
}
