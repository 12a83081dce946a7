//! Messages in AMQP's form: hostile bytes are refused or read, never a panic; what the scan finds is what was written.
#![allow(clippy::unwrap_used, reason = "a test")]

use bytes::Bytes;
use celeriac_protocol::amqp::content::{Content, headers, properties, sections};
use celeriac_protocol::amqp::{LongStr, Properties, ShortStr, Table, Value, WireError};
use celeriac_protocol::{BodyEncoding, Message};
use proptest::prelude::*;

fn name(text: &str) -> ShortStr {
    ShortStr::new(text).unwrap()
}

fn message(fields: &[(&str, Value)], priority: Option<u8>, redelivered: bool, body: &'static [u8]) -> Bytes {
    let table = Table(fields.iter().map(|(key, value)| (name(key), value.clone())).collect());
    let properties = Properties {
        content_type: Some(name("application/json")),
        headers: Some(table),
        priority,
        ..Properties::default()
    };
    let empty = Content {
        mandatory: false,
        redelivered,
        exchange: name("shop"),
        routing_key: name("order.new"),
        properties: Bytes::new(),
        body: Bytes::from_static(body),
    };
    empty.with(&properties).unwrap().join().unwrap()
}

fn task(more: &[(&str, Value)]) -> Bytes {
    let mut fields = vec![("task", Value::from("t")), ("id", Value::from("i"))];
    fields.extend(more.iter().cloned());
    message(&fields, None, false, b"[[], {}, {}]")
}

#[test]
fn the_scan_finds_what_matters() {
    let limits = Value::Array(vec![Value::F64(2.5), Value::I32(0)]);
    let raw = message(
        &[
            ("task", Value::from("proj.add")),
            ("id", Value::from("id-1")),
            ("eta", Value::from("2030-01-02T03:04:05")),
            ("expires", Value::Timestamp(7)),
            ("retries", Value::I64(3)),
            ("timelimit", limits),
            ("ignore_result", Value::Bool(true)),
            ("group", Value::Bytes(LongStr::new("g"))),
            ("parent_id", Value::Void),
            ("x-death", Value::Array(vec![Value::Table(Table::default())])),
        ],
        Some(7),
        true,
        b"[[1], {}, {}]",
    );
    let message = Message::scan(raw.clone());
    let head = message.head.as_ref().unwrap();
    assert_eq!((message.text(&head.task), message.text(&head.id)), ("proj.add", "id-1"));
    assert_eq!((head.eta_ms, head.naive_dates, head.expires_ms), (Some(1_893_553_445_000), true, Some(7000)));
    assert_eq!((head.time_limit, head.soft_time_limit), (Some(2.5), None));
    assert_eq!((head.retries, head.ignore_result, head.redelivered), (3, Some(true), true));
    assert_eq!(head.group.as_ref().map(|group| message.text(group)), Some("g"));
    assert_eq!((head.priority, head.body_encoding), (2, BodyEncoding::Binary));
    assert_eq!(message.body().unwrap(), b"[[1], {}, {}]");
    let content = Content::split(&raw).unwrap();
    assert_eq!((content.exchange.text(), content.routing_key.text()), ("shop".into(), "order.new".into()));
    assert_eq!(sections(&raw).unwrap().body, &content.body[..]);
}

#[test]
fn a_body_of_protocol_1_is_read() {
    let raw = message(&[], None, false, br#"{"task": "t", "id": "i", "retries": 2, "args": []}"#);
    let head = Message::scan(raw).head.unwrap();
    assert_eq!((head.protocol, head.retries), (1, 2));
}

#[test]
fn what_no_worker_could_run_is_refused_with_its_reason() {
    for (field, told) in [
        (("timelimit", Value::Array(vec![Value::Void])), "timelimit"),
        (("timelimit", Value::from("x")), "timelimit"),
        (("eta", Value::from("")), "eta"),
        (("eta", Value::Table(Table::default())), "eta"),
        (("id", Value::Void), "'id'"),
        (("id", Value::Str(LongStr(Bytes::from_static(b"\xff")))), "UTF-8"),
        (("task", Value::I32(1)), "'task'"),
        (("compression", Value::Bool(true)), "compression"),
    ] {
        let error = Message::scan(task(&[field])).head.unwrap_err();
        assert!(error.reason.contains(told), "{error}");
    }
    assert!(Message::scan(Bytes::from_static(&[1])).head.is_err());
}

#[test]
fn headers_of_wrong_types_that_only_describe_count_as_none() {
    for value in [Value::Bool(true), Value::Array(Vec::new()), Value::Table(Table::default()), Value::Decimal(1, 2)] {
        let head = Message::scan(task(&[("group", value.clone()), ("retries", value.clone()), ("redelivered", value)]));
        let head = head.head.unwrap();
        assert!(head.group.is_none() && head.retries == 0);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(mut raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(first) = raw.first_mut() {
            *first = 1;
        }
        let message = Message::scan(raw.into());
        prop_assert_eq!(message.head.is_ok(), message.body().is_ok());
        let _ = headers(&message.raw);
        let _ = properties(&message.raw, |_, _| Ok::<(), WireError>(()));
    }

    #[test]
    fn any_damage_is_read_or_refused(at in any::<prop::sample::Index>(), with: u8, cut in any::<prop::sample::Index>()) {
        let mut raw = task(&[("timelimit", Value::Array(vec![Value::Void, Value::F32(1.0)])), ("eta", Value::Timestamp(1))]).to_vec();
        let at = at.index(raw.len());
        raw[at] = with;
        raw.truncate(cut.index(raw.len() + 1));
        let message = Message::scan(raw.into());
        if let Ok(head) = &message.head {
            prop_assert!(!message.text(&head.id).is_empty() || message.raw.len() > 10);
            prop_assert!(head.priority <= 9);
            for span in [head.headers, head.properties, head.body] {
                prop_assert!(span.start <= span.end && span.end as usize <= message.raw.len());
            }
        }
        let _ = Content::split(&message.raw);
    }

    #[test]
    fn split_and_join_are_inverse(exchange in ".{0,40}", key in ".{0,40}", mandatory: bool, redelivered: bool, body: Vec<u8>) {
        let content = Content {
            mandatory,
            redelivered,
            exchange: name(&exchange),
            routing_key: name(&key),
            properties: Bytes::from_static(&[0, 0]),
            body: body.into(),
        };
        prop_assert_eq!(Content::split(&content.join().unwrap()).unwrap(), content);
    }
}
