//! A pull lexer: the caller looks at the next byte and asks for what it announces.
//!
//! Accepts exactly what `json.loads` accepts for the tokens (so: `NaN`, `Infinity`, `-Infinity`; no control characters
//! in strings; no leading zeros), and allocates nothing.

use std::fmt;

use super::plain::plain_end;

/// Reads tokens of a JSON text from left to right.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

/// The content of a string, between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Str<'a> {
    /// Holds no escape: the text itself.
    Plain(&'a str),
    /// Holds escapes, all well formed: to be undone with [`super::unescape`].
    Escaped(&'a str),
}

/// A number, classified as Python does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number<'a> {
    /// Fits in 64 bits.
    Int(i64),
    /// An integer that does not; its digits with the sign.
    Big(&'a str),
    /// Has a fraction or an exponent, or is a named constant.
    Float(f64),
}

/// Why a text is not the JSON that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// This was expected and something else, or nothing, stands there.
    Expected(&'static str),
    /// A control character inside a string.
    ControlCharacter,
    /// A backslash that starts no escape.
    BadEscape,
    /// An escape that stands for half a character. Python's strings can hold it, Rust's cannot.
    LoneSurrogate,
    /// Nested deeper than this reader follows.
    TooDeep,
    /// Something follows the value.
    ExtraData,
}

/// A [`Problem`] and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong.
    pub problem: Problem,
    /// Byte offset in the text.
    pub at: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::ControlCharacter => f.write_str("control character in a string"),
            Self::BadEscape => f.write_str("invalid escape in a string"),
            Self::LoneSurrogate => f.write_str("escape of half a character (lone surrogate)"),
            Self::TooDeep => f.write_str("nested too deep"),
            Self::ExtraData => f.write_str("data after the end of the value"),
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.problem, self.at)
    }
}

impl std::error::Error for JsonError {}

impl<'a> Lexer<'a> {
    /// At the start of `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Byte offset of what is read next.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// An error here.
    #[must_use]
    pub fn error(&self, problem: Problem) -> JsonError {
        JsonError { problem, at: self.at }
    }

    /// The next byte that is not blank, left in place; `None` at the end.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: a tenth of a scan")]
    pub fn peek(&mut self) -> Option<u8> {
        let byte = *self.text.as_bytes().get(self.at)?;
        if byte > b' ' { Some(byte) } else { self.peek_after_blanks() }
    }

    #[inline]
    fn peek_after_blanks(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            let byte = *bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Steps over the byte that [`Self::peek`] returned.
    #[inline]
    pub fn advance(&mut self) {
        self.at += 1;
    }

    /// Takes `byte`, after blanks, if it is next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `byte`, after blanks.
    ///
    /// # Errors
    /// [`Problem::Expected`] `what` if something else is next.
    #[inline]
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.expected(what)) }
    }

    #[cold]
    fn expected(&self, what: &'static str) -> JsonError {
        self.error(Problem::Expected(what))
    }

    /// Succeeds if only blanks are left.
    ///
    /// # Errors
    /// [`Problem::ExtraData`].
    pub fn end(&mut self) -> Result<(), JsonError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.error(Problem::ExtraData)) }
    }

    /// Takes a string, after blanks.
    ///
    /// # Errors
    /// If no string is next, it has no end, holds a control character or an ill-formed escape.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: a quarter of a scan, by keeping the answer in registers")]
    pub fn string(&mut self) -> Result<Str<'a>, JsonError> {
        if self.peek() == Some(b'"') {
            let start = self.at + 1;
            let end = plain_end(self.text.as_bytes(), start);
            if self.text.as_bytes().get(end) == Some(&b'"') {
                self.at = end + 1;
                return Ok(Str::Plain(&self.text[start..end]));
            }
        }
        self.odd_string()
    }

    /// A string with escapes, or none.
    #[cold]
    #[inline(never)]
    fn odd_string(&mut self) -> Result<Str<'a>, JsonError> {
        self.expect(b'"', "a string")?;
        let start = self.at;
        self.at = plain_end(self.text.as_bytes(), start);
        self.escaped_string(start)
    }

    fn escaped_string(&mut self, start: usize) -> Result<Str<'a>, JsonError> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    let content = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Str::Escaped(content));
                }
                Some(b'\\') => match bytes.get(self.at + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                    Some(b'u')
                        if bytes
                            .get(self.at + 2..self.at + 6)
                            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) =>
                    {
                        self.at += 6;
                    }
                    _ => return Err(self.error(Problem::BadEscape)),
                },
                Some(_) => return Err(self.error(Problem::ControlCharacter)),
                None => return Err(self.error(Problem::Expected("the end of a string"))),
            }
            self.at = plain_end(bytes, self.at);
        }
    }

    /// Takes a number that starts here with a digit or `-` (not: `NaN` and `Infinity`, see [`Self::constant`]).
    ///
    /// # Errors
    /// [`Problem::Expected`] a number.
    #[inline]
    pub fn number(&mut self) -> Result<Number<'a>, JsonError> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let negative = bytes.get(start) == Some(&b'-');
        let digits = start + usize::from(negative);
        let mut at = digits;
        let mut value: i64 = 0;
        match bytes.get(at) {
            Some(b'0') => at += 1,
            Some(b'1'..=b'9') => {
                while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
                    // Wraps for long numbers; those are told by their length below.
                    value = value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
                    at += 1;
                }
            }
            Some(b'I') if negative => return self.constant(b"-Infinity", f64::NEG_INFINITY),
            _ => return Err(self.error(Problem::Expected("a value"))),
        }
        let integer_end = at;
        if bytes.get(at) == Some(&b'.') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
            at = digits_end(bytes, at + 1);
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            if bytes.get(at + 1 + sign).is_some_and(u8::is_ascii_digit) {
                at = digits_end(bytes, at + 1 + sign);
            }
        }
        self.at = at;
        let text = &self.text[start..at];
        if at != integer_end {
            // The grammar above is a part of Rust's, so this cannot fail.
            return text.parse().map(Number::Float).map_err(|_| self.error(Problem::Expected("a number")));
        }
        if at - digits <= 18 {
            return Ok(Number::Int(if negative { -value } else { value }));
        }
        Ok(text.parse().map_or(Number::Big(text), Number::Int))
    }

    /// Takes `NaN`, `Infinity` or `-Infinity`, which stand here.
    ///
    /// # Errors
    /// [`Problem::Expected`] a value.
    pub fn constant(&mut self, name: &[u8], value: f64) -> Result<Number<'a>, JsonError> {
        self.literal(name).map(|()| Number::Float(value))
    }

    /// Takes `name` (`true`, `null`…), which stands here.
    ///
    /// # Errors
    /// [`Problem::Expected`] a value.
    #[inline]
    pub fn literal(&mut self, name: &[u8]) -> Result<(), JsonError> {
        if self.text.as_bytes()[self.at..].starts_with(name) {
            self.at += name.len();
            return Ok(());
        }
        Err(self.error(Problem::Expected("a value")))
    }
}

fn digits_end(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}
