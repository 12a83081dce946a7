//! A connection's state, without a socket and without a clock.
//!
//! Bytes that came go into [`Connection::input`], then [`Connection::process`]; bytes to send stand in
//! [`Connection::output`] until [`Connection::wrote`]; what happened is fetched with [`Connection::event`]. Time comes in as
//! an argument. The driver (`link`) owns the socket.
//!
//! Invariants:
//! - once ended, always ended, for the same reason: every call says so and nothing more is sent;
//! - no event of a channel follows its [`Event::ChannelClosed`], and its number may be used again from then on;
//! - replies of a channel come in the order of the calls, so that calls need not wait for each other.

mod channel;
mod confirms;
mod login;
mod refusal;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use celeriac_protocol::amqp::{self, ContentHeader, Frame, FrameKind, Method, ShortStr, Table, WireError};

pub(crate) use self::channel::{Carrier, Content};
use self::channel::{Channel, is_answered};
use self::confirms::Confirms;
pub(crate) use self::login::{Login, Mechanism};
pub(crate) use self::refusal::{Ended, Refusal};

/// What we offer; RabbitMQ's defaults. A server may lower them.
const FRAME_MAX: u32 = 128 << 10;
const CHANNEL_MAX: u16 = 2047;
/// The smallest frame that the specification allows to agree on. RabbitMQ wants 8192 since 4.1, and says so itself.
const FRAME_MIN: u32 = 4096;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// The handshake is over.
    Open {
        /// What the server says about itself: product, version, capabilities.
        server: Table,
    },
    /// A method was answered.
    Reply { channel: u16, method: Method },
    /// A content came: delivered, got, or returned as not routable.
    Content { channel: u16, carrier: Carrier, content: Content },
    /// The server answers for the messages numbered `first..=last`: it has them, or (`acked` false) could not keep them.
    Confirmed { channel: u16, first: u64, last: u64, acked: bool },
    /// The server ended a consumer: its queue is gone, or moved to another node.
    Cancelled { channel: u16, consumer_tag: ShortStr },
    /// The server closed a channel.
    ChannelClosed { channel: u16, refusal: Refusal },
    /// The server takes no messages for now (an alarm: memory or disk); its reason. Acks are taken all the same if they come on
    /// a connection that does not publish.
    Blocked(String),
    /// It takes them again.
    Unblocked,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Tune,
    Opening,
    Open,
    /// We said goodbye.
    Closing,
    Ended(Ended),
}

/// Why a call cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The connection is no more.
    Ended(Ended),
    /// There is no such channel (any more).
    NoChannel,
    /// All numbers of channels are in use.
    NoRoom,
    /// What was to be sent cannot be said in AMQP.
    Unsayable(WireError),
}

impl From<WireError> for Unsent {
    fn from(error: WireError) -> Self {
        Self::Unsayable(error)
    }
}

/// A message to publish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) exchange: &'a ShortStr,
    pub(crate) routing_key: &'a ShortStr,
    /// Send it back if no queue gets it.
    pub(crate) mandatory: bool,
    /// As `Properties::write` makes them.
    pub(crate) properties: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// See the module.
pub(crate) struct Connection {
    login: Login,
    phase: Phase,
    frame_max: usize,
    channel_max: u16,
    /// Between signs of life; zero for none.
    heartbeat: Duration,
    max_body: usize,
    server: Table,
    input: BytesMut,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
    channels: Vec<Option<Channel>>,
    events: VecDeque<Event>,
    blocked: Option<String>,
    heard: Instant,
    wrote: Instant,
}

impl Connection {
    /// Begins the handshake. Bodies over `max_body` bytes are passed over.
    pub(crate) fn new(login: Login, max_body: usize, now: Instant) -> Self {
        Self {
            login,
            phase: Phase::Start,
            frame_max: FRAME_MAX as usize,
            channel_max: CHANNEL_MAX,
            heartbeat: Duration::ZERO,
            max_body,
            server: Table::default(),
            input: BytesMut::new(),
            output: amqp::PROTOCOL_HEADER.to_vec(),
            written: 0,
            channels: Vec::new(),
            events: VecDeque::new(),
            blocked: None,
            heard: now,
            wrote: now,
        }
    }

