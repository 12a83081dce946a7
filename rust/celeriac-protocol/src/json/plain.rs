//! Finds where the plain part of a string ends. A third of a scan's time is spent here.
//!
//! Sixteen bytes a step where SSE2 is part of the architecture, eight otherwise; the two give the same answers
//! (`tests/json_props.rs`).
#![cfg_attr(target_arch = "x86_64", allow(unsafe_code, reason = "SSE2, which every x86-64 has"))]

/// The first byte from `start` on that is a quote, a backslash or a control character; the length if there is none.
#[inline]
pub(super) fn plain_end(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or(&[]);
    #[cfg(target_arch = "x86_64")]
    {
        let (chunks, _) = rest.as_chunks::<16>();
        for (index, chunk) in chunks.iter().enumerate() {
            // SAFETY: x86-64 always has SSE2.
            let hits = unsafe { hits16(chunk) };
            if hits != 0 {
                return start + index * 16 + hits.trailing_zeros() as usize;
            }
        }
        start + chunks.len() * 16 + tail(&rest[chunks.len() * 16..])
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        start + tail(rest)
    }
}

/// The same within `bytes`, eight at a time.
#[inline]
fn tail(bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let hits = hits8(u64::from_le_bytes(*chunk));
        if hits != 0 {
            return index * 8 + hits.trailing_zeros() as usize / 8;
        }
    }
    let odd = |byte: &u8| matches!(byte, b'"' | b'\\') || *byte < 0x20;
    chunks.len() * 8 + rest.iter().position(odd).unwrap_or(rest.len())
}

/// The high bit of each byte that ends the plain part; exact for the lowest set bit, carries may set higher ones.
#[inline]
fn hits8(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const QUOTES: u64 = ONES * 0x22;
    const BACKSLASHES: u64 = ONES * 0x5C;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ QUOTES;
    let backslash = word ^ BACKSLASHES;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (control | (quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash)) & HIGHS
}

/// A bit for each byte that ends the plain part.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn hits16(chunk: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let (words, _) = chunk.as_chunks::<8>();
    let bytes = _mm_set_epi64x(i64::from_le_bytes(words[1]), i64::from_le_bytes(words[0]));
    let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"'.cast_signed()));
    let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\'.cast_signed()));
    let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
    _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)).cast_unsigned()
}
