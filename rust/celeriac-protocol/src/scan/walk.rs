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

/// What Celery writes, in its order, each name as it stands in the text: see [`object`].
const MEMBERS: [&[u8]; 5] =
    [b"\"body\": ", b"\"content-encoding\": ", b"\"content-type\": ", b"\"headers\": ", b"\"properties\": "];
const HEADERS: [&[u8]; 19] = [
    b"\"lang\": ",
    b"\"task\": ",
    b"\"id\": ",
    b"\"shadow\": ",
    b"\"eta\": ",
    b"\"expires\": ",
    b"\"group\": ",
    b"\"group_index\": ",
    b"\"retries\": ",
    b"\"timelimit\": ",
    b"\"root_id\": ",
    b"\"parent_id\": ",
    b"\"argsrepr\": ",
    b"\"kwargsrepr\": ",
    b"\"origin\": ",
    b"\"ignore_result\": ",
    b"\"replaced_task_nesting\": ",
    b"\"stamped_headers\": ",
    b"\"stamps\": ",
];
const PROPERTIES: [&[u8]; 7] = [
    b"\"correlation_id\": ",
    b"\"reply_to\": ",
    b"\"delivery_mode\": ",
    b"\"delivery_info\": ",
    b"\"priority\": ",
    b"\"body_encoding\": ",
    b"\"delivery_tag\": ",
];
const DELIVERY_INFO: [&[u8]; 2] = [b"\"exchange\": ", b"\"routing_key\": "];

pub(super) fn envelope(text: &str) -> Result<Envelope<'_>, JsonError> {
    let mut lexer = Lexer::new(text);
    let mut found = Envelope::default();
    if lexer.peek() != Some(b'{') {
        return Err(lexer.error(Problem::Expected("an object")));
    }
    lexer = object(lexer, &MEMBERS, |key, lexer| {
        let place = match key {
            b"body" => &mut found.body,
            b"content-type" => &mut found.content_type,
            b"content-encoding" => &mut found.content_encoding,
            b"headers" => {
                found.fields = Fields::default();
                found.headers = members(lexer, &HEADERS, |key, lexer| field(&mut found.fields, key, lexer))?;
                return Ok(());
            }
            b"properties" => {
                found.properties = Properties::default();
                found.properties_at =
                    members(lexer, &PROPERTIES, |key, lexer| property(&mut found.properties, key, lexer))?;
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
pub(super) fn property<'a>(
    properties: &mut Properties<'a>,
    key: &[u8],
    lexer: &mut Lexer<'a>,
) -> Result<(), JsonError> {
    let place = match key {
        b"priority" => &mut properties.priority,
        b"body_encoding" => &mut properties.body_encoding,
        b"delivery_info" => {
            properties.redelivered = Value::Missing;
            members(lexer, &DELIVERY_INFO, |key, lexer| {
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
    usual: &[&[u8]],
    member: impl FnMut(&[u8], &mut Lexer<'a>) -> Result<(), JsonError>,
) -> Result<Value<'a>, JsonError> {
    if lexer.peek() != Some(b'{') {
        return value(lexer);
    }
    let start = lexer.at();
    *lexer = object(*lexer, usual, member)?;
    Ok(Value::Container(start, lexer.at()))
}

/// Takes the object that starts here; gives the lexer behind it.
///
/// `usual`: names that probably stand here, in this order, each with quotes, colon and blank. As long as they do, a name is one
/// comparison, and where its value starts is known before the text is read; from the first that does not, names are read.
#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
pub(super) fn object<'a>(
    mut lexer: Lexer<'a>,
    mut usual: &[&[u8]],
    mut member: impl FnMut(&[u8], &mut Lexer<'a>) -> Result<(), JsonError>,
) -> Result<Lexer<'a>, JsonError> {
    lexer.advance();
    if lexer.take(b'}') {
        return Ok(lexer);
    }
    loop {
        lexer.peek();
        let owned;
        let name = if let Some((first, rest)) = usual.split_first()
            && lexer.take_guess(first)
        {
            usual = rest;
            &first[1..first.len() - 3]
        } else {
            usual = &[];
            let key = lexer.string_span()?;
            let name = lexer.content(key);
            lexer.expect(b':', "':'")?;
            if key.escaped {
                owned = unescaped(name);
                owned.as_bytes()
            } else {
                name
            }
        };
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
