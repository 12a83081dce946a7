//! The keys of decoded objects, made once: messages repeat the same dozen.
//!
//! A Python text keeps its hash, so a shared key saves the hashing as well as the making.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::PyString;

const SLOTS: usize = 256;
/// Longer ones are data rather than names.
const MAX_BYTES: usize = 32;

/// A key and the Python text made for it.
type Slot = Option<(Box<str>, Py<PyString>)>;

thread_local! {
    static CACHE: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

/// `key` as a Python text.
pub(super) fn key<'py>(py: Python<'py>, key: &str) -> Bound<'py, PyString> {
    if key.len() > MAX_BYTES {
        return PyString::new(py, key);
    }
    CACHE.with(|cache| {
        let Ok(mut cache) = cache.try_borrow_mut() else { return PyString::new(py, key) };
        if cache.is_empty() {
            cache.resize_with(SLOTS, || None);
        }
        let slot = &mut cache[slot(key)];
        if let Some((known, made)) = slot
            && **known == *key
        {
            return made.bind(py).clone();
        }
        let made = PyString::new(py, key);
        *slot = Some((key.into(), made.clone().unbind()));
        made
    })
}

/// By length and by up to 16 bytes of both ends, loaded as words: byte by byte, each step waits for a multiplication.
fn slot(key: &str) -> usize {
    let bytes = key.as_bytes();
    let (first, last) = match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), 0),
    };
    let mixed = (first ^ last.rotate_left(29) ^ key.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::from(mixed.to_be_bytes()[0]) % SLOTS
}
