//! Judges the members of an envelope and makes its [`Head`]; every refusal is here.

use super::value::{Value, value};
use super::walk::{Envelope, Fields, field, members, object};
use super::{decode_body, malformed, resolve};
use crate::json::{Lexer, Str, unescape};
use crate::message::{BodyEncoding, Head, Malformed, Span, Text};
use crate::{compression, dates};

/// Longest protocol 1 body that a scan decompresses, in bytes.
const MAX_PROTOCOL_1_BYTES: usize = 16 << 20;

pub(super) fn finish(text: &str, envelope: &Envelope<'_>) -> Result<Head, Malformed> {
    let Value::Str(body, body_at) = envelope.body else {
        return Err(malformed("member 'body' must be text", envelope.body.at()));
    };
    let (Str::Plain(body_text) | Str::Escaped(body_text)) = body;
    if body_text.is_empty() {
        return Err(malformed("member 'body' is empty", body_at));
    }
    let body_escaped = matches!(body, Str::Escaped(_));
    let body_encoding = match envelope.properties.body_encoding {
        Value::Str(Str::Plain("base64"), _) => BodyEncoding::Base64,
        // Without the property the body is the text itself, as Kombu reads it.
        Value::Missing | Value::Null | Value::Str(Str::Plain("utf-8"), _) => BodyEncoding::Utf8,
        other => return Err(malformed("property 'body_encoding' must be 'base64' or 'utf-8'", other.at())),
    };
    let content_type = match envelope.content_type {
        Value::Missing | Value::Null => return Err(malformed("member 'content-type' is missing", 0)),
        given => text_of(given, "member 'content-type'", false)?,
    };
    let content_encoding = match envelope.content_encoding {
        Value::Missing | Value::Null => Text::Owned("utf-8".into()),
        given => text_of(given, "member 'content-encoding'", false)?,
    };
    let compression = match envelope.fields.compression {
        Value::Missing | Value::Null => None,
        given => Some(text_of(given, "header 'compression'", false)?),
    };
    let mut head = Head {
        protocol: 2,
        id: Text::Span(Span::default()),
        task: Text::Span(Span::default()),
        eta_ms: None,
        expires_ms: None,
        naive_dates: false,
        retries: 0,
        time_limit: None,
        soft_time_limit: None,
        ignore_result: None,
        group: None,
        parent_id: None,
        priority: priority(envelope.properties.priority),
        redelivered: is_true(envelope.fields.redelivered) || is_true(envelope.properties.redelivered),
        content_type,
        content_encoding,
        compression,
        headers: object_span(envelope.headers, text),
        properties: object_span(envelope.properties_at, text),
        body: Span { start: short(body_at), end: short(body_at + body_text.len()) },
        body_escaped,
        body_encoding,
    };
    if matches!(envelope.fields.task, Value::Missing) {
        protocol_1(&mut head, text.as_bytes())?;
    } else {
        apply(&mut head, &envelope.fields, text, false)?;
    }
    Ok(head)
}

/// Fills `head` from the fields of a protocol 1 body.
#[cold]
pub(super) fn protocol_1(head: &mut Head, raw: &[u8]) -> Result<(), Malformed> {
    let at = head.body.start as usize;
    let none = || malformed("there is no header 'task', and the body is not that of a protocol 1 message", at);
    let json = resolve(&head.content_type, raw) == "application/json";
    if !json {
        return Err(malformed(
            "there is no header 'task', and a protocol 1 body can be read only if its type is application/json",
            at,
        ));
    }
    let mut body = decode_body(head, raw).map_err(|reason| malformed(&reason, at))?;
    if let Some(method) = &head.compression {
        body = compression::decompress(&body, resolve(method, raw), MAX_PROTOCOL_1_BYTES)
            .map_err(|error| malformed(&format!("body: {error}"), at))?;
    }
    let body = std::str::from_utf8(&body).map_err(|_| none())?;
    let mut lexer = Lexer::new(body);
    let mut fields = Fields::default();
    if lexer.peek() != Some(b'{') {
        return Err(none());
    }
    object(lexer, &[], |key, lexer| field(&mut fields, key, lexer)).and_then(|mut lexer| lexer.end()).map_err(
        |error| malformed(&format!("protocol 1 body is not JSON: {} at its byte {}", error.problem, error.at), at),
    )?;
    if matches!(fields.task, Value::Missing) {
        return Err(none());
    }
    head.protocol = 1;
    head.redelivered |= is_true(fields.redelivered);
    apply(head, &fields, body, true).map_err(|error| Malformed { at, ..error })
}

/// Judges the fields and puts them into `head`. `owned`: `text` is not the envelope, so texts are copied out of it.
pub(super) fn apply(head: &mut Head, fields: &Fields<'_>, text: &str, owned: bool) -> Result<(), Malformed> {
    head.task = text_of(fields.task, "header 'task'", owned)?;
    head.id = match fields.id {
        Value::Missing => return Err(malformed("header 'id' is missing", 0)),
        given => text_of(given, "header 'id'", owned)?,
    };
    let (eta_ms, eta_naive) = date(fields.eta, text, "eta")?;
    let (expires_ms, expires_naive) = date(fields.expires, text, "expires")?;
    head.eta_ms = eta_ms;
    head.expires_ms = expires_ms;
    head.naive_dates = eta_naive || expires_naive;
    head.retries = retries(fields.retries);
    (head.time_limit, head.soft_time_limit) = limits(fields.timelimit, text)?;
    head.ignore_result = match fields.ignore_result {
        Value::Bool(given) => Some(given),
        _ => None,
    };
    let group = if matches!(fields.taskset, Value::Missing) { fields.group } else { fields.taskset };
    head.group = optional_text(group, owned);
    head.parent_id = optional_text(fields.parent_id, owned);
    Ok(())
}

