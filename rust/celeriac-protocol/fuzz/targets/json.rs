//! Any text as JSON: taken token by token or refused; what was written is read back.
#![no_main]

use celeriac_protocol::json::{Lexer, Number, Str, unescape, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lexer = Lexer::new(text);
    if lexer.skip_value().is_ok() {
        assert!(lexer.at() <= text.len());
    }
    let mut out = String::new();
    let _ = unescape(text, &mut out);
    let mut lexer = Lexer::new(text);
    if let Ok(Str::Escaped(content)) = lexer.string() {
        let mut out = String::new();
        let _ = unescape(content, &mut out);
    }
    let mut lexer = Lexer::new(text);
    if let Ok(Number::Float(value)) = lexer.number()
        && value.is_finite()
    {
        let mut written = Vec::new();
        write::float(value, &mut written);
        let back: f64 = std::str::from_utf8(&written).unwrap().parse().unwrap();
        assert_eq!(back.to_bits(), value.to_bits());
    }
    let mut written = Vec::new();
    write::string(text, &mut written);
    let written = String::from_utf8(written).unwrap();
    let mut lexer = Lexer::new(&written);
    let mut back = String::new();
    match lexer.string().unwrap() {
        Str::Plain(plain) => back.push_str(plain),
        Str::Escaped(content) => unescape(content, &mut back).unwrap(),
    }
    assert_eq!(back, text);
    lexer.end().unwrap();
});
