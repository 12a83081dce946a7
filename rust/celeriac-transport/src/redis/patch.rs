//! Changes in an envelope's bytes: a fresh delivery tag, and the flags of a message that was handed over before.
//!
//! Nothing else of the message changes, not even its blanks: to decode and encode it again would lose what this version
//! does not know.

use celeriac_protocol::json::{JsonError, Lexer, Str, unescape};
use celeriac_protocol::uuid::uuid7;

/// Where things stand in an envelope: bytes from, to.
#[derive(Debug, Default)]
struct Places {
    tag: Option<(usize, usize)>,
    headers: Object,
    info: Object,
    properties: Object,
}

/// An object: its closing brace, whether something stands in it, and its `redelivered`.
#[derive(Debug, Default)]
struct Object {
    end: Option<usize>,
    filled: bool,
    redelivered: Option<(usize, usize)>,
}

/// The delivery tag that a message carries.
pub(crate) fn tag(raw: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(raw).ok()?;
    let (from, to) = places(text).ok()?.tag?;
    let inner = text.get(from..to)?.strip_prefix('"')?.strip_suffix('"')?;
    unescaped(inner)
}

/// The message under another delivery tag; as it is if it has none.
pub(crate) fn with_fresh_tag(raw: &[u8], wall_ms: u64) -> Vec<u8> {
    let place = std::str::from_utf8(raw).ok().and_then(|text| places(text).ok()).and_then(|places| places.tag);
    match (place, uuid7(wall_ms)) {
        (Some((from, to)), Ok(fresh)) => [&raw[..from], b"\"", fresh.as_bytes(), b"\"", &raw[to..]].concat(),
        _ => raw.to_vec(),
    }
}

/// The message with both flags that say that somebody had it before; as it is if it cannot be read.
pub(crate) fn with_redelivered(raw: &[u8]) -> Vec<u8> {
    let Some(found) = std::str::from_utf8(raw).ok().and_then(|text| places(text).ok()) else { return raw.to_vec() };
    let mut edits: Vec<(usize, usize, String)> = Vec::new();
    let mut flag = |object: &Object| match (object.redelivered, object.end) {
        (Some((from, to)), _) => edits.push((from, to, "true".to_owned())),
        // Behind the others, where Kombu puts it: our bytes are Kombu's.
        (None, Some(at)) => {
            let comma = if object.filled { ", " } else { "" };
            edits.push((at, at, format!("{comma}\"redelivered\": true")));
        }
        (None, None) => {}
    };
    flag(&found.headers);
    flag(&found.info);
    if found.info.end.is_none()
        && let Some(at) = found.properties.end
    {
        let comma = if found.properties.filled { ", " } else { "" };
        edits.push((at, at, format!("{comma}\"delivery_info\": {{\"redelivered\": true}}")));
    }
    edits.sort_by_key(|(from, _, _)| *from);
    let mut patched = Vec::with_capacity(raw.len() + 64);
    let mut done = 0;
    for (from, to, text) in edits {
        patched.extend_from_slice(&raw[done..from]);
        patched.extend_from_slice(text.as_bytes());
        done = to;
    }
    patched.extend_from_slice(&raw[done..]);
    patched
}

/// `[message, "exchange", "routing key"]`, as Kombu records a claim, taken apart.
pub(crate) fn claim_parts(record: &[u8]) -> Option<(&[u8], String, String)> {
    let text = std::str::from_utf8(record).ok()?;
    let mut lexer = Lexer::new(text);
    lexer.expect(b'[', "'['").ok()?;
    lexer.peek()?;
    let from = lexer.at();
    lexer.skip_value().ok()?;
    let to = lexer.at();
    let mut texts = Vec::new();
    while lexer.take(b',') {
        texts.push(if lexer.peek() == Some(b'"') {
            match lexer.string().ok()? {
                Str::Plain(text) => text.to_owned(),
                Str::Escaped(text) => unescaped(text)?,
            }
        } else {
            lexer.skip_value().ok()?;
            String::new()
        });
    }
    let mut texts = texts.into_iter();
    Some((&record[from..to], texts.next().unwrap_or_default(), texts.next().unwrap_or_default()))
}

fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::new();
    unescape(text, &mut plain).ok()?;
    Some(plain)
}

