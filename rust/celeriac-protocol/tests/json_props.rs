//! The lexer against a naive reading, the writers against what reads them back, and nothing panics.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use celeriac_protocol::json::{Lexer, MAX_SKIP_DEPTH, Number, Problem, Str, unescape, write};
use proptest::prelude::*;

fn text(lexer: &mut Lexer<'_>) -> Option<String> {
    match lexer.string().ok()? {
        Str::Plain(text) => Some(text.to_owned()),
        Str::Escaped(content) => {
            let mut text = String::new();
            unescape(content, &mut text).ok()?;
            Some(text)
        }
    }
}

/// Where a string's plain part ends, one byte at a time.
fn naive_plain(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')).unwrap_or(bytes.len())
}

proptest! {
    #[test]
    fn a_written_text_is_ascii_and_reads_back(given in "\\PC*|[\\x00-\\x7f]*|.{0,80}") {
        let mut written = Vec::new();
        write::string(&given, &mut written);
        let written = String::from_utf8(written).unwrap();
        prop_assert!(written.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let mut lexer = Lexer::new(&written);
        prop_assert_eq!(text(&mut lexer), Some(given));
        prop_assert!(lexer.end().is_ok());
    }

    #[test]
    fn a_plain_part_ends_where_a_byte_by_byte_search_says(given in "[a\"\\\\\\x00-\\x21é]{0,70}") {
        let quoted = format!("\"{given}\"");
        let mut lexer = Lexer::new(&quoted);
        let end = naive_plain(given.as_bytes());
        let clean = given.as_bytes().get(end).is_none_or(|byte| *byte == b'"');
        match lexer.string() {
            Ok(Str::Plain(text)) => prop_assert_eq!(text, &given[..end]),
            Ok(Str::Escaped(_)) => prop_assert!(!clean),
            Err(error) => {
                prop_assert!(!clean);
                prop_assert!(error.at > end);
            }
        }
    }

    #[test]
    fn an_int_reads_back(given: i64) {
        let mut written = Vec::new();
        write::int(given, &mut written);
        let written = String::from_utf8(written).unwrap();
        prop_assert_eq!(Lexer::new(&written).number().unwrap(), Number::Int(given));
    }

    #[test]
    fn a_float_reads_back_bit_by_bit(bits: u64) {
        let given = f64::from_bits(bits);
        prop_assume!(given.is_finite());
        let mut written = Vec::new();
        write::float(given, &mut written);
        let written = String::from_utf8(written).unwrap();
        let Number::Float(back) = Lexer::new(&written).number().unwrap() else { panic!("{written} is no float") };
        prop_assert_eq!(back.to_bits(), given.to_bits());
    }

    #[test]
    fn any_text_is_read_or_refused(given in ".{0,200}") {
        let mut lexer = Lexer::new(&given);
        if lexer.skip_value().is_ok() {
            prop_assert!(lexer.at() <= given.len());
        }
        let _ = unescape(&given, &mut String::new());
    }

    #[test]
    fn any_text_of_tokens_is_read_or_refused(
        given in "([\\[\\]{},: ]|\"a\"|\"\\\\u00e9\"|-?[0-9]{1,3}|true|null|NaN|1e5|\\\\){0,60}",
    ) {
        let _ = Lexer::new(&given).skip_value();
    }
}

#[test]
fn floats_are_pythons() {
    for (given, expected) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (100.0, "100.0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (1e300, "1e+300"),
        (5e-324, "5e-324"),
        (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        let mut written = Vec::new();
        write::float(given, &mut written);
        assert_eq!(std::str::from_utf8(&written).unwrap(), expected);
    }
}

#[test]
fn nesting_is_followed_to_the_limit_and_no_further() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Lexer::new(&nested(MAX_SKIP_DEPTH)).skip_value().is_ok());
    let error = Lexer::new(&nested(MAX_SKIP_DEPTH + 1)).skip_value().unwrap_err();
    assert_eq!(error.problem, Problem::TooDeep);
    assert!(Lexer::new(&"[".repeat(10_000_000)).skip_value().is_err());
}

#[test]
fn what_is_no_json_is_refused() {
    for given in [
        "",
        " ",
        "[",
        "[1,]",
        "{\"a\"}",
        "{\"a\":1,}",
        "{1:2}",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "tru",
        "-",
        "+1",
        "nul",
        "[1 2]",
        "{\"a\" 1}",
        "\"abc",
        "'a'",
        "-Inf",
        "\\",
        "]",
        "{]",
        "[}",
    ] {
        let mut lexer = Lexer::new(given);
        assert!(lexer.skip_value().and_then(|()| lexer.end()).is_err(), "{given}");
    }
    for given in ["01", "1.", "1.e5", "1e", "1e+", "--1", "0x1", "1 1"] {
        let mut lexer = Lexer::new(given);
        assert!(lexer.skip_value().and_then(|()| lexer.end()).is_err(), "{given}");
    }
}

#[test]
fn nul_is_neither_the_end_nor_a_value() {
    for given in ["\0", "[1]\0", "[\0]", "{\0}", "1 \0", "[1,\0 2]"] {
        let mut lexer = Lexer::new(given);
        assert!(lexer.skip_value().and_then(|()| lexer.end()).is_err(), "{given:?}");
    }
}

#[test]
fn any_blanks_may_stand_between_tokens() {
    for blanks in ["", " ", "  ", "\t", " \n", "\r\n \t "] {
        let given = ["[", "1", ",", "{", "\"a\"", ":", "null", "}", "]", ""].join(blanks);
        let mut lexer = Lexer::new(&given);
        assert!(lexer.skip_value().and_then(|()| lexer.end()).is_ok(), "{given:?}");
    }
}

#[test]
fn half_characters_are_told_from_whole_ones() {
    let mut text = String::new();
    unescape("\\ud834\\udd1e", &mut text).unwrap();
    assert_eq!(text, "𝄞");
    for given in ["\\ud834", "\\ud834x", "\\ud834\\u0041", "\\udd1e", "a\\udd1e\\ud834"] {
        assert_eq!(unescape(given, &mut String::new()).unwrap_err().problem, Problem::LoneSurrogate, "{given}");
    }
}
