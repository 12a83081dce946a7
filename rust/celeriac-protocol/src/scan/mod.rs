//! One pass over an envelope: finds the parts that the worker's main process decides by, checks the grammar of the rest.
//!
//! Tolerant where a Celery worker is tolerant, and where one would crash or lose the message there is a clear
//! [`Malformed`] instead. A duplicate key counts with its last value, as for every JSON reader in Python.
//!
//! `walk.rs` takes the envelope apart without judging, `content.rs` does so with a message in AMQP's form, `judge.rs` makes the
//! [`Head`] of it, `value.rs` is what passes between.

mod content;
mod judge;
mod value;
mod walk;

use crate::amqp::content::is_content;
use crate::base64;
use crate::json::unescape;
use crate::message::{BodyEncoding, Head, Malformed, Text};

/// Scans an envelope, or a message in AMQP's form.
pub(crate) fn scan(raw: &[u8]) -> Result<Head, Malformed> {
    if u32::try_from(raw.len()).is_err() {
        return Err(malformed("a message is shorter than 4 GiB", 0));
    }
    if is_content(raw) {
        return content::scan(raw);
    }
    let text = std::str::from_utf8(raw).map_err(|error| malformed("a message is UTF-8 text", error.valid_up_to()))?;
    let envelope =
        walk::envelope(text).map_err(|error| malformed(&format!("not JSON: {}", error.problem), error.at))?;
    judge::finish(text, &envelope)
}

/// The body's bytes, still compressed and serialised. `envelope` is what `head` was scanned from.
pub(crate) fn decode_body(head: &Head, envelope: &[u8]) -> Result<Vec<u8>, String> {
    let body = &envelope[head.body.start as usize..head.body.end as usize];
    let mut unescaped = String::new();
    let body = if head.body_escaped {
        let text = std::str::from_utf8(body).map_err(|error| format!("body: {error}"))?;
        unescape(text, &mut unescaped).map_err(|error| format!("body: {}", error.problem))?;
        unescaped.as_bytes()
    } else {
        body
    };
    match head.body_encoding {
        BodyEncoding::Utf8 | BodyEncoding::Binary => Ok(body.to_vec()),
        BodyEncoding::Base64 => base64::decode(body).ok_or_else(|| "body is not base64".to_owned()),
    }
}

fn resolve<'a>(text: &'a Text, raw: &'a [u8]) -> &'a str {
    match text {
        Text::Span(span) => std::str::from_utf8(&raw[span.start as usize..span.end as usize]).unwrap_or(""),
        Text::Owned(owned) => owned,
    }
}

fn malformed(reason: &str, at: usize) -> Malformed {
    Malformed { reason: reason.to_owned(), at }
}
