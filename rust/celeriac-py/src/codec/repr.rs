//! The bounded representation for `argsrepr`, `kwargsrepr` and logs: Python-like text with a budget of characters.
//!
//! Rules: `docs/protocol.md`, "Bounded representations". Two choices of our own: a value whose `repr` raises prints as
//! `<unrepresentable …>`, for a log line must not stop a task; half characters print as the replacement character.

use std::fmt::Write;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};

use super::items::items;

/// However many levels a caller asks for: bounds our use of the stack.
const MOST_LEVELS: usize = 64;

/// The text of `value`.
#[pyfunction]
#[pyo3(signature = (value, max_chars = 1024, max_levels = 3))]
pub(super) fn bounded_repr(value: &Bound<'_, PyAny>, max_chars: usize, max_levels: usize) -> PyResult<String> {
    let mut writer = Writer {
        text: String::with_capacity(64),
        left: isize::try_from(max_chars).unwrap_or(isize::MAX),
        exhausted: false,
        levels: max_levels.min(MOST_LEVELS),
        open: Vec::new(),
    };
    writer.value(value)?;
    Ok(writer.text)
}

struct Writer {
    text: String,
    /// Characters that may still be written; below 0 when the last piece was longer.
    left: isize,
    /// `, ...` is written; only closing brackets follow.
    exhausted: bool,
    levels: usize,
    /// The containers that are open, by address.
    open: Vec<usize>,
}

impl Writer {
    fn value(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(text) = value.cast::<PyString>() {
            let text = text.to_string_lossy();
            let cut = self.cut(&text);
            let quoted = format!("'{}'", cut.replace('\'', "\\'"));
            self.piece(&quoted);
        } else if let Ok(bytes) = value.cast::<PyBytes>() {
            let text = self.bytes(bytes.as_bytes());
            self.piece(&text);
        } else if let Ok(list) = value.cast::<PyList>() {
            self.container(value, "[", "]", list.len(), list.iter())?;
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            self.container(value, "(", if tuple.len() == 1 { ",)" } else { ")" }, tuple.len(), tuple.iter())?;
        } else if let Ok(dict) = value.cast::<PyDict>() {
            self.dict(dict)?;
        } else if let Ok(set) = value.cast::<PySet>() {
            self.set(value, "set()", "{", "}", set.len())?;
        } else if let Ok(set) = value.cast::<PyFrozenSet>() {
            self.set(value, "frozenset()", "frozenset({", "})", set.len())?;
        } else {
            let text = plain(value)?;
            let cut = self.cut(&text);
            self.piece(&cut);
        }
        Ok(())
    }

    fn set(&mut self, value: &Bound<'_, PyAny>, empty: &str, start: &str, end: &str, length: usize) -> PyResult<()> {
        if length == 0 {
            self.piece(empty);
            return Ok(());
        }
        let items: Vec<Bound<'_, PyAny>> = value.try_iter()?.collect::<PyResult<_>>()?;
        self.container(value, start, end, length, items.into_iter())
    }

    fn dict(&mut self, dict: &Bound<'_, PyDict>) -> PyResult<()> {
        if !self.enter(dict, "{", "}") {
            return Ok(());
        }
        for (index, item) in items(dict).enumerate() {
            let (key, value) = item?;
            if index > 0 {
                self.piece(", ");
            }
            if self.exhausted {
                break;
            }
            // A key is a text of its own, with what is left as its budget.
            let key = bounded_repr(&key, self.left.max(0).unsigned_abs(), self.levels)?;
            self.piece(&key);
            self.piece(": ");
            if self.exhausted {
                break;
            }
            self.value(&value)?;
            if self.exhausted {
                break;
            }
        }
        self.leave("}");
        Ok(())
    }

    fn container<'py>(
        &mut self,
        value: &Bound<'py, PyAny>,
        start: &str,
        end: &str,
        length: usize,
        items: impl Iterator<Item = Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        if !self.enter(value, start, end) {
            return Ok(());
        }
        for (index, item) in items.take(length).enumerate() {
            if index > 0 {
                self.piece(", ");
            }
            if self.exhausted {
                break;
            }
            self.value(&item)?;
            if self.exhausted {
                break;
            }
        }
        self.leave(end);
        Ok(())
    }

    /// Opens a container; false if all that is to be said of it has been written.
    fn enter(&mut self, value: &Bound<'_, PyAny>, start: &str, end: &str) -> bool {
        let address = value.as_ptr().addr();
        if self.open.contains(&address) {
            let kind = value.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string());
            let text = format!("<Recursion on {kind} with id={address}>");
            let cut = self.cut(&text);
            self.piece(&cut);
            return false;
        }
        if self.open.len() >= self.levels {
            self.piece(&format!("{start}...{end}"));
            return false;
        }
        self.piece(start);
        if self.exhausted {
            return false;
        }
        self.open.push(address);
        true
    }

    fn leave(&mut self, end: &str) {
        self.open.pop();
        self.text.push_str(end);
        if self.left > 0 {
            self.left -= count(end);
        }
    }

    fn piece(&mut self, piece: &str) {
        if self.exhausted {
            return;
        }
        if self.left <= 0 {
            self.exhausted = true;
            self.text.push_str(", ...");
            return;
        }
        self.text.push_str(piece);
        self.left -= count(piece);
    }

    /// `text`, or its beginning up to the last blank within what is left, and dots.
    fn cut(&self, text: &str) -> String {
        if count(text) < self.left {
            return text.to_owned();
        }
        let left = self.left.max(0).unsigned_abs();
        let end = text.char_indices().nth(left).map_or(text.len(), |(end, _)| end);
        let kept = &text[..end];
        let kept = kept.rsplit_once(' ').map_or(kept, |(kept, _)| kept);
        format!("{kept}...")
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        let left = self.left.max(0).unsigned_abs();
        let (shown, dots) = if bytes.len() > left { (&bytes[..left], "...") } else { (bytes, "") };
        if let Ok(text) = std::str::from_utf8(shown) {
            return format!("b'{text}{dots}'");
        }
        let mut hex = String::with_capacity(shown.len() * 2);
        for byte in shown {
            let _ = write!(hex, "{byte:02x}"); // into a String: cannot fail
        }
        format!("b'{hex}{dots}'")
    }
}

/// The whole text of a value that is no container: its `str` for numbers, its `repr` otherwise.
fn plain(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let number = value.is_none()
        || value.is_instance_of::<PyInt>()
        || value.is_instance_of::<PyFloat>()
        || is_other_number(value)?;
    let text = if number { value.str() } else { value.repr() };
    match text {
        Ok(text) => Ok(text.to_string_lossy().into_owned()),
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyException>(value.py()) => {
            Ok(format!("<unrepresentable {}>", value.get_type().name()?))
        }
        Err(error) => Err(error),
    }
}

/// A fraction, a numpy scalar…: every `numbers.Number` but Decimal.
fn is_other_number(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    let number = py.import(intern!(py, "numbers"))?.getattr(intern!(py, "Number"))?;
    if !value.is_instance(&number)? {
        return Ok(false);
    }
    let decimal = py.import(intern!(py, "decimal"))?.getattr(intern!(py, "Decimal"))?;
    Ok(!value.is_instance(&decimal)?)
}

fn count(text: &str) -> isize {
    let chars = if text.is_ascii() { text.len() } else { text.chars().count() };
    isize::try_from(chars).unwrap_or(isize::MAX)
}
