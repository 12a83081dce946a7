//! Holds the benches of `celeriac-protocol`: `cargo bench -p celeriac-bench-protocol`.
