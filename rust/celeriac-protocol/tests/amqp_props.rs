//! The AMQP codec over random values and random bytes: what is written is read as the same, wherever the bytes are cut, and what is
//! damaged is an error.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::{Bytes, BytesMut};
use celeriac_protocol::amqp::{
    ContentHeader, FrameKind, HEARTBEAT, LongStr, MAX_TABLE_DEPTH, Method, Properties, ShortStr, Table, Value,
    envelope, split, write_ack, write_content, write_method,
};
use proptest::prelude::*;

fn short() -> impl Strategy<Value = ShortStr> {
    prop::collection::vec(any::<u8>(), 0..=255).prop_map(|bytes| ShortStr::from_bytes(bytes.into()).unwrap())
}

fn long() -> impl Strategy<Value = LongStr> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| LongStr(bytes.into()))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Void),
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        (any::<u8>(), any::<i32>()).prop_map(|(scale, number)| Value::Decimal(scale, number)),
        long().prop_map(Value::Str),
        long().prop_map(Value::Bytes),
        any::<u64>().prop_map(Value::Timestamp),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((short(), inner), 0..5).prop_map(|fields| Value::Table(Table(fields))),
        ]
    })
}

fn table() -> impl Strategy<Value = Table> {
    prop::collection::vec((short(), value()), 0..6).prop_map(Table)
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        (short(), short(), any::<[bool; 5]>(), table()).prop_map(|(exchange, kind, bits, arguments)| {
            let [passive, durable, auto_delete, internal, nowait] = bits;
            Method::ExchangeDeclare { exchange, kind, passive, durable, auto_delete, internal, nowait, arguments }
        }),
        (short(), any::<u64>(), any::<bool>(), short(), short()).prop_map(
            |(consumer_tag, delivery_tag, redelivered, exchange, routing_key)| Method::BasicDeliver {
                consumer_tag,
                delivery_tag,
                redelivered,
                exchange,
                routing_key
            }
        ),
        (any::<u64>(), any::<bool>(), any::<bool>()).prop_map(|(delivery_tag, multiple, requeue)| Method::BasicNack {
            delivery_tag,
            multiple,
            requeue
        }),
        (table(), short(), long(), short()).prop_map(|(client_properties, mechanism, response, locale)| {
            Method::ConnectionStartOk { client_properties, mechanism, response, locale }
        }),
        short().prop_map(|virtual_host| Method::ConnectionOpen { virtual_host }),
        (any::<u32>(), any::<u16>(), any::<bool>()).prop_map(|(prefetch_size, prefetch_count, global)| {
            Method::BasicQos { prefetch_size, prefetch_count, global }
        }),
        Just(Method::ChannelOpen {}),
    ]
}

fn properties() -> impl Strategy<Value = Properties> {
    (
        prop::option::of(table()),
        any::<[Option<u8>; 2]>(),
        any::<Option<u64>>(),
        prop::collection::vec(short(), 11),
        any::<u16>(),
    )
        .prop_map(|(headers, [delivery_mode, priority], timestamp, texts, which)| {
            let text = |at: usize| (which >> at & 1 == 1).then(|| texts[at].clone());
            Properties {
                content_type: text(0),
                content_encoding: text(1),
                headers,
                delivery_mode,
                priority,
                correlation_id: text(2),
                reply_to: text(3),
                expiration: text(4),
                message_id: text(5),
                timestamp,
                kind: text(6),
                user_id: text(7),
                app_id: text(8),
                cluster_id: text(9),
            }
        })
}

