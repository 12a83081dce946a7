//! The envelope of a message, as it stands on Redis and in our files, to what AMQP carries beside each other: properties with
//! the headers among them, and the body's own bytes. What comes by AMQP keeps its own form (`content`).
//!
//! Types are those that py-amqp chooses for the same values, so that a reader in Celery sees no difference.

use std::borrow::Cow;

use super::properties::Properties;
use super::table::{MAX_TABLE_DEPTH, Value};
use super::wire::{ShortStr, WireError, Writer};
use crate::base64;
use crate::json::{JsonError, Lexer, Number, Problem, Str, unescape};

/// A message as AMQP carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Flags and values, for a content header.
    pub properties: Vec<u8>,
    /// Still compressed and serialised.
    pub body: Cow<'a, [u8]>,
}

/// Why an envelope cannot go by AMQP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It is no envelope.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A value that AMQP has no type for, or a text that is too long for its place.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// The body says that it is base64, and is not.
    #[error("the body is not base64")]
    Body,
}

/// Takes an envelope apart.
///
/// # Errors
/// [`EnvelopeError`].
pub fn parts(envelope: &[u8]) -> Result<Parts<'_>, EnvelopeError> {
    let text = std::str::from_utf8(envelope)
        .map_err(|error| JsonError { problem: Problem::Expected("UTF-8"), at: error.valid_up_to() })?;
    let mut lexer = Lexer::new(text);
    let mut body = Cow::Borrowed("");
    let mut headers = None;
    let mut before = Properties::default(); // those that stand before the headers
    let mut behind = Properties::default();
    let mut encoded = false;
    object(&mut lexer, |key, lexer| {
        match key {
            "body" => body = string(lexer)?,
            "content-type" => before.content_type = text_of(lexer)?,
            "content-encoding" => before.content_encoding = text_of(lexer)?,
            "headers" if lexer.peek() == Some(b'{') => {
                let mut out = Vec::with_capacity(512);
                table(lexer, &mut Writer::new(&mut out), 0)?;
                headers = Some(out);
            }
            "properties" if lexer.peek() == Some(b'{') => {
                object(lexer, |key, lexer| {
                    if key == "body_encoding" {
                        encoded = text_of(lexer)?.is_some_and(|name| name.as_bytes() == b"base64");
                        return Ok(());
                    }
                    property(&mut behind, key, lexer)
                })?;
            }
            _ => lexer.skip_value()?,
        }
        Ok(())
    })?;
    lexer.end()?;
    let mut properties = Vec::with_capacity(128 + headers.as_ref().map_or(0, Vec::len));
    let mut rest = Vec::with_capacity(128);
    before.write(&mut properties)?;
    behind.write(&mut rest)?;
    let (flags, rest) = rest.split_at(2);
    for (flag, more) in properties.iter_mut().zip(flags) {
        *flag |= more;
    }
    if let Some(headers) = headers {
        properties[0] |= 1 << 5;
        properties.extend_from_slice(&headers);
    }
    properties.extend_from_slice(rest);
    let body = if encoded {
        Cow::Owned(base64::decode(body.as_bytes()).ok_or(EnvelopeError::Body)?)
    } else {
        match body {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    };
    Ok(Parts { properties, body })
}

fn property(into: &mut Properties, key: &str, lexer: &mut Lexer<'_>) -> Result<(), EnvelopeError> {
    match key {
        "correlation_id" => into.correlation_id = text_of(lexer)?,
        "reply_to" => into.reply_to = text_of(lexer)?,
        "expiration" => into.expiration = text_of(lexer)?,
        "message_id" => into.message_id = text_of(lexer)?,
        "type" => into.kind = text_of(lexer)?,
        "user_id" => into.user_id = text_of(lexer)?,
        "app_id" => into.app_id = text_of(lexer)?,
        "cluster_id" => into.cluster_id = text_of(lexer)?,
        "delivery_mode" => into.delivery_mode = number(lexer)?.and_then(|number| u8::try_from(number).ok()),
        "priority" => into.priority = number(lexer)?.and_then(|number| u8::try_from(number).ok()),
        "timestamp" => into.timestamp = number(lexer)?.and_then(|number| u64::try_from(number).ok()),
        // `delivery_info` and `delivery_tag` are the broker's to say; py-amqp leaves out what AMQP has no place for.
        _ => lexer.skip_value()?,
    }
    Ok(())
}

