//! A whole message as it goes through AMQP, in one run of bytes: what the JSON envelope is on Redis and SQLite.
//!
//! ```text
//! 01 | flags: octet | exchange: short string | routing key: short string | length: u32 | properties | body
//! ```
//!
//! `properties` are flags and values as in a content header, headers included, and `body` is what the body frames carry: a
//! transport writes both as they are. No JSON text starts with the first octet, so a message says itself which of the two
//! forms it has ([`is_content`]), in a child process and in a dead-letter store as well. Exchange and routing key are those
//! it was published with, which its destination need not be: a delayed message travels under another name.

use bytes::Bytes;

use super::properties::Properties;
use super::view::{Fields, View};
use super::wire::{Reader, ShortStr, WireError};
use super::write;

const MARK: u8 = 1;
const MANDATORY: u8 = 1;
const REDELIVERED: u8 = 2;
const HEADERS: u16 = 1 << 13;
const NOT_CONTENT: WireError =
    WireError { what: "not a message in AMQP's form: envelopes are those of Redis and SQLite", at: 0 };

/// A message taken apart; the parts share its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// A publication that no queue takes is an error.
    pub mandatory: bool,
    /// A delivery that had been handed over before.
    pub redelivered: bool,
    /// Published to.
    pub exchange: ShortStr,
    /// Published under.
    pub routing_key: ShortStr,
    /// Flags and values; see [`Properties::from_bytes`].
    pub properties: Bytes,
    /// Body.
    pub body: Bytes,
}

/// Whether `message` has this form, rather than that of an envelope.
#[must_use]
pub fn is_content(message: &[u8]) -> bool {
    message.first() == Some(&MARK)
}

impl Content {
    /// Takes a message apart. Properties are not looked into.
    ///
    /// # Errors
    /// It is none of this form.
    pub fn split(message: &Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(message);
        if reader.u8()? != MARK {
            return Err(NOT_CONTENT);
        }
        let flags = reader.u8()?;
        Ok(Self {
            mandatory: flags & MANDATORY != 0,
            redelivered: flags & REDELIVERED != 0,
            exchange: reader.short_str()?,
            routing_key: reader.short_str()?,
            properties: reader.long_str()?.0,
            body: reader.rest(),
        })
    }

    /// The message in one run of bytes.
    ///
    /// # Errors
    /// Properties of 4 GiB or more.
    pub fn join(&self) -> Result<Bytes, WireError> {
        let names = self.exchange.as_bytes().len() + self.routing_key.as_bytes().len();
        let mut into = Vec::with_capacity(8 + names + self.properties.len() + self.body.len());
        begin(self.mandatory, self.redelivered, &mut into);
        for name in [&self.exchange, &self.routing_key] {
            // The type holds no more than 255.
            into.push(u8::try_from(name.as_bytes().len()).unwrap_or(u8::MAX));
            into.extend_from_slice(name.as_bytes());
        }
        let opened = write::open(&mut into);
        into.extend_from_slice(&self.properties);
        write::close(opened, &mut into)?;
        into.extend_from_slice(&self.body);
        Ok(into.into())
    }

    /// The same message with other properties.
    ///
    /// # Errors
    /// As [`Properties::write`].
    pub fn with(&self, properties: &Properties) -> Result<Self, WireError> {
        let mut bytes = Vec::with_capacity(self.properties.len() + 64);
        properties.write(&mut bytes)?;
        Ok(Self { properties: bytes.into(), ..self.clone() })
    }
}

/// Writes what comes before exchange, routing key ([`write::short`]), properties (between [`write::open`] and
/// [`write::close`]) and body.
pub fn begin(mandatory: bool, redelivered: bool, into: &mut Vec<u8>) {
    let flags = if mandatory { MANDATORY } else { 0 } | if redelivered { REDELIVERED } else { 0 };
    into.extend_from_slice(&[MARK, flags]);
}

/// A message read where it stands, for the scan.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Parts<'a> {
    pub(crate) redelivered: bool,
    pub(crate) content_type: Short<'a>,
    pub(crate) content_encoding: Short<'a>,
    /// The table's content, and where it starts.
    pub(crate) headers: (&'a [u8], usize),
    pub(crate) priority: u8,
    /// Where the properties start, and the body.
    pub(crate) properties_at: usize,
    pub(crate) body_at: usize,
}

/// A short string and where it starts.
pub(crate) type Short<'a> = Option<(&'a [u8], usize)>;

