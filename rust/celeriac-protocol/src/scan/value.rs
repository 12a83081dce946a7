//! A member of an object, taken but not yet judged.

use crate::json::{JsonError, Lexer, Number, Str};

/// A member of an object, taken but not yet judged.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Value<'a> {
    #[default]
    Missing,
    Null,
    Bool(bool),
    Number(f64, usize),
    /// Content and where it starts.
    Str(Str<'a>, usize),
    /// An object or array: its first byte and one past its last.
    Container(usize, usize),
}

impl Value<'_> {
    pub(super) fn at(&self) -> usize {
        match self {
            Self::Number(_, at) | Self::Str(_, at) | Self::Container(at, _) => *at,
            Self::Missing | Self::Null | Self::Bool(_) => 0,
        }
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: keeps the lexer of the walk in registers")]
pub(super) fn value<'a>(lexer: &mut Lexer<'a>) -> Result<Value<'a>, JsonError> {
    match lexer.peek() {
        Some(b'"') => {
            let at = lexer.at() + 1;
            Ok(Value::Str(lexer.string()?, at))
        }
        Some(b'n') => lexer.literal(b"null").map(|()| Value::Null),
        _ => lexer.take_with(other),
    }
}

/// What is neither text nor null; and its end.
#[inline(never)]
fn other(text: &str, at: usize) -> Result<(Value<'_>, usize), JsonError> {
    let mut lexer = Lexer::at_byte(text, at);
    let value = match lexer.peek() {
        Some(b't') => lexer.literal(b"true").map(|()| Value::Bool(true))?,
        Some(b'f') => lexer.literal(b"false").map(|()| Value::Bool(false))?,
        Some(b'-' | b'0'..=b'9') => Value::Number(number(&mut lexer)?, at),
        Some(b'{' | b'[') => {
            lexer.skip_value()?;
            Value::Container(at, lexer.at())
        }
        _ => {
            lexer.skip_value()?;
            Value::Number(f64::NAN, at)
        }
    };
    Ok((value, lexer.at()))
}

#[expect(clippy::cast_precision_loss, reason = "counts and seconds: far from the loss, and clamped by the users")]
pub(super) fn number(lexer: &mut Lexer<'_>) -> Result<f64, JsonError> {
    Ok(match lexer.number()? {
        Number::Int(value) => value as f64,
        Number::Big(digits) => digits.parse().unwrap_or(f64::NAN),
        Number::Float(value) => value,
    })
}