/// Text that only describes: whatever else stands there counts as none.
fn optional_text(value: Value<'_>, owned: bool) -> Option<Text> {
    match value {
        Value::Str(..) => text_of(value, "", owned).ok(),
        _ => None,
    }
}

pub(super) fn text_of(value: Value<'_>, name: &str, owned: bool) -> Result<Text, Malformed> {
    match value {
        Value::Str(Str::Plain(""), at) => Err(malformed(&format!("{name} is empty"), at)),
        Value::Str(Str::Plain(text), _) if owned => Ok(Text::Owned(text.into())),
        Value::Str(Str::Plain(text), at) => Ok(Text::Span(Span { start: short(at), end: short(at + text.len()) })),
        Value::Str(Str::Escaped(content), at) => {
            let mut text = String::new();
            unescape(content, &mut text)
                .map_err(|error| malformed(&format!("{name}: {}", error.problem), at + error.at))?;
            Ok(Text::Owned(text.into()))
        }
        other => Err(malformed(&format!("{name} must be text"), other.at())),
    }
}

fn date(value: Value<'_>, text: &str, name: &str) -> Result<(Option<i64>, bool), Malformed> {
    let unreadable = || malformed(&format!("header '{name}' is not a date in ISO 8601 form"), value.at());
    let given: Str<'_> = match value {
        Value::Missing | Value::Null => return Ok((None, false)),
        Value::Str(given, _) => given,
        // A datetime that the sender left to the serializer: {"__type__": "datetime", "__value__": text}.
        Value::Container(start, end) => tagged_datetime(&text[start..end]).ok_or_else(unreadable)?,
        Value::Bool(_) | Value::Number(..) => return Err(unreadable()),
    };
    let parsed = match given {
        Str::Plain(given) => dates::parse(given),
        Str::Escaped(content) => {
            let mut given = String::new();
            unescape(content, &mut given).ok().and_then(|()| dates::parse(&given))
        }
    };
    let date = parsed.ok_or_else(unreadable)?;
    Ok((Some(date.unix_ms), date.naive))
}

fn tagged_datetime(text: &str) -> Option<Str<'_>> {
    let mut lexer = Lexer::new(text);
    let mut tag = Value::Missing;
    let mut given = Value::Missing;
    members(&mut lexer, &[], |key, lexer| {
        let member = value(lexer)?;
        match key {
            b"__type__" => tag = member,
            b"__value__" => given = member,
            _ => {}
        }
        Ok(())
    })
    .ok()?;
    match (tag, given) {
        (Value::Str(Str::Plain("datetime"), _), Value::Str(given, _)) => Some(given),
        _ => None,
    }
}

/// `(hard, soft)` in seconds.
fn limits(value: Value<'_>, text: &str) -> Result<(Option<f64>, Option<f64>), Malformed> {
    let wrong = || malformed("header 'timelimit' must be null or [hard, soft] in seconds or nulls", value.at());
    let (start, end) = match value {
        Value::Missing | Value::Null => return Ok((None, None)),
        Value::Container(start, end) => (start, end),
        _ => return Err(wrong()),
    };
    let mut lexer = Lexer::new(&text[start..end]);
    if !lexer.take(b'[') {
        return Err(wrong());
    }
    let mut limit = |after: u8| {
        let limit = match super::value::value(&mut lexer).ok()? {
            Value::Null => None,
            Value::Number(seconds, _) => limit_of(seconds),
            _ => return None,
        };
        lexer.take(after).then_some(limit)
    };
    match (limit(b','), limit(b']')) {
        (Some(hard), Some(soft)) => Ok((hard, soft)),
        _ => Err(wrong()),
    }
}

/// 0 means none in Celery, and no clock can wait for ever or backwards.
pub(super) fn limit_of(seconds: f64) -> Option<f64> {
    Some(seconds).filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before, and casts saturate")]
fn retries(value: Value<'_>) -> u32 {
    match value {
        Value::Number(count, _) => count.clamp(0.0, f64::from(u32::MAX)) as u32,
        Value::Str(Str::Plain(digits), _) => digits.trim().parse().unwrap_or(0),
        _ => 0,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before, and casts saturate")]
fn priority(value: Value<'_>) -> u8 {
    let given = match value {
        Value::Number(given, _) => given,
        Value::Str(Str::Plain(digits), _) => digits.trim().parse().unwrap_or(0.0),
        _ => 0.0,
    };
    given.clamp(0.0, 9.0) as u8
}

pub(super) fn is_true(value: Value<'_>) -> bool {
    matches!(value, Value::Bool(true))
}

/// The span of an object; empty for anything else.
fn object_span(value: Value<'_>, text: &str) -> Span {
    match value {
        Value::Container(start, end) if text[start..].starts_with('{') => Span { start: short(start), end: short(end) },
        _ => Span::default(),
    }
}

/// Offsets fit: `scan` refuses longer texts at its door.
#[expect(clippy::cast_possible_truncation, reason = "checked once for the whole text")]
pub(super) fn short(offset: usize) -> u32 {
    offset as u32
}
