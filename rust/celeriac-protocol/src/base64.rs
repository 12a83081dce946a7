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

#[cold]
fn decode_lenient(text: &[u8]) -> Option<Vec<u8>> {
    let mut kept: Vec<u8> = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => kept.push(byte),
            b'=' if kept.len() % 4 >= 2 => {
                // Data ends here, whatever follows; the padding is completed below.
                let missing = 4 - kept.len() % 4;
                let given = text.iter().filter(|byte| **byte == b'=').count();
                if given < missing {
                    return None;
                }
                kept.resize(kept.len() + missing, b'=');
                break;
            }
            _ => {}
        }
    }
    base64_simd::forgiving_decode_to_vec(&kept).ok().filter(|_| kept.len() % 4 == 0)
}
