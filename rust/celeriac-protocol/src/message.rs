//! A task message as the worker's main process holds it: the bytes as they came, and what a scan found in them.
//!
//! The scan builds no objects: texts are spans of `raw`. A message that cannot be read is still a [`Message`],
//! with its bytes and the reason, so that nothing is ever lost for being unreadable.

use bytes::Bytes;

use crate::scan;

/// A message and what its scan found.
#[derive(Debug, Clone)]
pub struct Message {
    /// The envelope as stored on the broker, or the message in AMQP's form (`amqp::content`).
    pub raw: Bytes,
    /// What the scan found, or why it found nothing.
    pub head: Result<Head, Malformed>,
}

/// Bytes `start..end` of [`Message::raw`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A text of the message: a span when it holds no escape, which is nearly always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Where it stands in the bytes.
    Span(Span),
    /// It had escapes and was unescaped.
    Owned(Box<str>),
}

/// How the body stands in the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEncoding {
    /// base64 of the body's bytes (the default).
    Base64,
    /// The text itself.
    Utf8,
    /// The body's bytes as they are: a message in AMQP's form.
    Binary,
}

/// The parts of a message that the worker's main process decides by.
#[derive(Debug, Clone)]
pub struct Head {
    /// 2, or 1 when the fields come from a protocol 1 body.
    pub protocol: u8,
    /// Task id.
    pub id: Text,
    /// Registered name of the task.
    pub task: Text,
    /// Earliest time to run, wall clock, ms since the epoch. Naive texts are read as UTC (see `naive_dates`).
    pub eta_ms: Option<i64>,
    /// Time after which it is revoked instead, wall clock, ms since the epoch.
    pub expires_ms: Option<i64>,
    /// `eta` or `expires` had no offset: the receiver's `timezone` setting decides.
    pub naive_dates: bool,
    /// Retries made so far.
    pub retries: u32,
    /// Hard limit in seconds.
    pub time_limit: Option<f64>,
    /// Soft limit in seconds.
    pub soft_time_limit: Option<f64>,
    /// `None` leaves it to the task's own setting.
    pub ignore_result: Option<bool>,
    /// Group that the task belongs to; its result has to name it, too. A value that is not text is left out.
    pub group: Option<Text>,
    /// Task that sent this one; as `group`.
    pub parent_id: Option<Text>,
    /// 0..=9, the most urgent first, which is what the number means on Redis. On RabbitMQ a greater number goes first: 9
    /// less the property. 0 when Redis' is absent, and 9 when RabbitMQ's is.
    pub priority: u8,
    /// The message says that it was handed over before.
    pub redelivered: bool,
    /// Content type of the body.
    pub content_type: Text,
    /// Content encoding of the body.
    pub content_encoding: Text,
    /// Content type of the compression, when there is one.
    pub compression: Option<Text>,
    /// The headers object; in AMQP's form the content of their table.
    pub headers: Span,
    /// The properties object; in AMQP's form flags and values.
    pub properties: Span,
    /// The body's text, between its quotes.
    pub body: Span,
    /// The body's text has JSON escapes that have to be undone first.
    pub body_escaped: bool,
    /// How the body stands there.
    pub body_encoding: BodyEncoding,
}

/// Why a message cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub struct Malformed {
    /// What was expected, and what stands there.
    pub reason: String,
    /// Where.
    pub at: usize,
}

impl Message {
    /// Scans an envelope as it is stored on Redis and `SQLite`, or a message in AMQP's form; the first octet says which.
    /// Never fails: see [`Message::head`].
    #[must_use]
    pub fn scan(raw: Bytes) -> Self {
        let head = scan::scan(&raw);
        Self { raw, head }
    }

    /// The text that `text` names in this message.
    #[must_use]
    pub fn text<'a>(&'a self, text: &'a Text) -> &'a str {
        match text {
            Text::Span(span) => std::str::from_utf8(&self.raw[span.start as usize..span.end as usize]).unwrap_or(""),
            Text::Owned(owned) => owned,
        }
    }

    /// The body's bytes, base64 undone, still compressed and serialised.
    ///
    /// # Errors
    /// If the scan failed, or the body is not base64 although it says so.
    pub fn body(&self) -> Result<Vec<u8>, Malformed> {
        let head = self.head.as_ref().map_err(Clone::clone)?;
        let at = head.body.start as usize;
        scan::decode_body(head, &self.raw).map_err(|reason| Malformed { reason, at })
    }
}
