//! Scalars in the exact byte form of `json.dumps` with its defaults.

/// 0: stands for itself. 1: `\u00XX` or a non-ASCII character. Else: the letter of its short escape.
const ESCAPES: [u8; 256] = {
    let mut table = [1; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        table[byte as usize] = 0;
        byte += 1;
    }
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[0x08] = b'b';
    table[0x0C] = b'f';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table
};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// `text` as a quoted JSON string.
pub fn string(text: &str, into: &mut Vec<u8>) {
    into.reserve(text.len() + 2);
    into.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if is_plain(bytes.get(at..at + 8)) {
            at += 8;
            continue;
        }
        let escape = ESCAPES[usize::from(byte)];
        if escape == 0 {
            at += 1;
            continue;
        }
        into.extend_from_slice(&bytes[start..at]);
        if escape != 1 {
            into.extend_from_slice(&[b'\\', escape]);
            at += 1;
        } else if byte < 0x80 {
            unit(u16::from(byte), into);
            at += 1;
        } else {
            let Some(character) = text[at..].chars().next() else { break };
            for code in character.encode_utf16(&mut [0; 2]) {
                unit(*code, into);
            }
            at += character.len_utf8();
        }
        start = at;
    }
    into.extend_from_slice(&bytes[start..at]);
    into.push(b'"');
}

/// These eight bytes stand for themselves.
#[inline]
fn is_plain(chunk: Option<&[u8]>) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const QUOTES: u64 = ONES * 0x22;
    const BACKSLASHES: u64 = ONES * 0x5C;
    let Some(chunk) = chunk.and_then(|slice| <[u8; 8]>::try_from(slice).ok()) else { return false };
    let word = u64::from_le_bytes(chunk);
    let quote = word ^ QUOTES;
    let backslash = word ^ BACKSLASHES;
    // A high bit stays for a byte above 0x7E, below 0x20, or equal to one of the two; carries only add false alarms.
    let odd = word | word.wrapping_add(ONES) | word.wrapping_sub(ONES * 0x20);
    (odd | quote.wrapping_sub(ONES) | backslash.wrapping_sub(ONES)) & (ONES * 0x80) == 0
}

fn unit(code: u16, into: &mut Vec<u8>) {
    let digit = |shift: u16| HEX[usize::from(code >> shift & 0xF)];
    into.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

/// An integer.
pub fn int(value: i64, into: &mut Vec<u8>) {
    into.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A float as JSON writers of Python do: its `repr`, or `NaN`, `Infinity`, `-Infinity`.
pub fn float(value: f64, into: &mut Vec<u8>) {
    if value.is_nan() {
        into.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        into.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else {
        float_repr(value, into);
    }
}

/// `repr(value)` of a finite float: the shortest digits that read back as the same number, with an exponent of at
/// least two digits when the decimal point would be more than 16 digits to the right or 4 zeros to the left.
pub fn float_repr(value: f64, into: &mut Vec<u8>) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let (text, negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    if negative {
        into.push(b'-');
    }
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // The digits without the point, and where the point stands among them.
    let mut digits = [0_u8; 40];
    let mut length = 0;
    let mut point = i32::try_from(whole.len()).unwrap_or(0) + exponent;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if length == 0 && digit == b'0' {
            point -= 1;
        } else if let Some(place) = digits.get_mut(length) {
            *place = digit;
            length += 1;
        }
    }
    while length > 0 && digits[length - 1] == b'0' {
        length -= 1;
    }
    if length == 0 {
        into.extend_from_slice(b"0.0");
        return;
    }
    let digits = &digits[..length];
    if !(-3..=16).contains(&point) {
        into.push(digits[0]);
        if length > 1 {
            into.push(b'.');
            into.extend_from_slice(&digits[1..]);
        }
        let exponent = point - 1;
        into.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.unsigned_abs() < 10 {
            into.push(b'0');
        }
        into.extend_from_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
    } else if point <= 0 {
        into.extend_from_slice(b"0.");
        into.resize(into.len() + point.unsigned_abs() as usize, b'0');
        into.extend_from_slice(digits);
    } else {
        let point = point.unsigned_abs() as usize;
        if length <= point {
            into.extend_from_slice(digits);
            into.resize(into.len() + point - length, b'0');
            into.extend_from_slice(b".0");
        } else {
            into.extend_from_slice(&digits[..point]);
            into.push(b'.');
            into.extend_from_slice(&digits[point..]);
        }
    }
}
