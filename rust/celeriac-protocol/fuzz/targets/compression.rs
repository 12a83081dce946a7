//! Any bytes as compressed data: decompressed within the limit or refused.
#![no_main]

use celeriac_protocol::compression;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    let method = ["gzip", "bzip2", "zstd"][usize::from(first % 3)];
    if let Ok(output) = compression::decompress(data, method, LIMIT) {
        assert!(output.len() <= LIMIT);
    }
});
