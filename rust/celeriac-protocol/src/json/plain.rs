//! Finds where the plain part of a string ends. A third of a scan's time is spent here.
//!
//! Sixteen bytes a step where SSE2 is part of the architecture, eight otherwise; the two give the same answers
//! (`tests/json_props.rs`).
#![cfg_attr(target_arch = "x86_64", allow(unsafe_code, reason = "SSE2, which every x86-64 has"))]

/// The first byte from `start` on that is a quote, a backslash or a control character; the length if there is none.
#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: keeps the answer in a register")]
pub(super) fn plain_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    #[cfg(target_arch = "x86_64")]
    while let Some(chunk) = bytes.get(at..at + 16) {
        // SAFETY: x86-64 always has SSE2, and the chunk has 16 bytes.
        let hits = unsafe { hits16(chunk.as_ptr()) };
        if hits != 0 {
            return at + hits.trailing_zeros() as usize;
        }
        at += 16;
    }
    #[cfg(not(target_arch = "x86_64"))]
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let hits = hits8(u64::from_le_bytes(*chunk));
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    tail(bytes, at)
}

/// The same, eight bytes at a time and then one.
#[inline(never)]
fn tail(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let hits = hits8(u64::from_le_bytes(*chunk));
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let plain = |byte: &u8| !matches!(byte, b'"' | b'\\') && *byte >= 0x20;
    while bytes.get(at).is_some_and(plain) {
        at += 1;
    }
    at
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

/// A bit for each of the 16 bytes at `chunk` that ends the plain part.
///
/// # Safety
/// 16 bytes can be read at `chunk`.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
unsafe fn hits16(chunk: *const u8) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    // SAFETY: 16 bytes as the caller promises; `loadu` needs no alignment.
    let bytes = unsafe { _mm_loadu_si128(chunk.cast()) };
    let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"'.cast_signed()));
    let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\'.cast_signed()));
    let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
    _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)).cast_unsigned()
}
