//! The scan of an envelope: what it finds, what it refuses, and that no input stops it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use bytes::Bytes;
use celeriac_protocol::{BodyEncoding, Malformed, Message, base64};
use proptest::prelude::*;

fn envelope(headers: &str, properties: &str) -> Bytes {
    let body = "W1tdLCB7fSwge31d"; // [[], {}, {}]
    Bytes::from(format!(
        r#"{{"body": "{body}", "content-encoding": "utf-8", "content-type": "application/json", "headers": {headers}, "properties": {properties}}}"#
    ))
}

fn scan(headers: &str, properties: &str) -> Message {
    Message::scan(envelope(headers, properties))
}

fn reason(message: &Message) -> String {
    let Err(Malformed { reason, .. }) = &message.head else { panic!("not refused") };
    reason.clone()
}

#[test]
fn the_order_of_members_does_not_matter() {
    let message = Message::scan(Bytes::from_static(
        br#" { "properties" : { "body_encoding" : "base64", "priority" : 7, "delivery_info": {"redelivered": true} },
            "x": [1, {"y": null}], "headers":{"id":"i","task":"t","retries":2,"timelimit":[10,2.5],"eta":"2030-01-02T03:04:05Z",
            "ignore_result": true, "compression": "application/zstd"},
            "content-type":"application/json","content-encoding":null,"body":"e30=" } "#,
    ));
    let head = message.head.as_ref().unwrap();
    assert_eq!((message.text(&head.id), message.text(&head.task)), ("i", "t"));
    assert_eq!((head.priority, head.retries, head.redelivered, head.ignore_result), (7, 2, true, Some(true)));
    assert_eq!((head.time_limit, head.soft_time_limit), (Some(10.0), Some(2.5)));
    assert_eq!((head.eta_ms, head.naive_dates), (Some(1_893_553_445_000), false));
    assert_eq!(message.text(head.compression.as_ref().unwrap()), "application/zstd");
    assert_eq!(message.text(&head.content_encoding), "utf-8");
    assert_eq!(head.body_encoding, BodyEncoding::Base64);
    assert_eq!(message.body().unwrap(), b"{}");
    let headers = &message.raw[head.headers.start as usize..head.headers.end as usize];
    assert!(headers.starts_with(b"{\"id\"") && headers.ends_with(b"zstd\"}"));
}

#[test]
fn the_last_of_two_members_counts() {
    let message = scan(r#"{"task": "a", "id": "1", "task": "b", "eta": "never", "eta": null}"#, "{}");
    let head = message.head.as_ref().unwrap();
    assert_eq!(message.text(&head.task), "b");
    assert_eq!(head.eta_ms, None);
    let twice = br#"{"headers": {"task": "a", "id": "1", "retries": 5}, "headers": {"task": "b", "id": "2"},
        "content-type": "x", "body": "a", "properties": null}"#;
    let message = Message::scan(Bytes::from_static(twice));
    let head = message.head.as_ref().unwrap();
    assert_eq!((message.text(&head.task), head.retries), ("b", 0));
}

