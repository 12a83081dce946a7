//! JSON as Python's standard library reads and writes it, in the dialect that Kombu's messages use.
//!
//! One lexer serves the scan of the envelope (which builds nothing) and the decoder that builds Python objects
//! (`celeriac-py`); one set of writers gives the exact byte form of `json.dumps` with its defaults: ASCII only,
//! `", "` and `": "`, Python's float texts, `NaN` and `Infinity`.
//!
//! Not here: values. Tagged types, key coercion and the fall-back to the standard library need Python's objects.

mod lexer;
mod plain;
mod skip;
mod unescape;
pub mod write;

pub use lexer::{JsonError, Lexer, Number, Problem, Str, StrSpan};
pub use unescape::unescape;

/// Deepest nesting that [`Lexer::skip_value`] follows. Python's own limit is near 1000 frames.
pub const MAX_SKIP_DEPTH: usize = 1024;