/// As text: a NaN is not equal to itself, and it has to come through.
fn shown(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

proptest! {
    #[test]
    fn methods_come_back_as_they_went(method in method(), channel: u16) {
        let mut out = Vec::new();
        write_method(&mut out, channel, &method).unwrap();
        let mut input = BytesMut::from(&out[..]);
        let frame = split(&mut input, out.len()).unwrap().unwrap();
        prop_assert_eq!((frame.kind, frame.channel, input.len()), (FrameKind::Method, channel, 0));
        prop_assert_eq!(shown(&Method::read(&frame.payload).unwrap()), shown(&method));
        // One byte less than the frame needs is too little.
        prop_assert!(split(&mut BytesMut::from(&out[..]), out.len() - 1).is_err());
    }

    #[test]
    fn contents_come_back_as_they_went(
        properties in properties(), body in prop::collection::vec(any::<u8>(), 0..20_000), frame_max in 8192usize..40_000
    ) {
        let (mut raw, mut out) = (Vec::new(), Vec::new());
        properties.write(&mut raw).unwrap();
        let fits = raw.len() + 20 <= frame_max;
        prop_assert_eq!(write_content(&mut out, 1, &raw, &body, frame_max).is_ok(), fits);
        prop_assume!(fits);
        let mut input = BytesMut::from(&out[..]);
        let mut frames = std::iter::from_fn(|| split(&mut input, frame_max).unwrap());
        let header = ContentHeader::read(&frames.next().unwrap().payload).unwrap();
        prop_assert_eq!(header.body_size, body.len() as u64);
        prop_assert_eq!(shown(&header.properties().unwrap()), shown(&properties));
        let bodies: Vec<u8> = frames.flat_map(|frame| frame.payload.to_vec()).collect();
        prop_assert_eq!(bodies, body);
    }

    #[test]
    fn it_does_not_matter_where_the_bytes_are_cut(methods in prop::collection::vec(method(), 1..4), step in 1usize..50) {
        let mut out = Vec::new();
        for method in &methods {
            write_method(&mut out, 1, method).unwrap();
            out.extend_from_slice(HEARTBEAT);
        }
        let (mut input, mut read) = (BytesMut::new(), Vec::new());
        for part in out.chunks(step) {
            input.extend_from_slice(part);
            while let Some(frame) = split(&mut input, 1 << 20).unwrap() {
                if frame.kind == FrameKind::Method {
                    read.push(Method::read(&frame.payload).unwrap());
                }
            }
        }
        prop_assert_eq!(shown(&read), shown(&methods));
    }

    #[test]
    fn random_bytes_are_refused_and_never_a_panic(data in prop::collection::vec(any::<u8>(), 0..400), class in 0usize..6, number in 0u8..125) {
        let payload = Bytes::from(data.clone());
        let _ = Method::read(&payload);
        let _ = ContentHeader::read(&payload).and_then(|header| header.properties());
        let _ = split(&mut BytesMut::from(&data[..]), 1 << 17);
        let _ = envelope::parts(&data);
        // Of a method that there is.
        let mut named = vec![0, [10, 20, 40, 50, 60, 85][class], 0, number];
        named.extend_from_slice(&data);
        let _ = Method::read(&named.into());
    }

    #[test]
    fn a_short_payload_is_an_error(method in method(), cut in 1usize..400) {
        let mut out = Vec::new();
        method.write(&mut out).unwrap();
        let cut = cut.min(out.len());
        out.truncate(out.len() - cut);
        prop_assert!(Method::read(&out.into()).is_err());
    }
}

#[test]
fn the_short_way_to_ack_writes_the_same_bytes() {
    for multiple in [false, true] {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        write_ack(&mut short, 7, 0x0102_0304_0506_0708, multiple);
        write_method(&mut long, 7, &Method::BasicAck { delivery_tag: 0x0102_0304_0506_0708, multiple }).unwrap();
        assert_eq!(short, long);
    }
}

fn nested(depth: usize) -> Table {
    let name = ShortStr::literal("k");
    (1..depth).fold(Table::default(), |inner, _| Table::default().with(name.clone(), inner))
}

#[test]
fn nesting_has_an_end_in_both_directions() {
    let declare = |arguments| Method::QueueUnbind {
        queue: ShortStr::default(),
        exchange: ShortStr::default(),
        routing_key: ShortStr::default(),
        arguments,
    };
    let mut out = Vec::new();
    declare(nested(MAX_TABLE_DEPTH)).write(&mut out).unwrap();
    assert_eq!(Method::read(&out.into()).unwrap(), declare(nested(MAX_TABLE_DEPTH)));
    assert!(declare(nested(MAX_TABLE_DEPTH + 1)).write(&mut Vec::new()).is_err());
    // 100 000 arrays in each other, by another client.
    let mut deep = Vec::new();
    for _ in 0..100_000 {
        let mut outer = vec![b'A'];
        outer.extend_from_slice(&u32::try_from(deep.len()).unwrap().to_be_bytes());
        deep.extend_from_slice(&outer);
    }
    deep.reverse();
    let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0];
    payload.extend_from_slice(&u32::try_from(deep.len() + 2).unwrap().to_be_bytes());
    payload.extend_from_slice(&[1, b'k']);
    payload.extend_from_slice(&deep);
    let header = ContentHeader::read(&payload.into()).unwrap();
    assert!(header.properties().is_err());
    // And by a sender of ours.
    let envelope = format!(r#"{{"headers": {{"k": {}{}}}}}"#, "[".repeat(100), "]".repeat(100));
    assert!(envelope::parts(envelope.as_bytes()).is_err());
    let envelope = format!(r#"{{"headers": {{"k": {}{}}}}}"#, "[".repeat(60), "]".repeat(60));
    assert!(envelope::parts(envelope.as_bytes()).is_ok());
}

#[test]
fn an_envelope_becomes_what_py_amqp_writes() {
    let envelope = br#"{"body": "W10=", "content-encoding": "utf-8", "content-type": "application/json", "headers":
        {"id": "a\u00e9", "eta": null, "retries": 0, "big": 4294967296, "least": -2147483648, "limit": [null, 1.5],
         "ignore": false, "stamps": {}}, "properties": {"correlation_id": "c", "reply_to": "r", "delivery_mode": 2,
         "priority": 4, "delivery_info": {"exchange": ""}, "body_encoding": "base64", "delivery_tag": "t", "origin": "me",
         "expiration": "60000", "reply": null}}"#;
    let parts = envelope::parts(envelope).unwrap();
    assert_eq!(&*parts.body, b"[]");
    let mut frame = Vec::new();
    ContentHeader::write(2, &parts.properties, &mut frame);
    let properties = ContentHeader::read(&frame.into()).unwrap().properties().unwrap();
    let text = |text: &str| Some(ShortStr::new(text).unwrap());
    let headers = Table::default()
        .with(ShortStr::literal("id"), "aé")
        .with(ShortStr::literal("eta"), Value::Void)
        .with(ShortStr::literal("retries"), Value::I32(0))
        .with(ShortStr::literal("big"), Value::I64(1 << 32))
        .with(ShortStr::literal("least"), Value::I64(i32::MIN.into()))
        .with(ShortStr::literal("limit"), Value::Array(vec![Value::Void, Value::F64(1.5)]))
        .with(ShortStr::literal("ignore"), false)
        .with(ShortStr::literal("stamps"), Table::default());
    let expected = Properties {
        content_type: text("application/json"),
        content_encoding: text("utf-8"),
        headers: Some(headers),
        delivery_mode: Some(2),
        priority: Some(4),
        correlation_id: text("c"),
        reply_to: text("r"),
        expiration: text("60000"),
        ..Properties::default()
    };
    assert_eq!(properties, expected);
}

#[test]
fn what_amqp_cannot_carry_is_refused() {
    for (envelope, word) in [
        (&b"[]"[..], "an object"),
        (b"{\"headers\": {\"n\": 18446744073709551616}}", "64 bits"),
        (b"{\"body\": \"W\", \"properties\": {\"body_encoding\": \"base64\"}}", "base64"),
        (b"\xff", "UTF-8"),
        (b"{\"headers\": {\"n\": 1}", "'}'"),
    ] {
        let text = envelope::parts(envelope).unwrap_err().to_string();
        assert!(text.contains(word), "{text}");
    }
    let long = format!(r#"{{"content-type": "{}"}}"#, "x".repeat(256));
    assert!(envelope::parts(long.as_bytes()).unwrap_err().to_string().contains("255 bytes"));
}
