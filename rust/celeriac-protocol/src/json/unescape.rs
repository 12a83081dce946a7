//! Undoes the escapes of a string.

use super::{JsonError, Problem};

/// Appends the text that `content` (of [`super::Str::Escaped`]) stands for.
///
/// # Errors
/// [`Problem::LoneSurrogate`], at its offset in `content`; [`Problem::BadEscape`] if `content` was not checked before.
pub fn unescape(content: &str, into: &mut String) -> Result<(), JsonError> {
    into.reserve(content.len());
    let mut rest = content;
    while let Some(backslash) = rest.find('\\') {
        into.push_str(&rest[..backslash]);
        let at = content.len() - rest.len() + backslash;
        let bad = JsonError { problem: Problem::BadEscape, at };
        let escape = *rest.as_bytes().get(backslash + 1).ok_or(bad)?;
        let mut length = 2;
        match escape {
            b'"' | b'\\' | b'/' => into.push(char::from(escape)),
            b'b' => into.push('\u{8}'),
            b'f' => into.push('\u{c}'),
            b'n' => into.push('\n'),
            b'r' => into.push('\r'),
            b't' => into.push('\t'),
            b'u' => {
                let first = unit(rest, backslash + 2).ok_or(bad)?;
                length = 6;
                let code = if let 0xD800..=0xDBFF = first {
                    let low = rest
                        .get(backslash + 6..backslash + 8)
                        .filter(|mark| *mark == "\\u")
                        .and_then(|_| unit(rest, backslash + 8))
                        .filter(|low| (0xDC00..=0xDFFF).contains(low));
                    length = 12;
                    low.map(|low| 0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00))
                } else {
                    Some(first)
                };
                let character =
                    code.and_then(char::from_u32).ok_or(JsonError { problem: Problem::LoneSurrogate, at })?;
                into.push(character);
            }
            _ => return Err(bad),
        }
        rest = &rest[backslash + length..];
    }
    into.push_str(rest);
    Ok(())
}

/// The four hex digits at `at`.
fn unit(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + 4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None; // from_str_radix would take a sign
    }
    u32::from_str_radix(digits, 16).ok()
}
