//! JSON text to Python objects, tagged types rebuilt innermost first.
//!
//! Whatever is wrong with a text, the standard library is asked again and says so in its own words: an error costs two
//! readings, a good message one.

use celeriac_protocol::json::{JsonError, Lexer, Number, Str, unescape};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};

use super::{as_codec_error, fallback, keys, tagged};

/// Deeper texts are the standard library's. Bounds our use of the stack.
const MAX_DEPTH: usize = 200;

/// The third part of the body of a task without callbacks, which is most of them, as `json.dumps` writes it.
const NO_CALLBACKS: &[u8] = br#"{"callbacks": null, "errbacks": null, "chain": null, "chord": null}"#;

/// What [`NO_CALLBACKS`] stands for: a copy of a dict made once (measured: a third of reading such a body).
fn no_callbacks(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    static MADE: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let made = MADE.get_or_try_init(py, || -> PyResult<Py<PyDict>> {
        let dict = PyDict::new(py);
        for key in ["callbacks", "errbacks", "chain", "chord"] {
            dict.set_item(keys::key(py, key), py.None())?;
        }
        Ok(dict.unbind())
    })?;
    made.bind(py).copy()
}

enum Stop {
    /// Let the standard library decide, or find the words.
    Doubt,
    /// A hook raised.
    Raised(PyErr),
}

impl From<JsonError> for Stop {
    fn from(_: JsonError) -> Self {
        Self::Doubt
    }
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// The value of a JSON text.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub(super) fn json_loads<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = data.py();
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return decode_bytes(py, bytes.as_bytes());
    }
    if let Ok(text) = data.cast::<PyString>() {
        let answer = match text.to_str() {
            Ok(plain) => return decode(py, plain),
            Err(_) => fallback::loads(text), // half characters
        };
        return answer.map_err(|error| as_codec_error(py, "DecodeError", error));
    }
    // bytearray, memoryview: rare enough for a copy.
    let copy = data.call_method0("__bytes__").or_else(|_| py.get_type::<PyBytes>().call1((data,)))?;
    decode_bytes(py, copy.cast::<PyBytes>()?.as_bytes())
}

/// The value of a JSON text in UTF-8. An error is a `DecodeError`.
pub(super) fn decode_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => decode(py, text),
        Err(error) => {
            let text = format!("not UTF-8 at byte {}", error.valid_up_to());
            Err(crate::errors::public(py, "DecodeError", &text))
        }
    }
}

/// The value of a JSON text. An error is a `DecodeError`.
pub(super) fn decode<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    let mut decoder = Decoder { py, lexer: Lexer::new(text) };
    let answer = decoder.value(MAX_DEPTH).and_then(|value| {
        decoder.lexer.end()?;
        Ok(value)
    });
    match answer {
        Ok(value) => Ok(value),
        Err(Stop::Raised(error)) => Err(error),
        Err(Stop::Doubt) => fallback::loads(&PyString::new(py, text)),
    }
    .map_err(|error| as_codec_error(py, "DecodeError", error))
}

struct Decoder<'a, 'py> {
    py: Python<'py>,
    lexer: Lexer<'a>,
}

impl<'py> Decoder<'_, 'py> {
    fn value(&mut self, depth: usize) -> Result<Bound<'py, PyAny>, Stop> {
        let py = self.py;
        Ok(match self.lexer.peek() {
            Some(b'"') => self.string()?.into_any(),
            Some(b'{') => return self.object(depth),
            Some(b'[') => self.array(depth)?.into_any(),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'n') => {
                self.lexer.literal(b"null")?;
                py.None().into_bound(py)
            }
            Some(b't') => {
                self.lexer.literal(b"true")?;
                PyBool::new(py, true).to_owned().into_any()
            }
            Some(b'f') => {
                self.lexer.literal(b"false")?;
                PyBool::new(py, false).to_owned().into_any()
            }
            Some(b'N') => {
                self.lexer.literal(b"NaN")?;
                PyFloat::new(py, f64::NAN).into_any()
            }
            Some(b'I') => {
                self.lexer.literal(b"Infinity")?;
                PyFloat::new(py, f64::INFINITY).into_any()
            }
            _ => return Err(Stop::Doubt),
        })
    }

    fn string(&mut self) -> Result<Bound<'py, PyString>, Stop> {
        match self.lexer.string()? {
            Str::Plain(text) => Ok(PyString::new(self.py, text)),
            Str::Escaped(content) => {
                let mut text = String::new();
                unescape(content, &mut text)?;
                Ok(PyString::new(self.py, &text))
            }
        }
    }

    fn number(&mut self) -> Result<Bound<'py, PyAny>, Stop> {
        Ok(match self.lexer.number()? {
            Number::Int(value) => PyInt::new(self.py, value).into_any(),
            Number::Float(value) => PyFloat::new(self.py, value).into_any(),
            // Through Python's own int, which limits the digits.
            Number::Big(digits) => self.py.get_type::<PyInt>().call1((digits,))?,
        })
    }

    fn array(&mut self, depth: usize) -> Result<Bound<'py, PyList>, Stop> {
        let depth = depth.checked_sub(1).ok_or(Stop::Doubt)?;
        self.lexer.advance();
        let list = PyList::empty(self.py);
        if self.lexer.take(b']') {
            return Ok(list);
        }
        loop {
            list.append(self.value(depth)?)?;
            if !self.lexer.more(b']', "',' or ']'")? {
                return Ok(list);
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Bound<'py, PyAny>, Stop> {
        let depth = depth.checked_sub(1).ok_or(Stop::Doubt)?;
        if self.lexer.take_guess(NO_CALLBACKS) {
            return Ok(no_callbacks(self.py)?.into_any());
        }
        self.lexer.advance();
        let dict = PyDict::new(self.py);
        if self.lexer.take(b'}') {
            return Ok(dict.into_any());
        }
        let mut tagged = false;
        loop {
            let key = match self.lexer.string()? {
                Str::Plain(text) => {
                    tagged |= text == "__type__";
                    keys::key(self.py, text)
                }
                Str::Escaped(content) => {
                    let mut text = String::new();
                    unescape(content, &mut text)?;
                    tagged |= text == "__type__";
                    PyString::new(self.py, &text)
                }
            };
            self.lexer.expect(b':', "':'")?;
            let value = self.value(depth)?;
            dict.set_item(key, value)?;
            if !self.lexer.more(b'}', "',' or '}'")? {
                break;
            }
        }
        if tagged { Ok(tagged::object_hook(dict)?) } else { Ok(dict.into_any()) }
    }
}