    /// Where bytes from the server go, behind those that are there.
    pub(crate) fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// What waits to be written.
    pub(crate) fn output(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// The first `count` bytes of the output are written.
    pub(crate) fn wrote(&mut self, count: usize, now: Instant) {
        self.wrote = now;
        self.written += count;
        if self.written >= self.output.len() {
            self.output.clear();
            self.written = 0;
            // One huge message must not keep its memory for ever.
            self.output.shrink_to(1 << 20);
        } else if self.written > 1 << 20 {
            self.output.drain(..self.written);
            self.written = 0;
        }
    }

    /// What happened next.
    pub(crate) fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Why it is no more.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        match &self.phase {
            Phase::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// The server's reason for taking no messages.
    pub(crate) fn blocked(&self) -> Option<&str> {
        self.blocked.as_deref()
    }

    /// Whether the server asked to publish no more on this channel for now.
    pub(crate) fn is_paused(&self, channel: u16) -> bool {
        self.channel(channel).is_some_and(|channel| channel.paused)
    }

    /// Messages of a channel that the server has not answered for.
    pub(crate) fn unconfirmed(&self, channel: u16) -> usize {
        self.channel(channel).and_then(|channel| channel.confirms.as_ref()).map_or(0, Confirms::unanswered)
    }

    /// Between signs of life, as agreed; zero for none.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the consumer"))]
    pub(crate) fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Longest frame, as agreed.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the consumer"))]
    pub(crate) fn frame_max(&self) -> usize {
        self.frame_max
    }

    // --- what comes ----------------------------------------------------------------------------------------------

    /// Takes all whole frames out of the input.
    ///
    /// # Errors
    /// It is over.
    pub(crate) fn process(&mut self, now: Instant) -> Result<(), Ended> {
        loop {
            if let Phase::Ended(ended) = &self.phase {
                return Err(ended.clone());
            }
            match amqp::split(&mut self.input, self.frame_max) {
                Ok(None) => return Ok(()),
                Ok(Some(frame)) => {
                    self.heard = now;
                    if let Err(ended) = self.frame(frame) {
                        return Err(self.end(ended));
                    }
                }
                Err(error) => return Err(self.end(nonsense(&error))),
            }
        }
    }

    /// The server closed the connection below AMQP.
    pub(crate) fn gone(&mut self) -> Ended {
        let ended = match self.phase {
            Phase::Closing => Ended::Ours,
            Phase::Tune => Ended::Gone(true),
            _ => Ended::Gone(false),
        };
        self.end(ended)
    }

    fn end(&mut self, ended: Ended) -> Ended {
        if let Phase::Ended(before) = &self.phase {
            return before.clone();
        }
        self.phase = Phase::Ended(ended.clone());
        self.channels.clear();
        ended
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Ended> {
        let Frame { kind, channel, payload } = frame;
        match kind {
            FrameKind::Heartbeat => Ok(()),
            FrameKind::Method => {
                let method = Method::read(&payload).map_err(|error| nonsense(&error))?;
                if channel == 0 { self.connection_method(method) } else { self.channel_method(channel, method) }
            }
            FrameKind::Header | FrameKind::Body => {
                let most = self.max_body;
                let open = self.open_channel_mut(channel)?;
                if open.closing {
                    return Ok(());
                }
                let whole = if kind == FrameKind::Header {
                    open.header(ContentHeader::read(&payload).map_err(|error| nonsense(&error))?, most)
                } else {
                    open.body(payload)
                };
                if let Some((carrier, content)) = whole.map_err(|what| Ended::Nonsense(what.to_owned()))? {
                    self.events.push_back(Event::Content { channel, carrier, content });
                }
                Ok(())
            }
        }
    }

    fn connection_method(&mut self, method: Method) -> Result<(), Ended> {
        match (&self.phase, method) {
            (_, Method::ConnectionClose { code, text, class, method }) => {
                self.say(0, &Method::ConnectionCloseOk {})?;
                Err(Ended::Refused(Refusal { code, text: text.text().into_owned(), method: (class, method) }))
            }
            (Phase::Closing, Method::ConnectionCloseOk {}) => Err(Ended::Ours),
            (Phase::Closing, _) => Ok(()),
            (Phase::Start, Method::ConnectionStart { mechanisms, server_properties, .. }) => {
                self.server = server_properties;
                let offered = mechanisms.text().into_owned();
                if !offered.split(' ').any(|name| name == self.login.mechanism.name()) {
                    return Err(Ended::Mechanism(offered));
                }
                self.phase = Phase::Tune;
                let mechanism = ShortStr::literal(self.login.mechanism.name());
                let client_properties = self.login.client_properties();
                let locale = ShortStr::literal("en_US");
                let response = self.login.response();
                self.say(0, &Method::ConnectionStartOk { client_properties, mechanism, response, locale })
            }
            (Phase::Tune, Method::ConnectionTune { channel_max, frame_max, heartbeat }) => {
                self.tune(channel_max, frame_max, heartbeat)
            }
            (Phase::Opening, Method::ConnectionOpenOk {}) => {
                self.phase = Phase::Open;
                self.events.push_back(Event::Open { server: std::mem::take(&mut self.server) });
                Ok(())
            }
            (Phase::Open, Method::ConnectionBlocked { reason }) => {
                let reason = reason.text().into_owned();
                self.blocked = Some(reason.clone());
                self.events.push_back(Event::Blocked(reason));
                Ok(())
            }
            (Phase::Open, Method::ConnectionUnblocked {}) => {
                self.blocked = None;
                self.events.push_back(Event::Unblocked);
                Ok(())
            }
            (phase, method) => Err(out_of_order(&method, &format!("{phase:?}"))),
        }
    }

    fn tune(&mut self, channel_max: u16, frame_max: u32, heartbeat: u16) -> Result<(), Ended> {
        // 0 is the server's word for no limit.
        let least = |theirs: u32, ours: u32| if theirs == 0 { ours } else { theirs.min(ours) };
        let frame_max = least(frame_max, FRAME_MAX);
        if frame_max < FRAME_MIN {
            return Err(Ended::Nonsense(format!("a limit of {frame_max} bytes a frame, AMQP's least is {FRAME_MIN}")));
        }
        self.frame_max = frame_max as usize;
        self.channel_max = u16::try_from(least(u32::from(channel_max), u32::from(CHANNEL_MAX))).unwrap_or(CHANNEL_MAX);
        // Here 0 is the client's word for none at all, and the server's for as the client likes.
        let heartbeat = if heartbeat == 0 || self.login.heartbeat == 0 {
            self.login.heartbeat
        } else {
            heartbeat.min(self.login.heartbeat)
        };
        self.heartbeat = Duration::from_secs(heartbeat.into());
        self.phase = Phase::Opening;
        self.say(0, &Method::ConnectionTuneOk { channel_max: self.channel_max, frame_max, heartbeat })?;
        let virtual_host = self.login.virtual_host.clone();
        self.say(0, &Method::ConnectionOpen { virtual_host })
    }

    fn channel_method(&mut self, number: u16, method: Method) -> Result<(), Ended> {
        let channel = self.open_channel_mut(number)?;
        if channel.closing && !matches!(method, Method::ChannelClose { .. } | Method::ChannelCloseOk {}) {
            return Ok(());
        }
        match method {
            Method::BasicDeliver { consumer_tag, delivery_tag, redelivered, exchange, routing_key } => {
                let carrier = Carrier::Deliver { consumer_tag, delivery_tag, redelivered };
                channel.begin(carrier, exchange, routing_key).map_err(|what| Ended::Nonsense(what.to_owned()))
            }
            Method::BasicReturn { code, text, exchange, routing_key } => {
                let carrier = Carrier::Returned { code, text };
                channel.begin(carrier, exchange, routing_key).map_err(|what| Ended::Nonsense(what.to_owned()))
            }
            Method::BasicAck { delivery_tag, multiple } => self.confirmed(number, delivery_tag, multiple, true),
            Method::BasicNack { delivery_tag, multiple, .. } => self.confirmed(number, delivery_tag, multiple, false),
            Method::BasicCancel { consumer_tag, nowait } => {
                if !nowait {
                    self.say(number, &Method::BasicCancelOk { consumer_tag: consumer_tag.clone() })?;
                }
                self.events.push_back(Event::Cancelled { channel: number, consumer_tag });
                Ok(())
            }
            Method::ChannelFlow { active } => {
                channel.paused = !active;
                self.say(number, &Method::ChannelFlowOk { active })
            }
            Method::ChannelClose { code, text, class, method } => {
                let closing = channel.closing;
                self.say(number, &Method::ChannelCloseOk {})?;
                if closing {
                    return Ok(()); // both at once: the server still answers ours
                }
                self.forget(number);
                let refusal = Refusal { code, text: text.text().into_owned(), method: (class, method) };
                self.events.push_back(Event::ChannelClosed { channel: number, refusal });
                Ok(())
            }
            Method::ChannelCloseOk {} if channel.closing => {
                self.forget(number);
                self.events.push_back(Event::Reply { channel: number, method: Method::ChannelCloseOk {} });
                Ok(())
            }
            method => {
                if !channel.answers(&method) {
                    return Err(out_of_order(&method, "no such call is open"));
                }
                match method {
                    Method::BasicGetOk { delivery_tag, redelivered, exchange, routing_key, messages } => {
                        let carrier = Carrier::Got { delivery_tag, redelivered, messages };
                        return channel
                            .begin(carrier, exchange, routing_key)
                            .map_err(|what| Ended::Nonsense(what.to_owned()));
                    }
                    Method::ConfirmSelectOk {} => channel.confirms = Some(Confirms::default()),
                    _ => {}
                }
                self.events.push_back(Event::Reply { channel: number, method });
                Ok(())
            }
        }
    }

    fn confirmed(&mut self, number: u16, tag: u64, multiple: bool, acked: bool) -> Result<(), Ended> {
        let events = &mut self.events;
        let channel = self.channels.get_mut(usize::from(number) - 1).and_then(Option::as_mut);
        channel
            .and_then(|channel| channel.confirms.as_mut())
            .and_then(|confirms| {
                confirms.answer(tag, multiple, |first, last| {
                    events.push_back(Event::Confirmed { channel: number, first, last, acked });
                })
            })
            .ok_or_else(|| Ended::Nonsense(format!("an answer for message {tag}, which was not sent")))
    }

    // --- what goes -----------------------------------------------------------------------------------------------

    /// Opens a channel; answered by a reply.
    pub(crate) fn open_channel(&mut self) -> Result<u16, Unsent> {
        self.check()?;
        let free = self.channels.iter().position(Option::is_none).unwrap_or(self.channels.len());
        let number = u16::try_from(free + 1).ok().filter(|&number| number <= self.channel_max).ok_or(Unsent::NoRoom)?;
        if free == self.channels.len() {
            self.channels.push(None);
        }
        self.channels[free] = Some(Channel::default());
        self.call(number, &Method::ChannelOpen {})?;
        Ok(number)
    }

    /// Ends a channel; answered by a reply, after which its number is free.
    pub(crate) fn close_channel(&mut self, number: u16) -> Result<(), Unsent> {
        self.call(number, &Method::ChannelClose { code: 200, text: ShortStr::default(), class: 0, method: 0 })?;
        if let Some(channel) = self.channel_mut(number) {
            channel.closing = true;
        }
        Ok(())
    }

    /// Says goodbye; then [`Ended::Ours`].
    pub(crate) fn close(&mut self) {
        if self.phase == Phase::Open {
            let goodbye = Method::ConnectionClose { code: 200, text: ShortStr::default(), class: 0, method: 0 };
            if self.say(0, &goodbye).is_ok() {
                self.phase = Phase::Closing;
            }
        } else if self.ended().is_none() {
            self.end(Ended::Ours);
        }
    }

    /// Sends a method on a channel. If it is one that is answered, an [`Event::Reply`] follows (`basic.get`: or a content), or
    /// the channel is closed.
    pub(crate) fn call(&mut self, number: u16, method: &Method) -> Result<(), Unsent> {
        self.check()?;
        let channel = self.channel_mut(number).filter(|channel| !channel.closing).ok_or(Unsent::NoChannel)?;
        if is_answered(method) {
            channel.awaited.push_back(method.id());
        }
        let done = amqp::write_method(&mut self.output, number, method);
        if done.is_err()
            && is_answered(method)
            && let Some(channel) = self.channel_mut(number)
        {
            channel.awaited.pop_back();
        }
        Ok(done?)
    }

    /// Acks a delivery, or all that are open up to it.
    pub(crate) fn ack(&mut self, number: u16, delivery_tag: u64, multiple: bool) -> Result<(), Unsent> {
        self.check()?;
        self.channel(number).filter(|channel| !channel.closing).ok_or(Unsent::NoChannel)?;
        amqp::write_ack(&mut self.output, number, delivery_tag, multiple);
        Ok(())
    }

    /// Publishes; its number for [`Event::Confirmed`], 0 on a channel without confirms.
    pub(crate) fn publish(&mut self, number: u16, message: Outgoing<'_>) -> Result<u64, Unsent> {
        self.check()?;
        self.channel(number).filter(|channel| !channel.closing).ok_or(Unsent::NoChannel)?;
        let start = self.output.len();
        let publish = Method::BasicPublish {
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            mandatory: message.mandatory,
            immediate: false,
        };
        amqp::write_method(&mut self.output, number, &publish)?;
        let content = amqp::write_content(&mut self.output, number, message.properties, message.body, self.frame_max);
        if let Err(error) = content {
            self.output.truncate(start); // a method alone would make the next frame nonsense
            return Err(error.into());
        }
        Ok(self.channel_mut(number).and_then(|channel| channel.confirms.as_mut()).map_or(0, Confirms::publish))
    }

    // --- time ----------------------------------------------------------------------------------------------------

    /// Sends a sign of life if it is time, and looks whether the server gives one.
    ///
    /// # Errors
    /// It is over.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<(), Ended> {
        if let Some(ended) = self.ended() {
            return Err(ended.clone());
        }
        if self.heartbeat.is_zero() {
            return Ok(());
        }
        if now.saturating_duration_since(self.heard) >= self.heartbeat * 2 {
            return Err(self.end(Ended::Silent));
        }
        if now.saturating_duration_since(self.wrote) >= self.heartbeat / 2 && self.output().is_empty() {
            self.output.extend_from_slice(amqp::HEARTBEAT);
            self.wrote = now;
        }
        Ok(())
    }

    /// When to tick next.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        if self.heartbeat.is_zero() || self.ended().is_some() {
            return None;
        }
        let say = self.wrote + self.heartbeat / 2;
        let listen = self.heard + self.heartbeat * 2;
        Some(if self.output().is_empty() { say.min(listen) } else { listen })
    }

