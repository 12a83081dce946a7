//! Field values straight into a buffer, in the types that py-amqp writes: for who has no [`super::Table`] to write.

use super::wire::WireError;

/// Nothing: `V`.
pub fn void(into: &mut Vec<u8>) {
    into.push(b'V');
}

/// A truth value: `t`.
pub fn bool(value: bool, into: &mut Vec<u8>) {
    into.extend_from_slice(&[b't', u8::from(value)]);
}

/// A whole number: `I` where 32 bits hold it as py-amqp counts them, else `L`.
pub fn int(value: i64, into: &mut Vec<u8>) {
    match i32::try_from(value) {
        Ok(short) if short != i32::MIN => {
            into.push(b'I');
            into.extend_from_slice(&short.to_be_bytes());
        }
        // RabbitMQ takes it as `l`.
        _ => {
            into.push(b'L');
            into.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// A number: `d`.
pub fn float(value: f64, into: &mut Vec<u8>) {
    into.push(b'd');
    into.extend_from_slice(&value.to_be_bytes());
}

/// A decimal of `unscaled / 10^scale`: `D`.
pub fn decimal(scale: u8, unscaled: i32, into: &mut Vec<u8>) {
    into.extend_from_slice(&[b'D', scale]);
    into.extend_from_slice(&unscaled.to_be_bytes());
}

/// Seconds since the epoch: `T`.
pub fn timestamp(seconds: u64, into: &mut Vec<u8>) {
    into.push(b'T');
    into.extend_from_slice(&seconds.to_be_bytes());
}

/// Text or bytes: `S`.
///
/// # Errors
/// 4 GiB or more.
pub fn text(value: &[u8], into: &mut Vec<u8>) -> Result<(), WireError> {
    let length = u32::try_from(value.len())
        .map_err(|_| WireError { what: "a text of a header is shorter than 4 GiB", at: into.len() })?;
    into.push(b'S');
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(value);
    Ok(())
}

/// A short string: a name, or a property.
///
/// # Errors
/// Over 255 bytes.
pub fn short(value: &str, into: &mut Vec<u8>) -> Result<(), WireError> {
    let length = u8::try_from(value.len())
        .map_err(|_| WireError { what: "a name or property of AMQP has at most 255 bytes", at: into.len() })?;
    into.push(length);
    into.extend_from_slice(value.as_bytes());
    Ok(())
}

/// Begins something with a length of 32 bits before it; give what it returns to [`close`].
#[must_use]
pub fn open(into: &mut Vec<u8>) -> usize {
    into.extend_from_slice(&[0; 4]);
    into.len()
}

/// Writes the length of what came since [`open`].
///
/// # Errors
/// 4 GiB or more.
pub fn close(opened: usize, into: &mut [u8]) -> Result<(), WireError> {
    let length = u32::try_from(into.len() - opened)
        .map_err(|_| WireError { what: "a table is shorter than 4 GiB", at: opened })?;
    into[opened - 4..opened].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
