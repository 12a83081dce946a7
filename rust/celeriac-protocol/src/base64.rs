//! base64 of message bodies: standard alphabet, padded.

use base64_simd::{Out, STANDARD};

/// Appends the base64 of `data`.
pub fn encode(data: &[u8], into: &mut Vec<u8>) {
    let start = into.len();
    into.resize(start + STANDARD.encoded_length(data.len()), 0);
    let _ = STANDARD.encode(data, Out::from_slice(&mut into[start..]));
}

/// The bytes that `text` stands for.
///
/// Python's decoder, which Celery uses, steps over characters outside the alphabet (line breaks, say); the strict
/// decoder goes first because that never happens in practice.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode_to_vec(text).ok().or_else(|| decode_lenient(text))
}

/// As `binascii.a2b_base64`: other characters are stepped over, data ends at complete padding.
#[cold]
fn decode_lenient(text: &[u8]) -> Option<Vec<u8>> {
    let mut kept: Vec<u8> = Vec::with_capacity(text.len());
    let mut padding = 0;
    for &byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                kept.push(byte);
                padding = 0;
            }
            b'=' if kept.len() % 4 >= 2 => {
                padding += 1;
                if kept.len() % 4 + padding == 4 {
                    break;
                }
            }
            _ => {}
        }
    }
    let whole = kept.len().is_multiple_of(4) || kept.len() % 4 + padding == 4;
    if !whole {
        return None;
    }
    // Bits beyond the last whole byte may be anything.
    let mut bytes = Vec::with_capacity(kept.len() * 3 / 4);
    for group in kept.chunks(4) {
        let bits = group.iter().fold(0_u32, |bits, &byte| bits << 6 | sextet(byte)) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

fn sextet(byte: u8) -> u32 {
    u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    })
}
