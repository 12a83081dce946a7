//! base64, msgpack, compression, dates and ids: round trips, limits, and no input panics.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use celeriac_protocol::msgpack::{Reader, Token, write};
use celeriac_protocol::{base64, compression, dates, uuid};
use proptest::prelude::*;

proptest! {
    #[test]
    fn base64_reads_back(given: Vec<u8>) {
        let mut text = Vec::new();
        base64::encode(&given, &mut text);
        prop_assert_eq!(base64::decode(&text), Some(given.clone()));
        let broken: Vec<u8> = text.chunks(5).flat_map(|line| [line, b"\r\n"].concat()).collect();
        prop_assert_eq!(base64::decode(&broken), Some(given));
    }

    #[test]
    fn any_base64_is_read_or_refused(given: Vec<u8>, text in "[A-Za-z0-9+/= \n]{0,40}") {
        let _ = (base64::decode(&given), base64::decode(text.as_bytes()));
    }

    #[test]
    fn msgpack_scalars_read_back(int: i64, uint: u64, float: f64, text in ".{0,300}", bytes: Vec<u8>, count in 0_usize..70_000) {
        let mut into = Vec::new();
        write::int(int, &mut into);
        write::uint(uint, &mut into);
        write::float(float, &mut into);
        write::str(&text, &mut into).unwrap();
        write::bin(&bytes, &mut into).unwrap();
        write::array(count, &mut into).unwrap();
        into.resize(into.len() + count, 0xC0);
        let mut reader = Reader::new(&into);
        prop_assert_eq!(reader.next_token().unwrap(), Token::Int(int));
        prop_assert_eq!(reader.next_token().unwrap(), i64::try_from(uint).map_or(Token::UInt(uint), Token::Int));
        let Token::Float(back) = reader.next_token().unwrap() else { panic!("no float") };
        prop_assert_eq!(back.to_bits(), float.to_bits());
        prop_assert_eq!(reader.next_token().unwrap(), Token::Str(text.as_bytes()));
        prop_assert_eq!(reader.next_token().unwrap(), Token::Bin(&bytes));
        prop_assert_eq!(reader.next_token().unwrap(), Token::Array(count));
    }

    #[test]
    fn any_msgpack_is_read_or_refused(given: Vec<u8>) {
        let mut reader = Reader::new(&given);
        while reader.next_token().is_ok() {
            prop_assert!(reader.at() <= given.len());
        }
    }

    #[test]
    fn compression_reads_back(given: Vec<u8>, method in "gzip|bzip2|zstd") {
        let packed = compression::compress(&given, &method).unwrap();
        prop_assert_eq!(compression::decompress(&packed, &method, given.len()).unwrap(), given.clone());
        if !given.is_empty() {
            prop_assert!(compression::decompress(&packed, &method, given.len() - 1).is_err());
            prop_assert!(compression::decompress(&packed[..packed.len() / 2], &method, 1 << 20).is_err());
        }
    }

    #[test]
    fn any_compressed_bytes_are_read_or_refused(given: Vec<u8>, method in "gzip|bzip2|zstd|lz4") {
        let _ = compression::decompress(&given, &method, 1 << 16);
    }

    #[test]
    fn any_date_is_read_or_refused(given in ".{0,40}", digits in "[0-9TWZ:+., -]{0,40}") {
        for text in [&given, &digits] {
            if let Some(date) = dates::parse(text) {
                prop_assert!((-62_135_700_000_000..=253_402_400_000_000).contains(&date.unix_ms));
            }
        }
    }

    #[test]
    fn a_date_is_its_count_of_days(days in -719_162_i64..=2_932_896, ms in 0_i64..86_400_000) {
        let (year, month, day) = civil(days);
        let (hour, minute, second, milli) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z");
        prop_assert_eq!(dates::parse(&text).unwrap(), dates::Date { unix_ms: days * 86_400_000 + ms, naive: false });
    }
}

/// The calendar date of a count of days, one year at a time.
fn civil(days: i64) -> (i64, i64, i64) {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut left = days + 719_162;
    let mut year = 1 + left / 146_097 * 400;
    left %= 146_097;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let mut month = 1;
    for length in [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[test]
fn a_small_bomb_stops_at_the_limit() {
    for method in ["gzip", "bzip2", "zstd"] {
        let packed = compression::compress(&vec![0; 8 << 20], method).unwrap();
        let error = compression::decompress(&packed, method, 1 << 20).unwrap_err();
        assert!(matches!(error, compression::CompressionError::TooLong(_)), "{method}: {error}");
    }
}

#[test]
fn a_length_that_cannot_be_true_is_refused_at_once() {
    for head in
        [&b"\xdd\xff\xff\xff\xff"[..], b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]
    {
        assert!(Reader::new(head).next_token().is_err());
    }
}

#[test]
fn ids_are_uuids_of_version_7_that_sort_by_time() {
    let made: Vec<String> = (0..1000).map(|ms| uuid::uuid7(1_795_000_000_000 + ms).unwrap()).collect();
    assert!(made.is_sorted());
    let ids: std::collections::HashSet<String> = (0..1000).map(|_| uuid::uuid7(1_795_000_000_000).unwrap()).collect();
    assert_eq!(ids.len(), 1000);
    assert!(ids.iter().all(|id| id.starts_with("01a1ee56-5e00-")), "48 bits of time come first");
    for count in [0, 1, 1024, 2500] {
        let many = uuid::uuid7s(1_795_000_000_000, count).unwrap();
        let distinct: std::collections::HashSet<_> = many.iter().filter(|id| id.len() == 36).collect();
        assert_eq!((many.len(), distinct.len()), (count, count));
    }
    for id in &ids {
        let bytes = id.as_bytes();
        assert_eq!((id.len(), bytes[14]), (36, b'7'), "{id}");
        assert!(matches!(bytes[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        assert!(id.chars().enumerate().all(|(at, c)| if matches!(at, 8 | 13 | 18 | 23) {
            c == '-'
        } else {
            c.is_ascii_hexdigit()
        }));
    }
}