impl<'a> Parts<'a> {
    pub(crate) fn read(message: &'a [u8]) -> Result<Self, WireError> {
        let (mut at, flags) = Cursor::behind_flags(message)?;
        let mut found = Self { redelivered: flags & REDELIVERED != 0, ..Self::default() };
        at.short()?;
        at.short()?;
        let length = at.length()?;
        found.properties_at = at.at;
        at.take(length)?;
        found.body_at = at.at;
        let mut at = Cursor { data: &message[..found.body_at], at: found.properties_at };
        let flags = u16::from_be_bytes(at.octets()?);
        if flags & 3 != 0 {
            return Err(at.error("properties that this client does not know"));
        }
        let has = |bit: u16| flags & 1 << bit != 0;
        if has(15) {
            found.content_type = Some(at.short()?);
        }
        if has(14) {
            found.content_encoding = Some(at.short()?);
        }
        if flags & HEADERS != 0 {
            let length = at.length()?;
            found.headers = at.take(length)?;
        }
        if has(12) {
            at.take(1)?;
        }
        if has(11) {
            found.priority = at.octets::<1>()?[0];
        }
        // What follows is no concern of the scan, and may be wrong for all it knows: the child that reads it will say so.
        Ok(found)
    }
}

/// The headers of a message of this form, for who makes objects of them. Empty if it has none.
///
/// # Errors
/// It is none of this form.
pub fn headers(message: &[u8]) -> Result<Fields<'_>, WireError> {
    let (data, base) = Parts::read(message)?.headers;
    Ok(Fields::new(data, base))
}

/// Calls `field` with each property but the headers, in their order, by its name in AMQP.
///
/// # Errors
/// It is none of this form, or that of `field`.
pub fn properties<'a, E: From<WireError>>(
    message: &'a [u8],
    mut field: impl FnMut(&'static str, View<'a>) -> Result<(), E>,
) -> Result<(), E> {
    const NAMES: [&str; 14] = [
        "content_type",
        "content_encoding",
        "headers",
        "delivery_mode",
        "priority",
        "correlation_id",
        "reply_to",
        "expiration",
        "message_id",
        "timestamp",
        "type",
        "user_id",
        "app_id",
        "cluster_id",
    ];
    let parts = Parts::read(message)?;
    let mut at = Cursor { data: &message[..parts.body_at], at: parts.properties_at };
    let flags = u16::from_be_bytes(at.octets()?);
    for (bit, name) in (2..16).rev().zip(NAMES) {
        if flags & 1 << bit == 0 {
            continue;
        }
        let value = match name {
            "headers" => {
                let length = at.length()?;
                at.take(length)?;
                continue;
            }
            "delivery_mode" | "priority" => View::Int(at.octets::<1>()?[0].into()),
            "timestamp" => View::Timestamp(u64::from_be_bytes(at.octets()?)),
            _ => View::Str(at.short()?.0),
        };
        field(name, value)?;
    }
    Ok(())
}

/// What of a message of this form goes onto the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sections<'a> {
    /// It is an error if no queue takes it.
    pub mandatory: bool,
    /// Flags and values.
    pub properties: &'a [u8],
    /// Body.
    pub body: &'a [u8],
}

/// What of a message of this form goes onto the wire, without looking into it.
///
/// # Errors
/// It is none of this form.
pub fn sections(message: &[u8]) -> Result<Sections<'_>, WireError> {
    let (mut at, flags) = Cursor::behind_flags(message)?;
    at.short()?;
    at.short()?;
    let length = at.length()?;
    let (properties, _) = at.take(length)?;
    Ok(Sections { mandatory: flags & MANDATORY != 0, properties, body: &message[at.at..] })
}

/// Exchange and routing key that a message of this form was published with.
///
/// # Errors
/// It is none of this form.
pub fn destination(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (mut at, _) = Cursor::behind_flags(message)?;
    Ok((at.short()?.0, at.short()?.0))
}

struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn behind_flags(message: &'a [u8]) -> Result<(Self, u8), WireError> {
        match message {
            [MARK, flags, ..] => Ok((Self { data: message, at: 2 }, *flags)),
            _ => Err(NOT_CONTENT),
        }
    }

    fn take(&mut self, count: usize) -> Result<(&'a [u8], usize), WireError> {
        let from = self.at;
        let taken = from.checked_add(count).and_then(|end| self.data.get(from..end));
        let taken = taken.ok_or_else(|| self.error("the message ends before its field does"))?;
        self.at += count;
        Ok((taken, from))
    }

    fn octets<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, _) = self.take(N)?;
        taken.try_into().map_err(|_| self.error("the message ends before its field does"))
    }

    fn short(&mut self) -> Result<(&'a [u8], usize), WireError> {
        let length = usize::from(self.octets::<1>()?[0]);
        self.take(length)
    }

    fn length(&mut self) -> Result<usize, WireError> {
        let length = u32::from_be_bytes(self.octets()?);
        usize::try_from(length).map_err(|_| self.error("a length beyond this machine's memory"))
    }

    fn error(&self, what: &'static str) -> WireError {
        WireError { what, at: self.at }
    }
}
