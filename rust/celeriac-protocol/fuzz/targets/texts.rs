//! Any text as base64 and as a date.
#![no_main]

use celeriac_protocol::{base64, dates};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(bytes) = base64::decode(data) {
        assert!(bytes.len() <= data.len());
        let mut again = Vec::new();
        base64::encode(&bytes, &mut again);
        assert_eq!(base64::decode(&again).as_ref(), Some(&bytes));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(date) = dates::parse(text)
    {
        assert!((-62_135_700_000_000..=253_402_400_000_000).contains(&date.unix_ms));
    }
});