fn places(text: &str) -> Result<Places, JsonError> {
    let mut places = Places::default();
    let mut lexer = Lexer::new(text);
    members(&mut lexer, &mut Object::default(), &mut |key, lexer| {
        match key {
            "headers" if lexer.peek() == Some(b'{') => plain(lexer, &mut places.headers)?,
            "properties" if lexer.peek() == Some(b'{') => {
                let (tag, info) = (&mut places.tag, &mut places.info);
                members(lexer, &mut places.properties, &mut |key, lexer| match key {
                    "delivery_tag" if lexer.peek() == Some(b'"') => {
                        let from = lexer.at();
                        lexer.skip_value()?;
                        *tag = Some((from, lexer.at()));
                        Ok(())
                    }
                    "delivery_info" if lexer.peek() == Some(b'{') => plain(lexer, info),
                    _ => lexer.skip_value(),
                })?;
            }
            _ => lexer.skip_value()?,
        }
        Ok(())
    })?;
    lexer.end()?;
    Ok(places)
}

fn plain(lexer: &mut Lexer<'_>, object: &mut Object) -> Result<(), JsonError> {
    members(lexer, object, &mut |_, lexer| lexer.skip_value())
}

type Member<'f> = dyn FnMut(&str, &mut Lexer<'_>) -> Result<(), JsonError> + 'f;

fn members(lexer: &mut Lexer<'_>, object: &mut Object, member: &mut Member<'_>) -> Result<(), JsonError> {
    lexer.expect(b'{', "'{'")?;
    if lexer.take(b'}') {
        object.end = Some(lexer.at() - 1);
        return Ok(());
    }
    object.filled = true;
    loop {
        let key = match lexer.string()? {
            Str::Plain(key) => key,
            Str::Escaped(_) => "", // none of the names that matter needs an escape
        };
        lexer.expect(b':', "':'")?;
        lexer.peek();
        let from = lexer.at();
        member(key, lexer)?;
        if key == "redelivered" {
            object.redelivered = Some((from, lexer.at()));
        }
        if !lexer.take(b',') {
            lexer.expect(b'}', "',' or '}'")?;
            object.end = Some(lexer.at() - 1);
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"body": "e30=", "headers": {"id": "a"}, "properties": {"delivery_info": {"exchange": "", "routing_key": "q"}, "delivery_tag": "t-1"}}"#;

    #[test]
    fn both_flags_are_set_and_nothing_else_changes() {
        let once = with_redelivered(PLAIN.as_bytes());
        assert_eq!(
            std::str::from_utf8(&once).unwrap(),
            r#"{"body": "e30=", "headers": {"id": "a", "redelivered": true}, "properties": {"delivery_info": {"exchange": "", "routing_key": "q", "redelivered": true}, "delivery_tag": "t-1"}}"#
        );
        assert_eq!(with_redelivered(&once), once);
        let no = PLAIN
            .replace(r#"{"id": "a"}"#, r#"{ "redelivered" : false}"#)
            .replace(r#""delivery_info": {"exchange": "", "routing_key": "q"}, "#, "");
        assert_eq!(
            std::str::from_utf8(&with_redelivered(no.as_bytes())).unwrap(),
            r#"{"body": "e30=", "headers": { "redelivered" : true}, "properties": {"delivery_tag": "t-1", "delivery_info": {"redelivered": true}}}"#
        );
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        for raw in [&b"no json"[..], b"\xff", b"[]", b"{}", br#"{"properties": 3, "headers": null}"#] {
            assert_eq!(with_redelivered(raw), raw);
            assert_eq!(with_fresh_tag(raw, 1), raw);
            assert_eq!(tag(raw), None);
        }
    }

    #[test]
    fn the_tag_is_the_one_of_the_properties() {
        let nested = r#"{"headers": {"delivery_tag": "no"}, "properties": {"x": {"delivery_tag": "no"}, "delivery_tag": "yes"}}"#;
        assert_eq!(tag(nested.as_bytes()).as_deref(), Some("yes"));
        let fresh = with_fresh_tag(nested.as_bytes(), 5);
        let now = tag(&fresh).unwrap();
        assert_eq!((fresh.len(), now.len()), (nested.len() - 3 + 36, 36));
        assert_ne!(tag(&with_fresh_tag(nested.as_bytes(), 5)).unwrap(), now);
    }

    #[test]
    fn a_claim_is_message_exchange_and_key() {
        let record = br#"[{"a": [1, "]"]}, "ex", "r\u00e9"]"#;
        assert_eq!(claim_parts(record), Some((&br#"{"a": [1, "]"]}"#[..], "ex".to_owned(), "ré".to_owned())));
        assert_eq!(claim_parts(b"[nonsense"), None);
    }
}
