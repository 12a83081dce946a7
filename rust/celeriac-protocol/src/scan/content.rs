//! Takes a message in AMQP's form apart, and hands what matters to the same judge.

use super::judge::{apply, is_true, limit_of, protocol_1, short, text_of};
use super::malformed;
use super::value::Value;
use super::walk::Fields as Found;
use crate::amqp::content::{Parts, Short};
use crate::amqp::{Fields, View, WireError};
use crate::json::Str;
use crate::message::{BodyEncoding, Head, Malformed, Span, Text};

/// What is not among the judge's words: a date and limits that are no texts.
#[derive(Default)]
struct Typed<'a> {
    eta: Option<u64>,
    expires: Option<u64>,
    timelimit: Option<Fields<'a>>,
}

pub(super) fn scan(raw: &[u8]) -> Result<Head, Malformed> {
    let parts = Parts::read(raw).map_err(|error| wire(&error))?;
    let mut found = Found::default();
    let mut typed = Typed::default();
    let (table, start) = parts.headers;
    let mut fields = Fields::new(table, start);
    while let Some((name, view)) = fields.field().map_err(|error| wire(&error))? {
        field(&mut found, &mut typed, name, view, fields.at())?;
    }
    let content_type = match parts.content_type {
        None => return Err(malformed("property 'content_type' is missing", 0)),
        given => text_of(property(given), "property 'content_type'", false)?,
    };
    let content_encoding = match parts.content_encoding {
        None | Some((b"", _)) => Text::Owned("utf-8".into()),
        given => text_of(property(given), "property 'content_encoding'", false)?,
    };
    let compression = match found.compression {
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
        priority: 9 - parts.priority.min(9),
        redelivered: parts.redelivered || is_true(found.redelivered),
        content_type,
        content_encoding,
        compression,
        headers: Span { start: short(start), end: short(start + table.len()) },
        properties: Span { start: short(parts.properties_at), end: short(parts.body_at) },
        body: Span { start: short(parts.body_at), end: short(raw.len()) },
        body_escaped: false,
        body_encoding: BodyEncoding::Binary,
    };
    if matches!(found.task, Value::Missing) {
        protocol_1(&mut head, raw)?;
        return Ok(head);
    }
    apply(&mut head, &found, "", false)?;
    head.eta_ms = typed.eta.map(ms).or(head.eta_ms);
    head.expires_ms = typed.expires.map(ms).or(head.expires_ms);
    if let Some(limits) = typed.timelimit {
        (head.time_limit, head.soft_time_limit) = pair(limits)?;
    }
    Ok(head)
}

fn field<'a>(
    found: &mut Found<'a>,
    typed: &mut Typed<'a>,
    name: &[u8],
    view: View<'a>,
    end: usize,
) -> Result<(), Malformed> {
    let place = match name {
        b"task" => &mut found.task,
        b"id" => &mut found.id,
        b"retries" => &mut found.retries,
        b"ignore_result" => &mut found.ignore_result,
        b"group" => &mut found.group,
        b"taskset" => &mut found.taskset,
        b"parent_id" => &mut found.parent_id,
        b"compression" => &mut found.compression,
        b"redelivered" => &mut found.redelivered,
        b"eta" => {
            typed.eta = timestamp(view);
            &mut found.eta
        }
        b"expires" => {
            typed.expires = timestamp(view);
            &mut found.expires
        }
        b"timelimit" => {
            typed.timelimit = match view {
                View::Array(limits) => Some(limits),
                View::Void => None,
                _ => return Err(wrong_limits(end)),
            };
            return Ok(());
        }
        _ => return Ok(()),
    };
    *place = match view {
        View::Void | View::Timestamp(_) => Value::Null,
        View::Bool(flag) => Value::Bool(flag),
        #[expect(clippy::cast_precision_loss, reason = "counts: far from the loss, and clamped by their users")]
        View::Int(number) => Value::Number(number as f64, end),
        View::Float(number) => Value::Number(number, end),
        View::Str(text) | View::Bytes(text) => {
            let at = end - text.len();
            match std::str::from_utf8(text) {
                Ok(text) => Value::Str(Str::Plain(text), at),
                Err(error) => {
                    let name = String::from_utf8_lossy(name);
                    return Err(malformed(&format!("header '{name}' is not UTF-8"), at + error.valid_up_to()));
                }
            }
        }
        // Of no use to any of them: refused where it matters.
        View::Decimal(..) | View::Array(_) | View::Table(_) => Value::Bool(false),
    };
    Ok(())
}

fn timestamp(view: View<'_>) -> Option<u64> {
    match view {
        View::Timestamp(seconds) => Some(seconds),
        _ => None,
    }
}

fn ms(seconds: u64) -> i64 {
    i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1000)).unwrap_or(i64::MAX)
}

/// `(hard, soft)` in seconds.
fn pair(mut limits: Fields<'_>) -> Result<(Option<f64>, Option<f64>), Malformed> {
    let at = limits.at();
    let mut limit = || match limits.member() {
        Ok(Some(View::Void)) => Ok(None),
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        Ok(Some(View::Int(seconds))) => Ok(limit_of(seconds as f64)),
        Ok(Some(View::Float(seconds))) => Ok(limit_of(seconds)),
        _ => Err(wrong_limits(at)),
    };
    let pair = (limit()?, limit()?);
    if matches!(limits.member(), Ok(None)) { Ok(pair) } else { Err(wrong_limits(at)) }
}

fn wrong_limits(at: usize) -> Malformed {
    malformed("header 'timelimit' must be null or [hard, soft] in seconds or nulls", at)
}

fn property(given: Short<'_>) -> Value<'_> {
    match given {
        Some((text, at)) => {
            std::str::from_utf8(text).map_or(Value::Bool(false), |text| Value::Str(Str::Plain(text), at))
        }
        None => Value::Missing,
    }
}

fn wire(error: &WireError) -> Malformed {
    malformed(error.what, error.at)
}
