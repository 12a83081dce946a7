//! A pull lexer: the caller looks at the next byte and asks for what it announces.
//!
//! Accepts exactly what `json.loads` accepts for the tokens (so: `NaN`, `Infinity`, `-Infinity`; no control characters
//! in strings; no leading zeros), and allocates nothing.

use std::fmt;

use super::plain::plain_end;

/// Reads tokens of a JSON text from left to right.
///
/// What is not inlined here takes text and place and gives back where it stopped, so that `at` of a caller's loop stays in
/// a register (measured: an eighth of a scan).
#[derive(Debug, Clone, Copy)]
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

/// Where the content of a string stands in the text, between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrSpan {
    /// First byte.
    pub start: usize,
    /// One past the last byte: the closing quote.
    pub end: usize,
    /// Holds escapes, all well formed: to be undone with [`super::unescape`].
    pub escaped: bool,
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

    /// Takes, with a reader that is not inlined: it gets text and place, and answers with what it found and its end.
    #[inline]
    pub(crate) fn take_with<T>(
        &mut self,
        reader: impl FnOnce(&'a str, usize) -> Result<(T, usize), JsonError>,
    ) -> Result<T, JsonError> {
        let (found, end) = reader(self.text, self.at)?;
        self.at = end;
        Ok(found)
    }

    /// In the middle of `text`.
    pub(crate) fn at_byte(text: &'a str, at: usize) -> Self {
        Self { text, at }
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

    /// The next byte that is not blank, left in place; `None` at the end and for NUL, which starts nothing.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: a tenth of a scan")]
    pub fn peek(&mut self) -> Option<u8> {
        let byte = self.byte(self.at);
        if byte > b' ' {
            return Some(byte);
        }
        // One blank is what `json.dumps` writes after each `:` and `,`. Known by a branch, which is foretold, rather than
        // counted, for which all that follows would have to wait.
        let next = self.byte(self.at + 1);
        if byte == b' ' && next > b' ' {
            self.at += 1;
            return Some(next);
        }
        self.at = blanks_end(self.text.as_bytes(), self.at);
        let byte = self.byte(self.at);
        if byte == 0 { None } else { Some(byte) }
    }

    /// The byte at `at`; 0 beyond the end.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of `peek`")]
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    /// Steps over the byte that [`Self::peek`] returned.
    #[inline]
    pub fn advance(&mut self) {
        self.at += 1;
    }

    /// Takes `byte`, after blanks, if it is next.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `byte`, after blanks.
    ///
    /// # Errors
    /// [`Problem::Expected`] `what` if something else is next.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(expected(self.at, what));
        }
        self.at += 1;
        Ok(())
    }

    /// Takes exactly these bytes if they stand here: for a guess at what follows, which costs one comparison. They must
    /// end where a token ends or a blank follows, and be ASCII.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
    pub fn take_guess(&mut self, guess: &[u8]) -> bool {
        if self.text.as_bytes().get(self.at..self.at + guess.len()) != Some(guess) {
            return false;
        }
        self.at += guess.len();
        true
    }

    /// Takes what stands between the members of a container, or its end `close`: true if another member follows.
    ///
    /// # Errors
    /// [`Problem::Expected`] `what` if it is neither.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
    pub fn more(&mut self, close: u8, what: &'static str) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(expected(self.at, what)),
        }
    }

    /// Succeeds if only blanks are left.
    ///
    /// # Errors
    /// [`Problem::ExtraData`].
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.peek();
        if self.at >= self.text.len() { Ok(()) } else { Err(self.error(Problem::ExtraData)) }
    }

    /// Takes a string, after blanks.
    ///
    /// # Errors
    /// If no string is next, it has no end, holds a control character or an ill-formed escape.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
    pub fn string(&mut self) -> Result<Str<'a>, JsonError> {
        let StrSpan { start, end, escaped } = self.string_span()?;
        let content = &self.text[start..end];
        Ok(if escaped { Str::Escaped(content) } else { Str::Plain(content) })
    }

    /// Takes a string, after blanks, and says where it stands. For who compares or forgets it: a slice of the text costs
    /// two looks at character boundaries.
    ///
    /// # Errors
    /// As [`Self::string`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: a quarter of a scan, by keeping the answer in registers")]
    pub fn string_span(&mut self) -> Result<StrSpan, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(expected(self.at, "a string"));
        }
        let start = self.at + 1;
        let end = plain_end(self.text.as_bytes(), start);
        if self.text.as_bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(StrSpan { start, end, escaped: false });
        }
        self.at = escaped_end(self.text.as_bytes(), end)? + 1;
        Ok(StrSpan { start, end: self.at - 1, escaped: true })
    }

    /// The bytes of a string that [`Self::string_span`] took.
    #[inline]
    #[must_use]
    pub fn content(&self, span: StrSpan) -> &'a [u8] {
        &self.text.as_bytes()[span.start..span.end]
    }

    /// Takes a number that starts here with a digit or `-` (not: `NaN` and `Infinity`, see [`Self::constant`]).
    ///
    /// # Errors
    /// [`Problem::Expected`] a number.
    #[inline]
    pub fn number(&mut self) -> Result<Number<'a>, JsonError> {
        self.take_with(number_at)
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
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
    pub fn literal(&mut self, name: &[u8]) -> Result<(), JsonError> {
        if self.text.as_bytes().get(self.at..self.at + name.len()) == Some(name) {
            self.at += name.len();
            return Ok(());
        }
        Err(expected(self.at, "a value"))
    }
}

#[cold]
fn expected(at: usize, what: &'static str) -> JsonError {
    JsonError { problem: Problem::Expected(what), at }
}

/// The closing quote of a string whose plain part ends at `at`, not with a quote.
#[cold]
#[inline(never)]
fn escaped_end(bytes: &[u8], mut at: usize) -> Result<usize, JsonError> {
    loop {
        let problem = match bytes.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                    at = plain_end(bytes, at + 2);
                    continue;
                }
                Some(b'u') if bytes.get(at + 2..at + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => {
                    at = plain_end(bytes, at + 6);
                    continue;
                }
                _ => Problem::BadEscape,
            },
            Some(_) => Problem::ControlCharacter,
            None => Problem::Expected("the end of a string"),
        };
        return Err(JsonError { problem, at });
    }
}

/// The number at `start`, and its end.
fn number_at(text: &str, start: usize) -> Result<(Number<'_>, usize), JsonError> {
    let bytes = text.as_bytes();
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
        Some(b'I') if negative => {
            let mut lexer = Lexer { text, at: start };
            return lexer.constant(b"-Infinity", f64::NEG_INFINITY).map(|number| (number, lexer.at));
        }
        _ => return Err(expected(start, "a value")),
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
    if at == integer_end && at - digits <= 18 {
        return Ok((Number::Int(if negative { -value } else { value }), at));
    }
    let text = &text[start..at];
    if at != integer_end {
        // The grammar above is a part of Rust's, so this cannot fail.
        return text.parse().map(|number| (Number::Float(number), at)).map_err(|_| expected(start, "a number"));
    }
    Ok((text.parse().map_or(Number::Big(text), Number::Int), at))
}

/// The first byte from `at` on that is not blank.
#[cold]
#[inline(never)]
fn blanks_end(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

fn digits_end(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}
