//! Ids that sort by the time they were made.

/// A UUID text of version 7 (RFC 9562), e.g. `019e5f1a-c063-7d4c-8d7a-c8e02b4c117d`: 48 bits of `wall_ms` (ms since the
/// Unix epoch), then 74 random bits.
///
/// Ids that begin with the time keep a store's index in order: each result goes beside the last one, rather than to a
/// random page of it, which cost more than all else that the SQLite store does for a task (docs/adr/0006).
///
/// Asks the operating system for randomness each time: no state that a fork could copy, and still a quarter of what
/// Python's `uuid.uuid4` costs.
///
/// # Errors
/// If the system has no randomness to give, which on supported systems happens only before it has booted.
pub fn uuid7(wall_ms: u64) -> Result<String, getrandom::Error> {
    let mut random = [0_u8; RANDOM];
    getrandom::fill(&mut random)?;
    Ok(text(wall_ms, random))
}

/// `count` ids as [`uuid7`] makes them, with one call of the operating system, which is most of what an id costs.
///
/// # Errors
/// As [`uuid7`].
pub fn uuid7s(wall_ms: u64, count: usize) -> Result<Vec<String>, getrandom::Error> {
    let mut ids = Vec::with_capacity(count);
    let mut random = vec![[0_u8; RANDOM]; count.min(BATCH)];
    while ids.len() < count {
        random.truncate(count - ids.len());
        getrandom::fill(random.as_flattened_mut())?;
        ids.extend(random.iter().map(|&random| text(wall_ms, random)));
    }
    Ok(ids)
}

/// Random bytes of an id; six of their bits make way for version and variant.
const RANDOM: usize = 10;
/// Ids for which randomness is asked for at once.
const BATCH: usize = 1024;

fn text(wall_ms: u64, random: [u8; RANDOM]) -> String {
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&wall_ms.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&random);
    bytes[6] = bytes[6] & 0x0F | 0x70;
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
    text
}
