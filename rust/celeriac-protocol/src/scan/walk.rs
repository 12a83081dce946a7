//! Takes an envelope apart: the members that matter, as they stand; of the rest only the grammar.

use super::value::{Value, value};
use crate::json::{JsonError, Lexer, Problem, unescape};

/// The members of headers, or of a protocol 1 body, that matter here.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) task: Value<'a>,
    pub(super) id: Value<'a>,
    pub(super) eta: Value<'a>,
    pub(super) expires: Value<'a>,
    pub(super) retries: Value<'a>,
    pub(super) timelimit: Value<'a>,
    pub(super) ignore_result: Value<'a>,
    pub(super) group: Value<'a>,
    pub(super) taskset: Value<'a>,
    pub(super) parent_id: Value<'a>,
    pub(super) compression: Value<'a>,
    pub(super) redelivered: Value<'a>,
}

/// The members of properties that matter here.
#[derive(Debug, Default)]
pub(super) struct Properties<'a> {
    pub(super) priority: Value<'a>,
    pub(super) body_encoding: Value<'a>,
    pub(super) redelivered: Value<'a>,
}

/// The members of the envelope.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) body: Value<'a>,
    pub(super) content_type: Value<'a>,
    pub(super) content_encoding: Value<'a>,
    pub(super) headers: Value<'a>,
    pub(super) fields: Fields<'a>,
    pub(super) properties_at: Value<'a>,
    pub(super) properties: Properties<'a>,
}

pub(super) fn envelope(text: &str) -> Result<Envelope<'_>, JsonError> {
    let mut lexer = Lexer::new(text);
    let mut found = Envelope::default();
    if lexer.peek() != Some(b'{') {
        return Err(lexer.error(Problem::Expected("an object")));
    }
    lexer = object(lexer, |key, lexer| {
        let place = match key {
            b"body" => &mut found.body,
            b"content-type" => &mut found.content_type,
            b"content-encoding" => &mut found.content_encoding,
            b"headers" => {
                found.fields = Fields::default();
                found.headers = members(lexer, |key, lexer| field(&mut found.fields, key, lexer))?;
                return Ok(());
            }
            b"properties" => {
                found.properties = Properties::default();
                found.properties_at = members(lexer, |key, lexer| property(&mut found.properties, key, lexer))?;
                return Ok(());
            }
            _ => return lexer.skip_value(),
        };
        *place = value(lexer)?;
        Ok(())
    })?;
    lexer.end()?;
    Ok(found)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
pub(super) fn field<'a>(fields: &mut Fields<'a>, key: &[u8], lexer: &mut Lexer<'a>) -> Result<(), JsonError> {
    let place = match key {
        b"task" => &mut fields.task,
        b"id" => &mut fields.id,
        b"eta" => &mut fields.eta,
        b"expires" => &mut fields.expires,
        b"retries" => &mut fields.retries,
        b"timelimit" => &mut fields.timelimit,
        b"ignore_result" => &mut fields.ignore_result,
        b"group" => &mut fields.group,
        b"taskset" => &mut fields.taskset,
        b"parent_id" => &mut fields.parent_id,
        b"compression" => &mut fields.compression,
        b"redelivered" => &mut fields.redelivered,
        _ => return lexer.skip_value(),
    };
    *place = value(lexer)?;
    Ok(())
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
pub(super) fn property<'a>(properties: &mut Properties<'a>, key: &[u8], lexer: &mut Lexer<'a>) -> Result<(), JsonError> {
    let place = match key {
        b"priority" => &mut properties.priority,
        b"body_encoding" => &mut properties.body_encoding,
        b"delivery_info" => {
            properties.redelivered = Value::Missing;
            members(lexer, |key, lexer| {
                if key == b"redelivered" {
                    properties.redelivered = value(lexer)?;
                    return Ok(());
                }
                lexer.skip_value()
            })?;
            return Ok(());
        }
        _ => return lexer.skip_value(),
    };
    *place = value(lexer)?;
    Ok(())
}

/// Takes an object, calling `member` at each value; takes and reports anything else as it is.
#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
pub(super) fn members<'a>(
    lexer: &mut Lexer<'a>,
    member: impl FnMut(&[u8], &mut Lexer<'a>) -> Result<(), JsonError>,
) -> Result<Value<'a>, JsonError> {
    if lexer.peek() != Some(b'{') {
        return value(lexer);
    }
    let start = lexer.at();
    *lexer = object(*lexer, member)?;
    Ok(Value::Container(start, lexer.at()))
}

/// Takes the object that starts here; gives the lexer behind it.
#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
pub(super) fn object<'a>(
    mut lexer: Lexer<'a>,
    mut member: impl FnMut(&[u8], &mut Lexer<'a>) -> Result<(), JsonError>,
) -> Result<Lexer<'a>, JsonError> {
    lexer.advance();
    if lexer.take(b'}') {
        return Ok(lexer);
    }
    loop {
        let key = lexer.string_span()?;
        let mut name = lexer.content(key);
        lexer.expect(b':', "':'")?;
        let owned;
        if key.escaped {
            owned = unescaped(name);
            name = owned.as_bytes();
        }
        member(name, &mut lexer)?; // the only call, so that it is inlined
        if !lexer.more(b'}', "',' or '}'")? {
            return Ok(lexer);
        }
    }
}

/// What a key with escapes stands for. One of half characters is none of ours: empty.
#[cold]
fn unescaped(key: &[u8]) -> String {
    let mut text = String::new();
    let known = std::str::from_utf8(key).is_ok_and(|key| unescape(key, &mut text).is_ok());
    if known { text } else { String::new() }
}
