//! Takes an envelope apart: the members that matter, as they stand; of the rest only the grammar.

use super::value::{Value, value};
use crate::json::{JsonError, Lexer, Problem, Str, unescape};

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
    object(&mut lexer, |key, lexer| {
        match key {
            "body" => found.body = value(lexer)?,
            "content-type" => found.content_type = value(lexer)?,
            "content-encoding" => found.content_encoding = value(lexer)?,
            "headers" => {
                found.fields = Fields::default();
                found.headers = members(lexer, |key, lexer| field(&mut found.fields, key, lexer))?;
            }
            "properties" => {
                found.properties = Properties::default();
                found.properties_at = members(lexer, |key, lexer| property(&mut found.properties, key, lexer))?;
            }
            _ => lexer.skip_value()?,
        }
        Ok(())
    })?;
    lexer.end()?;
    Ok(found)
}

pub(super) fn field<'a>(fields: &mut Fields<'a>, key: &str, lexer: &mut Lexer<'a>) -> Result<(), JsonError> {
    let place = match key {
        "task" => &mut fields.task,
        "id" => &mut fields.id,
        "eta" => &mut fields.eta,
        "expires" => &mut fields.expires,
        "retries" => &mut fields.retries,
        "timelimit" => &mut fields.timelimit,
        "ignore_result" => &mut fields.ignore_result,
        "group" => &mut fields.group,
        "taskset" => &mut fields.taskset,
        "parent_id" => &mut fields.parent_id,
        "compression" => &mut fields.compression,
        "redelivered" => &mut fields.redelivered,
        _ => return lexer.skip_value(),
    };
    *place = value(lexer)?;
    Ok(())
}

pub(super) fn property<'a>(properties: &mut Properties<'a>, key: &str, lexer: &mut Lexer<'a>) -> Result<(), JsonError> {
    match key {
        "priority" => properties.priority = value(lexer)?,
        "body_encoding" => properties.body_encoding = value(lexer)?,
        "delivery_info" => {
            properties.redelivered = Value::Missing;
            members(lexer, |key, lexer| {
                if key == "redelivered" {
                    properties.redelivered = value(lexer)?;
                    return Ok(());
                }
                lexer.skip_value()
            })?;
        }
        _ => lexer.skip_value()?,
    }
    Ok(())
}

/// Takes an object, calling `member` at each value; takes and reports anything else as it is.
pub(super) fn members<'a>(
    lexer: &mut Lexer<'a>,
    member: impl FnMut(&str, &mut Lexer<'a>) -> Result<(), JsonError>,
) -> Result<Value<'a>, JsonError> {
    if lexer.peek() != Some(b'{') {
        return value(lexer);
    }
    let start = lexer.at();
    object(lexer, member)?;
    Ok(Value::Container(start, lexer.at()))
}

/// Takes the object that starts here.
pub(super) fn object<'a>(
    lexer: &mut Lexer<'a>,
    mut member: impl FnMut(&str, &mut Lexer<'a>) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    lexer.advance();
    if lexer.take(b'}') {
        return Ok(());
    }
    loop {
        let key = lexer.string()?;
        lexer.expect(b':', "':'")?;
        match key {
            Str::Plain(key) => member(key, lexer)?,
            Str::Escaped(content) => {
                let mut key = String::new();
                // A key of half characters is none of ours.
                let known = unescape(content, &mut key).is_ok();
                member(if known { &key } else { "" }, lexer)?;
            }
        }
        if !lexer.take(b',') {
            return lexer.expect(b'}', "',' or '}'");
        }
    }
}
