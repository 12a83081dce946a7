//! msgpack tokens, as `msgpack.packb(use_bin_type=True)` writes them and `msgpack.unpackb(raw=False)` reads them.
//!
//! Not here: values, recursion and Python's rules for them (`celeriac-py`).

mod reader;
pub mod write;

pub use reader::{MsgpackError, Reader, Token};
