//! Messages for tests, as a producer would write them.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;

use bytes::Bytes;
use celeriac_protocol::{Delivery, DeliveryTag, Message};

/// What differs from message to message.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) id: String,
    pub(crate) task: String,
    pub(crate) eta: Option<String>,
    pub(crate) expires: Option<String>,
    pub(crate) content_type: String,
    pub(crate) priority: u8,
}

impl Spec {
    pub(crate) fn new(id: impl Into<String>, task: &str) -> Self {
        Self {
            id: id.into(),
            task: task.to_owned(),
            eta: None,
            expires: None,
            content_type: "application/json".to_owned(),
            priority: 0,
        }
    }

    pub(crate) fn envelope(&self) -> Bytes {
        let date = |text: &Option<String>| text.as_ref().map_or("null".to_owned(), |text| format!("\"{text}\""));
        Bytes::from(format!(
            r#"{{"body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "content-type": "{}", "headers": {{"lang": "py", "task": "{}", "id": "{}", "eta": {}, "expires": {}, "retries": 0, "timelimit": [null, null]}}, "properties": {{"correlation_id": "{}", "reply_to": "r", "delivery_mode": 2, "delivery_info": {{"exchange": "", "routing_key": "celery"}}, "priority": {}, "body_encoding": "base64", "delivery_tag": "d"}}}}"#,
            self.content_type,
            self.task,
            self.id,
            date(&self.eta),
            date(&self.expires),
            self.id,
            self.priority,
        ))
    }
}

pub(crate) fn delivery(tag: u64, raw: Bytes, redelivered: bool, crashes: u32) -> Delivery {
    Delivery { tag: DeliveryTag(tag), queue: Arc::from("celery"), redelivered, crashes, message: Message::scan(raw) }
}

/// ISO text of `ms` since the epoch on 2026-01-01, UTC.
pub(crate) const DAY_MS: i64 = 1_767_225_600_000;

pub(crate) fn iso(ms: i64) -> String {
    let inside = ms - DAY_MS;
    assert!((0..86_400_000).contains(&inside), "tests stay within one day");
    let (hours, rest) = (inside / 3_600_000, inside % 3_600_000);
    let (minutes, rest) = (rest / 60_000, rest % 60_000);
    format!("2026-01-01T{hours:02}:{minutes:02}:{:02}.{:03}000+00:00", rest / 1000, rest % 1000)
}
