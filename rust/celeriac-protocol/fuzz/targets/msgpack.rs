//! Any bytes as msgpack: read token by token or refused; scalars are written back.
#![no_main]

use celeriac_protocol::msgpack::{Reader, Token, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    let mut before = 0;
    while let Ok(token) = reader.next_token() {
        assert!(reader.at() > before && reader.at() <= data.len());
        let length = reader.at() - before;
        before = reader.at();
        let mut written = Vec::new();
        match token {
            Token::Nil => write::nil(&mut written),
            Token::Bool(value) => write::bool(value, &mut written),
            Token::Int(value) => write::int(value, &mut written),
            Token::UInt(value) => write::uint(value, &mut written),
            Token::Float(value) => write::float(value, &mut written),
            Token::Str(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => write::str(text, &mut written).unwrap(),
                Err(_) => continue,
            },
            Token::Bin(bytes) => write::bin(bytes, &mut written).unwrap(),
            Token::Array(count) => {
                assert!(count <= data.len());
                write::array(count, &mut written).unwrap();
            }
            Token::Map(count) => {
                assert!(count <= data.len());
                write::map(count, &mut written).unwrap();
            }
            Token::Ext(..) => continue,
        }
        // The shortest form; a float32 grows.
        assert!(written.len() <= length || matches!(token, Token::Float(_)));
    }
});