#[test]
fn escapes_are_undone_in_keys_and_values() {
    let message = scan(r#"{"t\u0061sk": "app.\u00e9", "id": "a\/b"}"#, r#"{"body\u005fencoding": "base64"}"#);
    let head = message.head.as_ref().unwrap();
    assert_eq!((message.text(&head.task), message.text(&head.id)), ("app.é", "a/b"));
    assert_eq!(message.body().unwrap(), b"[[], {}, {}]");
}

#[test]
fn odd_counts_and_priorities_do_no_harm() {
    for (retries, expected) in
        [("null", 0), ("\"3\"", 3), ("-1", 0), ("1e99", u32::MAX), ("[]", 0), ("NaN", 0), ("2.0", 2)]
    {
        let message = scan(&format!(r#"{{"task": "t", "id": "i", "retries": {retries}}}"#), "{}");
        assert_eq!(message.head.unwrap().retries, expected, "{retries}");
    }
    for (priority, expected) in [("null", 0), ("\"5\"", 5), ("-1", 0), ("99", 9), ("{}", 0), ("NaN", 0), ("3.9", 3)] {
        let message = scan(r#"{"task": "t", "id": "i"}"#, &format!(r#"{{"priority": {priority}}}"#));
        assert_eq!(message.head.unwrap().priority, expected, "{priority}");
    }
    for limit in ["0", "-3", "Infinity", "NaN", "null"] {
        let message = scan(&format!(r#"{{"task": "t", "id": "i", "timelimit": [{limit}, {limit}]}}"#), "{}");
        assert_eq!(message.head.unwrap().time_limit, None, "{limit}");
    }
}

#[test]
fn what_kills_a_celery_worker_is_refused_with_a_reason() {
    for (headers, word) in [
        (r#"{"task": "t"}"#, "'id' is missing"),
        (r#"{"task": "t", "id": null}"#, "'id' must be text"),
        (r#"{"task": "t", "id": ""}"#, "'id' is empty"),
        (r#"{"task": 1, "id": "i"}"#, "'task' must be text"),
        (r#"{"task": "t", "id": "i", "timelimit": [1]}"#, "timelimit"),
        (r#"{"task": "t", "id": "i", "timelimit": [1, 2, 3]}"#, "timelimit"),
        (r#"{"task": "t", "id": "i", "timelimit": "no"}"#, "timelimit"),
        (r#"{"task": "t", "id": "i", "timelimit": {"a": 1}}"#, "timelimit"),
        (r#"{"task": "t", "id": "i", "eta": ""}"#, "'eta'"),
        (r#"{"task": "t", "id": "i", "expires": "soon"}"#, "'expires'"),
        (r#"{"task": "\ud800", "id": "i"}"#, "half a character"),
        ("null", "no header 'task'"),
        ("[]", "no header 'task'"),
        ("{}", "no header 'task'"),
    ] {
        let found = reason(&scan(headers, r#"{"body_encoding": "base64"}"#));
        assert!(found.contains(word), "{headers}: {found}");
    }
    assert!(reason(&scan(r#"{"task": "t", "id": "i"}"#, r#"{"body_encoding": "rot13"}"#)).contains("body_encoding"));
    for raw in ["", "null", "[]", "{", "{}", "\u{feff}{}", "{\"body\": \"\"}", "{\"body\": null}", "{\"body\": \"x\"}"]
    {
        assert!(Message::scan(Bytes::from_static(raw.as_bytes())).head.is_err(), "{raw}");
    }
    assert!(Message::scan(Bytes::from_static(b"{\"a\": \"\xff\"}")).head.is_err());
}

#[test]
fn a_date_left_to_the_serializer_is_read() {
    let tagged = r#"{"task": "t", "id": "i", "eta": {"__type__": "datetime", "__value__": "2030-01-02T03:04:05"}}"#;
    let head = scan(tagged, "{}").head.unwrap();
    assert_eq!((head.eta_ms, head.naive_dates), (Some(1_893_553_445_000), true));
}

#[test]
fn protocol_1_is_found_in_the_body() {
    let mut body = Vec::new();
    base64::encode(
        br#"{"task": "old", "id": "1", "args": [], "retries": 1, "timelimit": [5, null], "eta": null}"#,
        &mut body,
    );
    let body = String::from_utf8(body).unwrap();
    let raw = format!(
        r#"{{"body": "{body}", "content-type": "application/json", "headers": {{}}, "properties": {{"body_encoding": "base64"}}}}"#
    );
    let message = Message::scan(Bytes::from(raw));
    let head = message.head.as_ref().unwrap();
    assert_eq!((head.protocol, message.text(&head.task), head.retries), (1, "old", 1));
    assert_eq!(head.time_limit, Some(5.0));
}

const MEMBERS: &str = r#"("(body|headers|properties|task|id|eta|timelimit|content-type|body_encoding|\\u0061|é)"|[{}\[\]:,]|null|1|"base64"|"\\ud800"| ){0,60}"#;

/// What a scan found, without the places where it stands.
fn found(raw: String) -> String {
    let message = Message::scan(Bytes::from(raw));
    match &message.head {
        Err(malformed) => malformed.reason.clone(),
        Ok(head) => {
            let texts = [Some(&head.id), Some(&head.task), head.group.as_ref(), head.parent_id.as_ref()];
            let texts = texts.map(|text| text.map(|text| message.text(text).to_owned()));
            let flags = (head.ignore_result, head.redelivered, head.priority, head.retries);
            format!("{texts:?} {flags:?} {:?} {:?} {:?}", head.eta_ms, head.time_limit, message.body())
        }
    }
}

/// An object of these members, written as `json.dumps` does or without blanks.
fn object(members: &[(&str, String)], blanks: bool) -> String {
    let (colon, comma) = if blanks { (": ", ", ") } else { (":", ",") };
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\"{colon}{value}")).collect();
    format!("{{{}}}", members.join(comma))
}

fn whole(headers: &[(&str, String)], properties: &[(&str, String)], blanks: bool) -> String {
    let parts = [
        ("body", "\"W1tdLCB7fSwge31d\"".to_owned()),
        ("content-encoding", "\"utf-8\"".to_owned()),
        ("content-type", "\"application/json\"".to_owned()),
        ("headers", object(headers, blanks)),
        ("properties", object(properties, blanks)),
    ];
    object(&parts, blanks)
}

const VALUES: &[&str] = &["null", "\"a\"", "\"2030-01-02\"", "3", "true", "[1,null]", "{}", "\"\\u0061\"", "nul"];

proptest! {
    // Without blanks no name is ever guessed, so that each is read in full: the guess must change no answer.
    #[test]
    fn a_guessed_name_is_the_name_that_stands_there(
        usual in 0_usize..20,
        others in proptest::collection::vec((0_usize..20, proptest::sample::select(VALUES)), 0..8),
        values in proptest::collection::vec(proptest::sample::select(VALUES), 20),
        at in 0_usize..20,
    ) {
        const NAMES: [&str; 20] = [
            "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id",
            "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting",
            "stamped_headers", "stamps", "redelivered",
        ];
        let mut headers: Vec<_> = NAMES.iter().zip(&values).take(usual).map(|(name, value)| (*name, (*value).to_owned())).collect();
        let at = at.min(headers.len());
        headers.splice(at..at, others.iter().map(|(name, value)| (NAMES[*name], (*value).to_owned())));
        let properties = [("correlation_id", values[0].to_owned()), ("priority", "3".to_owned()),
            ("body_encoding", "\"base64\"".to_owned()), ("delivery_info", object(&[("redelivered", "true".to_owned())], true))];
        prop_assert_eq!(found(whole(&headers, &properties, true)), found(whole(&headers, &properties, false)));
    }

    #[test]
    fn no_bytes_stop_the_scan(given: Vec<u8>) {
        let message = Message::scan(Bytes::from(given.clone()));
        prop_assert_eq!(&message.raw[..], &given[..]);
        let _ = message.body();
    }

    #[test]
    fn no_text_of_members_stops_the_scan(given in MEMBERS) {
        let message = Message::scan(Bytes::from(format!("{{{given}}}")));
        let _ = message.body();
    }

    #[test]
    fn a_cut_or_changed_message_is_read_or_refused(cut in 0_usize..400, at in 0_usize..400, byte: u8) {
        let whole = envelope(r#"{"task": "t", "id": "i", "eta": "2030-01-02", "timelimit": [1, 2]}"#, r#"{"priority": 3, "body_encoding": "base64"}"#);
        let mut bytes = whole[..cut.min(whole.len())].to_vec();
        prop_assert!(Message::scan(Bytes::from(bytes.clone())).head.is_err() || bytes.len() == whole.len());
        bytes = whole.to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let message = Message::scan(Bytes::from(bytes));
        if let Ok(head) = &message.head {
            let _ = (message.text(&head.id), message.text(&head.task), message.text(&head.content_type));
            let _ = message.body();
        }
    }
}