    // --- small things --------------------------------------------------------------------------------------------

    fn say(&mut self, channel: u16, method: &Method) -> Result<(), Ended> {
        amqp::write_method(&mut self.output, channel, method).map_err(|error| nonsense(&error))
    }

    fn check(&self) -> Result<(), Unsent> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Ended(ended) => Err(Unsent::Ended(ended.clone())),
            Phase::Closing => Err(Unsent::Ended(Ended::Ours)),
            Phase::Start | Phase::Tune | Phase::Opening => Err(Unsent::NoChannel),
        }
    }

    fn channel(&self, number: u16) -> Option<&Channel> {
        self.channels.get(usize::from(number).checked_sub(1)?)?.as_ref()
    }

    fn channel_mut(&mut self, number: u16) -> Option<&mut Channel> {
        self.channels.get_mut(usize::from(number).checked_sub(1)?)?.as_mut()
    }

    fn open_channel_mut(&mut self, number: u16) -> Result<&mut Channel, Ended> {
        self.channel_mut(number)
            .ok_or_else(|| Ended::Nonsense(format!("a frame on channel {number}, which is not open")))
    }

    fn forget(&mut self, number: u16) {
        if let Some(place) = usize::from(number).checked_sub(1).and_then(|at| self.channels.get_mut(at)) {
            *place = None;
        }
    }
}

fn nonsense(error: &WireError) -> Ended {
    Ended::Nonsense(error.to_string())
}

fn out_of_order(method: &Method, state: &str) -> Ended {
    let (class, number) = method.id();
    Ended::Nonsense(format!("{} out of order ({state})", amqp::name(class, number)))
}