/// Calls `member` at the value of each member of the object that stands here.
fn object<'a>(
    lexer: &mut Lexer<'a>,
    mut member: impl FnMut(&str, &mut Lexer<'a>) -> Result<(), EnvelopeError>,
) -> Result<(), EnvelopeError> {
    lexer.expect(b'{', "an object")?;
    if lexer.take(b'}') {
        return Ok(());
    }
    loop {
        lexer.peek();
        let key = string(lexer)?;
        lexer.expect(b':', "':'")?;
        member(&key, lexer)?;
        if !lexer.more(b'}', "',' or '}'")? {
            return Ok(());
        }
    }
}

fn string<'a>(lexer: &mut Lexer<'a>) -> Result<Cow<'a, str>, EnvelopeError> {
    Ok(match lexer.string()? {
        Str::Plain(text) => Cow::Borrowed(text),
        Str::Escaped(content) => {
            let mut text = String::with_capacity(content.len());
            unescape(content, &mut text)?;
            Cow::Owned(text)
        }
    })
}

/// A short text; what is none is left out.
fn text_of(lexer: &mut Lexer<'_>) -> Result<Option<ShortStr>, EnvelopeError> {
    if lexer.peek() == Some(b'"') {
        return Ok(Some(ShortStr::new(&string(lexer)?)?));
    }
    lexer.skip_value()?;
    Ok(None)
}

fn number(lexer: &mut Lexer<'_>) -> Result<Option<i64>, EnvelopeError> {
    if !matches!(lexer.peek(), Some(b'-' | b'0'..=b'9')) {
        lexer.skip_value()?;
        return Ok(None);
    }
    Ok(match lexer.number()? {
        Number::Int(number) => Some(number),
        _ => None,
    })
}

fn table(lexer: &mut Lexer<'_>, writer: &mut Writer<'_>, depth: usize) -> Result<(), EnvelopeError> {
    let mut wrong = None;
    writer.within(|writer| {
        let read = object(lexer, |key, lexer| {
            writer.short_str(&ShortStr::new(key)?);
            value(lexer, writer, depth)
        });
        wrong = read.err();
        Ok(())
    })?;
    wrong.map_or(Ok(()), Err)
}

fn array(lexer: &mut Lexer<'_>, writer: &mut Writer<'_>, depth: usize) -> Result<(), EnvelopeError> {
    let mut wrong = None;
    writer.within(|writer| {
        wrong = members(lexer, writer, depth).err();
        Ok(())
    })?;
    wrong.map_or(Ok(()), Err)
}

fn members(lexer: &mut Lexer<'_>, writer: &mut Writer<'_>, depth: usize) -> Result<(), EnvelopeError> {
    lexer.expect(b'[', "an array")?;
    if lexer.take(b']') {
        return Ok(());
    }
    loop {
        value(lexer, writer, depth)?;
        if !lexer.more(b']', "',' or ']'")? {
            return Ok(());
        }
    }
}

fn value(lexer: &mut Lexer<'_>, writer: &mut Writer<'_>, depth: usize) -> Result<(), EnvelopeError> {
    let deeper = |writer: &Writer<'_>| {
        let fits = depth + 2 < MAX_TABLE_DEPTH;
        if fits { Ok(depth + 1) } else { Err(writer.error("headers nested too deep")) }
    };
    match lexer.peek() {
        Some(b'"') => {
            let text = string(lexer)?;
            writer.raw(b"S");
            writer.long_str(text.as_bytes())?;
        }
        Some(b'{') => {
            let depth = deeper(writer)?;
            writer.raw(b"F");
            table(lexer, writer, depth)?;
        }
        Some(b'[') => {
            let depth = deeper(writer)?;
            writer.raw(b"A");
            array(lexer, writer, depth)?;
        }
        Some(b'n') => {
            lexer.literal(b"null")?;
            writer.raw(b"V");
        }
        Some(b't') => {
            lexer.literal(b"true")?;
            writer.raw(b"t\x01");
        }
        Some(b'f') => {
            lexer.literal(b"false")?;
            writer.raw(b"t\x00");
        }
        _ => {
            let number = match lexer.peek() {
                Some(b'N') => lexer.constant(b"NaN", f64::NAN)?,
                Some(b'I') => lexer.constant(b"Infinity", f64::INFINITY)?,
                _ => lexer.number()?,
            };
            match number {
                Number::Int(number) => Value::from(number).write(writer, depth)?,
                Number::Float(number) => Value::F64(number).write(writer, depth)?,
                Number::Big(_) => return Err(writer.error("a header with an integer of more than 64 bits").into()),
            }
        }
    }
    Ok(())
}
