//! Writes one token after the other, each in its shortest form.

/// A length that msgpack cannot say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("msgpack holds at most 2**32 - 1 items or bytes, not {0}")]
pub struct TooLong(pub usize);

/// nil.
pub fn nil(into: &mut Vec<u8>) {
    into.push(0xC0);
}

/// true or false.
pub fn bool(value: bool, into: &mut Vec<u8>) {
    into.push(if value { 0xC3 } else { 0xC2 });
}

/// A float, always in 64 bits.
pub fn float(value: f64, into: &mut Vec<u8>) {
    into.push(0xCB);
    into.extend_from_slice(&value.to_be_bytes());
}

/// An integer.
pub fn int(value: i64, into: &mut Vec<u8>) {
    if let Ok(value) = u64::try_from(value) {
        uint(value, into);
    } else if value >= -0x20 {
        into.extend_from_slice(&value.to_be_bytes()[7..]);
    } else if let Ok(value) = i8::try_from(value) {
        into.push(0xD0);
        into.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        into.push(0xD1);
        into.extend_from_slice(&value.to_be_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        into.push(0xD2);
        into.extend_from_slice(&value.to_be_bytes());
    } else {
        into.push(0xD3);
        into.extend_from_slice(&value.to_be_bytes());
    }
}

/// An integer that is not negative.
pub fn uint(value: u64, into: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    match value {
        0..=0x7F => into.push(bytes[7]),
        0x80..=0xFF => into.extend_from_slice(&[0xCC, bytes[7]]),
        0x100..=0xFFFF => {
            into.push(0xCD);
            into.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xFFFF_FFFF => {
            into.push(0xCE);
            into.extend_from_slice(&bytes[4..]);
        }
        _ => {
            into.push(0xCF);
            into.extend_from_slice(&bytes);
        }
    }
}

/// Text.
///
/// # Errors
/// [`TooLong`].
pub fn str(text: &str, into: &mut Vec<u8>) -> Result<(), TooLong> {
    match u8::try_from(text.len()) {
        Ok(length @ 0..=31) => into.push(0xA0 | length),
        Ok(length) => into.extend_from_slice(&[0xD9, length]),
        Err(_) => head(text.len(), 0xDA, 0xDB, into)?,
    }
    into.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Bytes.
///
/// # Errors
/// [`TooLong`].
pub fn bin(bytes: &[u8], into: &mut Vec<u8>) -> Result<(), TooLong> {
    match u8::try_from(bytes.len()) {
        Ok(length) => into.extend_from_slice(&[0xC4, length]),
        Err(_) => head(bytes.len(), 0xC5, 0xC6, into)?,
    }
    into.extend_from_slice(bytes);
    Ok(())
}

/// The head of an array.
///
/// # Errors
/// [`TooLong`].
pub fn array(length: usize, into: &mut Vec<u8>) -> Result<(), TooLong> {
    small(length, 0x90, 0xDC, 0xDD, into)
}

/// The head of a map.
///
/// # Errors
/// [`TooLong`].
pub fn map(length: usize, into: &mut Vec<u8>) -> Result<(), TooLong> {
    small(length, 0x80, 0xDE, 0xDF, into)
}

fn small(length: usize, fix: u8, short: u8, long: u8, into: &mut Vec<u8>) -> Result<(), TooLong> {
    match u8::try_from(length) {
        Ok(length @ 0..=15) => into.push(fix | length),
        _ => head(length, short, long, into)?,
    }
    Ok(())
}

fn head(length: usize, short: u8, long: u8, into: &mut Vec<u8>) -> Result<(), TooLong> {
    if let Ok(length) = u16::try_from(length) {
        into.push(short);
        into.extend_from_slice(&length.to_be_bytes());
    } else {
        into.push(long);
        into.extend_from_slice(&u32::try_from(length).map_err(|_| TooLong(length))?.to_be_bytes());
    }
    Ok(())
}
