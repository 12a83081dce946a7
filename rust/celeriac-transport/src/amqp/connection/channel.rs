//! One numbered conversation: what it waits for, and the content that is coming in on it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use celeriac_protocol::amqp::{ContentHeader, Method, ShortStr};

use super::confirms::Confirms;

/// What a body is given before it is there; it grows as it comes, so that a length alone costs no memory.
const FIRST: usize = 1 << 20;

/// A message that came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Content {
    pub(crate) exchange: ShortStr,
    pub(crate) routing_key: ShortStr,
    pub(crate) header: ContentHeader,
    /// Shares the read buffer's memory if it came in one frame. Empty if `oversized`.
    pub(crate) body: Bytes,
    /// Longer than we take: its bytes were passed over.
    pub(crate) oversized: bool,
}

/// The method that a content follows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Carrier {
    Deliver { consumer_tag: ShortStr, delivery_tag: u64, redelivered: bool },
    Got { delivery_tag: u64, redelivered: bool, messages: u32 },
    Returned { code: u16, text: ShortStr },
}

#[derive(Debug)]
struct Incoming {
    carrier: Carrier,
    exchange: ShortStr,
    routing_key: ShortStr,
    header: Option<ContentHeader>,
    parts: BytesMut,
    /// Bytes that are still to come.
    left: u64,
    oversized: bool,
}

#[derive(Debug, Default)]
pub(super) struct Channel {
    /// Methods that the server still has to answer, oldest first.
    pub(super) awaited: VecDeque<(u16, u16)>,
    pub(super) confirms: Option<Confirms>,
    incoming: Option<Incoming>,
    /// We said that it is over: everything but the server's word for that is passed over.
    pub(super) closing: bool,
    /// The server asked us to pause.
    pub(super) paused: bool,
}

/// A frame that does not belong where it came.
pub(super) type Misplaced = &'static str;

impl Channel {
    pub(super) fn begin(
        &mut self,
        carrier: Carrier,
        exchange: ShortStr,
        routing_key: ShortStr,
    ) -> Result<(), Misplaced> {
        if self.incoming.is_some() {
            return Err("a method in the midst of a content");
        }
        self.incoming = Some(Incoming {
            carrier,
            exchange,
            routing_key,
            header: None,
            parts: BytesMut::new(),
            left: 0,
            oversized: false,
        });
        Ok(())
    }

    pub(super) fn header(
        &mut self,
        header: ContentHeader,
        most: usize,
    ) -> Result<Option<(Carrier, Content)>, Misplaced> {
        let Some(incoming) = self.incoming.as_mut().filter(|incoming| incoming.header.is_none()) else {
            return Err("a content header that no method announced");
        };
        incoming.left = header.body_size;
        incoming.oversized = header.body_size > most as u64;
        incoming.header = Some(header);
        if incoming.left == 0 { Ok(self.finish(Bytes::new())) } else { Ok(None) }
    }

    pub(super) fn body(&mut self, payload: Bytes) -> Result<Option<(Carrier, Content)>, Misplaced> {
        let Some(incoming) = self.incoming.as_mut().filter(|incoming| incoming.header.is_some()) else {
            return Err("a body that no header announced");
        };
        let left = incoming.left.checked_sub(payload.len() as u64).ok_or("a body longer than its header says")?;
        let first = incoming.parts.is_empty();
        incoming.left = left;
        if incoming.oversized {
            return if left == 0 { Ok(self.finish(Bytes::new())) } else { Ok(None) };
        }
        if left == 0 && first {
            return Ok(self.finish(payload));
        }
        if first {
            incoming.parts.reserve(payload.len() + usize::try_from(left).unwrap_or(FIRST).min(FIRST));
        }
        incoming.parts.extend_from_slice(&payload);
        if left > 0 {
            return Ok(None);
        }
        let body = std::mem::take(&mut incoming.parts).freeze();
        Ok(self.finish(body))
    }

    fn finish(&mut self, body: Bytes) -> Option<(Carrier, Content)> {
        let Incoming { carrier, exchange, routing_key, header, oversized, .. } = self.incoming.take()?;
        Some((carrier, Content { exchange, routing_key, header: header?, body, oversized }))
    }

    /// Whether `method` answers what was asked first of what is open.
    pub(super) fn answers(&mut self, method: &Method) -> bool {
        let (class, number) = method.id();
        let fits = match self.awaited.front() {
            Some(&(60, 70)) => class == 60 && matches!(number, 71 | 72),
            Some(&(40, 40)) => (class, number) == (40, 51), // the one exception in the table
            Some(&(asked, of)) => class == asked && number == of + 1,
            None => false,
        };
        if fits {
            self.awaited.pop_front();
        }
        fits
    }
}

/// Whether the server answers `method` with a method.
pub(super) fn is_answered(method: &Method) -> bool {
    match method {
        Method::ExchangeDeclare { nowait, .. }
        | Method::ExchangeDelete { nowait, .. }
        | Method::ExchangeBind { nowait, .. }
        | Method::ExchangeUnbind { nowait, .. }
        | Method::QueueDeclare { nowait, .. }
        | Method::QueueBind { nowait, .. }
        | Method::QueuePurge { nowait, .. }
        | Method::QueueDelete { nowait, .. }
        | Method::BasicConsume { nowait, .. }
        | Method::BasicCancel { nowait, .. }
        | Method::ConfirmSelect { nowait } => !nowait,
        Method::ChannelOpen {}
        | Method::QueueUnbind { .. }
        | Method::BasicQos { .. }
        | Method::BasicGet { .. }
        | Method::ChannelFlow { .. }
        | Method::ChannelClose { .. } => true,
        _ => false,
    }
}
