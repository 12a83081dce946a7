//! A connection against a scripted server: bytes in, bytes out, a clock of the test's own.

use bytes::Bytes;
use celeriac_protocol::amqp::{LongStr, Properties, Value, write_content, write_method};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

fn short(text: &str) -> ShortStr {
    ShortStr::new(text).unwrap()
}

fn login(mechanism: Mechanism, heartbeat: u16) -> Login {
    let (user, password) = ("me".to_owned(), "secret".to_owned());
    Login { mechanism, user, password, virtual_host: short("jobs"), heartbeat, name: "test".to_owned() }
}

fn start() -> Method {
    Method::ConnectionStart {
        version_major: 0,
        version_minor: 9,
        server_properties: Table::default().with(short("product"), "RabbitMQ"),
        mechanisms: LongStr::new("AMQPLAIN PLAIN"),
        locales: LongStr::new("en_US"),
    }
}

fn tune(channel_max: u16, frame_max: u32, heartbeat: u16) -> Method {
    Method::ConnectionTune { channel_max, frame_max, heartbeat }
}

/// A client with a server at the other end that says what the test says.
struct Pair {
    client: Connection,
    now: Instant,
}

impl Pair {
    fn new(login: Login) -> Self {
        let now = Instant::now();
        let mut client = Connection::new(login, 1 << 20, now);
        assert_eq!(client.output(), b"AMQP\x00\x00\x09\x01");
        client.wrote(8, now);
        Self { client, now }
    }

    fn open() -> Self {
        Self::tuned(&tune(2047, 131_072, 60), 10)
    }

    fn tuned(tune: &Method, heartbeat: u16) -> Self {
        let mut pair = Self::new(login(Mechanism::Plain, heartbeat));
        pair.says(0, &start()).unwrap();
        pair.says(0, tune).unwrap();
        pair.says(0, &Method::ConnectionOpenOk {}).unwrap();
        assert!(matches!(pair.client.event(), Some(Event::Open { .. })));
        pair.heard();
        pair
    }

    fn with_channel() -> (Self, u16) {
        let mut pair = Self::open();
        let channel = pair.client.open_channel().unwrap();
        pair.says(channel, &Method::ChannelOpenOk {}).unwrap();
        assert!(matches!(pair.client.event(), Some(Event::Reply { method: Method::ChannelOpenOk {}, .. })));
        pair.heard();
        (pair, channel)
    }

    /// The server says something.
    fn says(&mut self, channel: u16, method: &Method) -> Result<(), Ended> {
        let mut out = Vec::new();
        write_method(&mut out, channel, method).unwrap();
        self.sends(&out)
    }

    fn sends(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.client.input().extend_from_slice(bytes);
        self.client.process(self.now)
    }

    /// All frames that the client said.
    fn heard(&mut self) -> Vec<Frame> {
        let mut bytes = BytesMut::from(self.client.output());
        self.client.wrote(bytes.len(), self.now);
        std::iter::from_fn(|| amqp::split(&mut bytes, 1 << 24).unwrap()).collect()
    }

    fn heard_methods(&mut self) -> Vec<(u16, Method)> {
        let methods = self.heard().into_iter().filter(|frame| frame.kind == FrameKind::Method);
        methods.map(|frame| (frame.channel, Method::read(&frame.payload).unwrap())).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.event()).collect()
    }
}

fn close(code: u16, text: &str, method: (u16, u16)) -> (ShortStr, u16, u16, u16) {
    (short(text), code, method.0, method.1)
}

fn deliver(tag: u64) -> Method {
    Method::BasicDeliver {
        consumer_tag: short("c"),
        delivery_tag: tag,
        redelivered: false,
        exchange: short("x"),
        routing_key: short("k"),
    }
}

fn content(frame_max: usize, body: &[u8]) -> Vec<u8> {
    let (mut properties, mut out) = (Vec::new(), Vec::new());
    Properties { priority: Some(3), ..Properties::default() }.write(&mut properties).unwrap();
    write_content(&mut out, 1, &properties, body, frame_max).unwrap();
    out
}

#[test]
fn the_handshake_agrees_on_the_lower_of_both_sides() {
    let mut pair = Pair::new(login(Mechanism::Plain, 30));
    pair.says(0, &start()).unwrap();
    let said = pair.heard_methods();
    let [(0, Method::ConnectionStartOk { client_properties, mechanism, response, locale })] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(
        (mechanism.text(), response.text(), locale.text()),
        ("PLAIN".into(), "\0me\0secret".into(), "en_US".into())
    );
    let Some(Value::Table(capabilities)) = client_properties.get("capabilities") else { panic!() };
    assert_eq!(capabilities.get("authentication_failure_close"), Some(&Value::Bool(true)));

    pair.says(0, &tune(10, 8192, 60)).unwrap();
    assert_eq!(
        pair.heard_methods(),
        [
            (0, Method::ConnectionTuneOk { channel_max: 10, frame_max: 8192, heartbeat: 30 }),
            (0, Method::ConnectionOpen { virtual_host: short("jobs") }),
        ]
    );
    pair.says(0, &Method::ConnectionOpenOk {}).unwrap();
    let [Event::Open { server }] = &pair.events()[..] else { panic!() };
    assert_eq!(server.get("product"), Some(&Value::from("RabbitMQ")));
    assert_eq!((pair.client.frame_max(), pair.client.heartbeat()), (8192, Duration::from_secs(30)));
}

#[test]
fn no_limit_and_no_heartbeat_have_their_words() {
    let agreed = |tune, ours| Pair::tuned(&tune, ours).client;
    assert_eq!(agreed(tune(0, 0, 60), 0).heartbeat(), Duration::ZERO);
    assert_eq!(agreed(tune(0, 0, 0), 20).heartbeat(), Duration::from_secs(20));
    assert_eq!((agreed(tune(0, 0, 0), 0).frame_max(), agreed(tune(0, 0, 0), 0).channel_max), (131_072, 2047));
    let mut pair = Pair::new(login(Mechanism::Plain, 0));
    pair.says(0, &start()).unwrap();
    assert!(matches!(pair.says(0, &tune(1, 1024, 0)), Err(Ended::Nonsense(_))));
}

#[test]
fn each_way_to_log_in_has_its_answer() {
    assert_eq!(
        login(Mechanism::AmqPlain, 0).response().text(),
        "\u{5}LOGINS\0\0\0\u{2}me\u{8}PASSWORDS\0\0\0\u{6}secret"
    );
    assert_eq!(login(Mechanism::External, 0).response(), LongStr::default());
    let mut pair = Pair::new(login(Mechanism::External, 0));
    assert_eq!(pair.says(0, &start()), Err(Ended::Mechanism("AMQPLAIN PLAIN".into())));
}

#[test]
fn a_refused_login_is_told_from_a_server_that_went_away() {
    let mut pair = Pair::new(login(Mechanism::Plain, 0));
    pair.says(0, &start()).unwrap();
    assert_eq!(pair.client.gone(), Ended::Gone(true)); // before RabbitMQ 3.2, or a middleman
    let mut pair = Pair::new(login(Mechanism::Plain, 0));
    pair.says(0, &start()).unwrap();
    pair.heard();
    let (text, code, class, method) = close(403, "ACCESS_REFUSED - Login was refused", (0, 0));
    let ended = pair.says(0, &Method::ConnectionClose { code, text, class, method }).unwrap_err();
    assert!(matches!(&ended, Ended::Refused(refusal) if refusal.code == 403));
    assert_eq!(pair.heard_methods(), [(0, Method::ConnectionCloseOk {})]);
    assert_eq!((pair.client.gone(), pair.client.open_channel()), (ended.clone(), Err(Unsent::Ended(ended))));
    assert_eq!(Pair::open().client.gone(), Ended::Gone(false));
}

#[test]
fn heartbeats_are_sent_and_missed() {
    let mut pair = Pair::open(); // 10 s
    let start = pair.now;
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(pair.client.wake_at(), Some(after(5)));
    pair.client.tick(after(4)).unwrap();
    assert_eq!(pair.client.output(), b"");
    pair.client.tick(after(5)).unwrap();
    assert_eq!(pair.client.output(), amqp::HEARTBEAT);
    pair.now = after(6);
    pair.heard();
    pair.sends(amqp::HEARTBEAT).unwrap();
    assert_eq!(pair.client.wake_at(), Some(after(11)));
    pair.client.tick(after(25)).unwrap();
    assert_eq!(pair.client.tick(after(26)), Err(Ended::Silent));
    assert_eq!((pair.client.tick(after(27)), pair.client.wake_at()), (Err(Ended::Silent), None));
}

#[test]
fn calls_need_not_wait_for_each_other() {
    let (mut pair, channel) = Pair::with_channel();
    let declare = Method::QueueDeclare {
        queue: short("q"),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: Table::default().with(short("x-max-priority"), Value::from(9)),
    };
    let unbind = Method::ExchangeUnbind {
        destination: short("a"),
        source: short("b"),
        routing_key: short(""),
        nowait: false,
        arguments: Table::default(),
    };
    let quiet = Method::QueuePurge { queue: short("q"), nowait: true };
    for method in [&declare, &unbind, &quiet, &Method::ConfirmSelect { nowait: false }] {
        pair.client.call(channel, method).unwrap();
    }
    assert_eq!(pair.heard_methods().len(), 4);
    let declared = Method::QueueDeclareOk { queue: short("q"), messages: 5, consumers: 1 };
    for reply in [declared.clone(), Method::ExchangeUnbindOk {}, Method::ConfirmSelectOk {}] {
        pair.says(channel, &reply).unwrap();
    }
    assert_eq!(pair.events()[0], Event::Reply { channel, method: declared.clone() });
    assert!(matches!(pair.says(channel, &declared), Err(Ended::Nonsense(text)) if text.contains("queue.declare-ok")));
}

#[test]
fn a_closed_channel_leaves_the_connection_and_its_number_is_free() {
    let (mut pair, channel) = Pair::with_channel();
    pair.client
        .call(
            channel,
            &Method::QueueUnbind {
                queue: short("q"),
                exchange: short("x"),
                routing_key: short(""),
                arguments: Table::default(),
            },
        )
        .unwrap();
    pair.heard();
    pair.says(channel, &deliver(1)).unwrap(); // its content never comes
    let (text, code, class, method) = close(404, "NOT_FOUND - no queue 'q'", (50, 50));
    pair.says(channel, &Method::ChannelClose { code, text, class, method }).unwrap();
    assert_eq!(pair.heard_methods(), [(channel, Method::ChannelCloseOk {})]);
    let [Event::ChannelClosed { refusal, .. }] = &pair.events()[..] else { panic!() };
    assert_eq!(refusal.to_string(), "404 NOT_FOUND - no queue 'q' (answer to queue.unbind)");
    assert_eq!(pair.client.ack(channel, 1, false), Err(Unsent::NoChannel));
    assert_eq!(pair.client.open_channel(), Ok(channel));
}

#[test]
fn what_comes_on_a_channel_that_we_close_is_passed_over() {
    let (mut pair, channel) = Pair::with_channel();
    pair.client.close_channel(channel).unwrap();
    assert_eq!(pair.client.close_channel(channel), Err(Unsent::NoChannel));
    pair.says(channel, &deliver(1)).unwrap();
    pair.sends(&content(4096, b"body")).unwrap();
    assert_eq!(pair.events(), []);
    pair.says(channel, &Method::ChannelCloseOk {}).unwrap();
    assert_eq!(pair.events(), [Event::Reply { channel, method: Method::ChannelCloseOk {} }]);
    pair.client.close();
    assert!(matches!(pair.client.open_channel(), Err(Unsent::Ended(Ended::Ours))));
    assert_eq!(pair.says(0, &Method::ConnectionCloseOk {}), Err(Ended::Ours));
}

#[test]
fn a_body_of_one_frame_is_not_copied_and_longer_ones_are_put_together() {
    let (mut pair, _) = Pair::with_channel();
    let body: Vec<u8> = (0..20_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    for (tag, body) in [(1, &body[..9]), (2, &body[..]), (3, &[])] {
        pair.says(1, &deliver(tag)).unwrap();
        pair.sends(&content(4096, body)).unwrap();
        let [Event::Content { carrier: Carrier::Deliver { delivery_tag, .. }, content, .. }] = &pair.events()[..]
        else {
            panic!();
        };
        assert_eq!((*delivery_tag, &content.body[..], content.routing_key.text()), (tag, body, "k".into()));
        assert_eq!(content.header.properties().unwrap().priority, Some(3));
    }
}

#[test]
fn a_body_over_the_limit_is_passed_over_and_said() {
    let (mut pair, _) = Pair::with_channel();
    let body = vec![7; (1 << 20) + 1];
    pair.says(1, &deliver(1)).unwrap();
    pair.sends(&content(131_072, &body)).unwrap();
    let [Event::Content { content, .. }] = &pair.events()[..] else { panic!() };
    assert_eq!((content.oversized, content.body.len(), content.header.body_size), (true, 0, (1 << 20) + 1));
    // A length alone costs nothing.
    pair.says(1, &deliver(2)).unwrap();
    let mut header = Vec::new();
    ContentHeader::write(u64::MAX, &[0, 0], &mut header);
    let mut frame = vec![2, 0, 1, 0, 0, 0, u8::try_from(header.len()).unwrap()];
    frame.extend(header);
    frame.push(0xce);
    pair.sends(&frame).unwrap();
    assert_eq!(pair.events(), []);
}

#[test]
fn messages_that_are_got_come_with_what_is_left() {
    let (mut pair, channel) = Pair::with_channel();
    pair.client.call(channel, &Method::BasicGet { queue: short("q"), no_ack: false }).unwrap();
    pair.client.call(channel, &Method::BasicGet { queue: short("q"), no_ack: false }).unwrap();
    pair.says(
        channel,
        &Method::BasicGetOk {
            delivery_tag: 1,
            redelivered: true,
            exchange: short(""),
            routing_key: short("q"),
            messages: 4,
        },
    )
    .unwrap();
    pair.sends(&content(4096, b"x")).unwrap();
    pair.says(channel, &Method::BasicGetEmpty {}).unwrap();
    let events = pair.events();
    assert!(matches!(events[0], Event::Content { carrier: Carrier::Got { messages: 4, redelivered: true, .. }, .. }));
    assert_eq!(events[1], Event::Reply { channel, method: Method::BasicGetEmpty {} });
}

#[test]
fn a_published_message_is_one_method_one_header_and_its_body_in_frames() {
    let mut pair = Pair::tuned(&tune(0, 4096, 0), 0);
    let channel = pair.client.open_channel().unwrap();
    pair.client.call(channel, &Method::ConfirmSelect { nowait: false }).unwrap();
    pair.says(channel, &Method::ChannelOpenOk {}).unwrap();
    pair.says(channel, &Method::ConfirmSelectOk {}).unwrap();
    pair.heard();
    pair.events();
    let (empty, key) = (ShortStr::default(), short("celery"));
    let body = vec![1; 10_000];
    let message = Outgoing { exchange: &empty, routing_key: &key, mandatory: true, properties: &[0, 0], body: &body };
    assert_eq!(pair.client.publish(channel, message), Ok(1));
    let frames = pair.heard();
    let kinds: Vec<(FrameKind, usize)> = frames.iter().map(|frame| (frame.kind, frame.payload.len())).collect();
    let parts = [(FrameKind::Body, 4088), (FrameKind::Body, 4088), (FrameKind::Body, 1824)];
    assert_eq!(kinds[..2], [(FrameKind::Method, 15), (FrameKind::Header, 14)]);
    assert_eq!(kinds[2..], parts);
    // Headers that no frame holds: nothing is sent, and the connection goes on.
    let huge = vec![0; 4090];
    assert!(matches!(
        pair.client.publish(channel, Outgoing { properties: &huge, ..message }),
        Err(Unsent::Unsayable(_))
    ));
    assert_eq!((pair.client.output(), pair.client.unconfirmed(channel)), (&b""[..], 1));
    for number in 2..=5 {
        assert_eq!(pair.client.publish(channel, Outgoing { body: b"", ..message }), Ok(number));
    }
    pair.says(channel, &Method::BasicAck { delivery_tag: 3, multiple: true }).unwrap();
    pair.says(channel, &Method::BasicNack { delivery_tag: 5, multiple: false, requeue: false }).unwrap();
    let no_route =
        Method::BasicReturn { code: 312, text: short("NO_ROUTE"), exchange: short(""), routing_key: short("celery") };
    pair.says(channel, &no_route).unwrap();
    pair.sends(&content(4096, b"")).unwrap();
    let events = pair.events();
    assert_eq!(events[0], Event::Confirmed { channel, first: 1, last: 3, acked: true });
    assert_eq!(events[1], Event::Confirmed { channel, first: 5, last: 5, acked: false });
    assert!(matches!(events[2], Event::Content { carrier: Carrier::Returned { code: 312, .. }, .. }));
    assert_eq!(pair.client.unconfirmed(channel), 1);
    let never = pair.says(channel, &Method::BasicAck { delivery_tag: 6, multiple: false });
    assert!(matches!(never, Err(Ended::Nonsense(_))));
}

#[test]
fn the_server_may_cancel_pause_and_block() {
    let (mut pair, channel) = Pair::with_channel();
    pair.says(channel, &Method::BasicCancel { consumer_tag: short("c"), nowait: true }).unwrap();
    pair.says(channel, &Method::ChannelFlow { active: false }).unwrap();
    assert!(pair.client.is_paused(channel));
    pair.says(channel, &Method::ChannelFlow { active: true }).unwrap();
    assert!(!pair.client.is_paused(channel));
    pair.says(0, &Method::ConnectionBlocked { reason: short("low on memory") }).unwrap();
    assert_eq!(pair.client.blocked(), Some("low on memory"));
    pair.says(0, &Method::ConnectionUnblocked {}).unwrap();
    assert_eq!(pair.client.blocked(), None);
    assert_eq!(
        pair.events(),
        [
            Event::Cancelled { channel, consumer_tag: short("c") },
            Event::Blocked("low on memory".into()),
            Event::Unblocked,
        ]
    );
    assert_eq!(pair.heard_methods().len(), 2); // a flow-ok each
}

#[test]
fn channels_run_out() {
    let mut pair = Pair::tuned(&tune(2, 0, 0), 0);
    assert_eq!([pair.client.open_channel(), pair.client.open_channel()], [Ok(1), Ok(2)]);
    assert_eq!(pair.client.open_channel(), Err(Unsent::NoRoom));
}

#[test]
fn what_is_not_amqp_ends_the_connection_with_a_reason() {
    for (bytes, word) in [
        (&b"AMQP\x00\x01\x00\x00"[..], "another version"),
        (b"HTTP/1.1 400 Bad Request\r\n", "unknown type"),
        (b"\x01\x00\x00\xff\xff\xff\xff\x00", "longer than was agreed"),
        (b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0a\x00", "no end mark"),
        (b"\x01\x00\x05\x00\x00\x00\x04\x00\x14\x00\x0b\xce", "ends before"),
        (b"\x03\x00\x01\x00\x00\x00\x00\xce", "channel 1"),
        (b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x29\xce", "ends before"),
    ] {
        let mut pair = Pair::new(login(Mechanism::Plain, 0));
        match pair.sends(bytes) {
            Err(Ended::Nonsense(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
}

/// All that a server may say in one conversation, for the tests below.
fn conversation() -> Vec<u8> {
    let mut out = Vec::new();
    for method in [start(), tune(0, 4096, 0), Method::ConnectionOpenOk {}] {
        write_method(&mut out, 0, &method).unwrap();
    }
    out
}

fn talk() -> Vec<u8> {
    let mut out = Vec::new();
    for tag in 1..4 {
        write_method(&mut out, 1, &deliver(tag)).unwrap();
        out.extend(content(4096, &vec![9; 3000 * usize::try_from(tag).unwrap()]));
        out.extend_from_slice(amqp::HEARTBEAT);
    }
    write_method(&mut out, 0, &Method::ConnectionBlocked { reason: short("disk") }).unwrap();
    out
}

fn opened() -> Pair {
    let mut pair = Pair::new(login(Mechanism::Plain, 0));
    pair.sends(&conversation()).unwrap();
    pair.client.open_channel().unwrap();
    pair.says(1, &Method::ChannelOpenOk {}).unwrap();
    pair.events();
    pair
}

proptest! {
    #[test]
    fn it_does_not_matter_where_the_bytes_are_cut(cuts in prop::collection::vec(1usize..5000, 0..40)) {
        let bytes = talk();
        let mut whole = opened();
        whole.sends(&bytes).unwrap();
        let mut parts = opened();
        let (mut events, mut rest) = (Vec::new(), &bytes[..]);
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            parts.sends(now).unwrap();
            events.extend(parts.events());
            rest = later;
        }
        parts.sends(rest).unwrap();
        events.extend(parts.events());
        prop_assert_eq!(events, whole.events());
    }

    #[test]
    fn damaged_bytes_are_an_end_and_never_a_panic(at in 0usize..20_000, byte: u8, more in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut pair = opened();
        let mut bytes = talk();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.extend(more);
        if let Err(ended) = pair.sends(&bytes) {
            prop_assert_eq!(pair.client.ended(), Some(&ended));
            prop_assert!(pair.client.open_channel().is_err());
        }
    }
}

// --- sessions of real Celery ---------------------------------------------------------------------------------------

fn vectors(name: &str) -> Json {
    let path = format!("{}/../../tests/compat/vectors/amqp/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn table(json: &Json) -> Table {
    let fields = json.as_object().into_iter().flatten();
    Table(fields.map(|(name, value)| (short(name), field(value))).collect())
}

fn field(json: &Json) -> Value {
    match json {
        Json::Null => Value::Void,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::F64(number.as_f64().unwrap()), Value::from),
        Json::String(text) => Value::from(&**text),
        Json::Array(members) => Value::Array(members.iter().map(field).collect()),
        Json::Object(_) => Value::Table(table(json)),
    }
}

/// What a captured session says, as a method.
fn said(json: &Json) -> Method {
    let args = &json["args"];
    let text = |name: &str| short(args[name].as_str().unwrap());
    let flag = |name: &str| args[name].as_bool().unwrap();
    let number = |name: &str| u16::try_from(args[name].as_u64().unwrap()).unwrap();
    let arguments = table(&args["arguments"]);
    match json["method"].as_str().unwrap() {
        "Channel.Open" => Method::ChannelOpen {},
        // py-amqp says goodbye with code 0, we with 200, as the specification's examples do.
        "Channel.Close" => Method::ChannelClose { code: 200, text: short(""), class: 0, method: 0 },
        "Exchange.Declare" => Method::ExchangeDeclare {
            exchange: text("exchange"),
            kind: text("exchange_type"),
            passive: flag("passive"),
            durable: flag("durable"),
            auto_delete: flag("auto_delete"),
            internal: flag("internal"),
            nowait: flag("nowait"),
            arguments,
        },
        "Exchange.Bind" => Method::ExchangeBind {
            destination: text("destination"),
            source: text("source"),
            routing_key: text("routing_key"),
            nowait: flag("nowait"),
            arguments,
        },
        "Queue.Declare" => Method::QueueDeclare {
            queue: text("queue"),
            passive: flag("passive"),
            durable: flag("durable"),
            exclusive: flag("exclusive"),
            auto_delete: flag("auto_delete"),
            nowait: flag("nowait"),
            arguments,
        },
        "Queue.Bind" => Method::QueueBind {
            queue: text("queue"),
            exchange: text("exchange"),
            routing_key: text("routing_key"),
            nowait: flag("nowait"),
            arguments,
        },
        "Basic.Qos" => Method::BasicQos {
            prefetch_size: number("prefetch_size").into(),
            prefetch_count: number("prefetch_count"),
            global: flag("global_"),
        },
        "Basic.Consume" => Method::BasicConsume {
            queue: text("queue"),
            consumer_tag: text("consumer_tag"),
            no_local: flag("no_local"),
            no_ack: flag("no_ack"),
            exclusive: flag("exclusive"),
            nowait: flag("nowait"),
            arguments,
        },
        "Basic.Cancel" => Method::BasicCancel { consumer_tag: text("consumer_tag"), nowait: flag("nowait") },
        "Confirm.Select" => Method::ConfirmSelect { nowait: flag("nowait") },
        other => panic!("{other}"),
    }
}

/// The server's answer, as RabbitMQ gives it.
fn answer(method: &Method) -> Option<Method> {
    Some(match method {
        Method::ChannelOpen {} => Method::ChannelOpenOk {},
        Method::ChannelClose { .. } => Method::ChannelCloseOk {},
        Method::ExchangeDeclare { nowait: false, .. } => Method::ExchangeDeclareOk {},
        Method::ExchangeBind { nowait: false, .. } => Method::ExchangeBindOk {},
        Method::QueueDeclare { nowait: false, queue, .. } => {
            Method::QueueDeclareOk { queue: queue.clone(), messages: 0, consumers: 0 }
        }
        Method::QueueBind { nowait: false, .. } => Method::QueueBindOk {},
        Method::BasicQos { .. } => Method::BasicQosOk {},
        Method::BasicConsume { nowait: false, consumer_tag, .. } => {
            Method::BasicConsumeOk { consumer_tag: consumer_tag.clone() }
        }
        Method::BasicCancel { nowait: false, consumer_tag } => {
            Method::BasicCancelOk { consumer_tag: consumer_tag.clone() }
        }
        Method::ConfirmSelect { nowait: false } => Method::ConfirmSelectOk {},
        _ => return None,
    })
}

/// What Celery's client said, said by ours; the server answers; every answer is told. The bytes are read back and compared
/// with the capture.
fn replay(steps: &[Json]) -> usize {
    let mut pair = Pair::open();
    let mut channels: Vec<(u64, u16)> = Vec::new();
    let mut replies = 0;
    for step in steps {
        let theirs = step["channel"].as_u64().unwrap();
        let name = step["method"].as_str().unwrap();
        if theirs == 0 {
            assert!(name.starts_with("Connection."), "{name}");
            continue; // `the_handshake…` has those
        }
        let ours = channels.iter().find(|(number, _)| *number == theirs).map(|(_, ours)| *ours);
        if name == "Basic.Publish" {
            let args = &step["args"];
            let (exchange, key) =
                (short(args["exchange"].as_str().unwrap()), short(args["routing_key"].as_str().unwrap()));
            let message =
                Outgoing { exchange: &exchange, routing_key: &key, mandatory: false, properties: &[0, 0], body: b"{}" };
            pair.client.publish(ours.unwrap(), message).unwrap();
            let Method::BasicPublish { exchange: wrote, .. } = &pair.heard_methods()[0].1 else { panic!() };
            assert_eq!(*wrote, exchange);
            continue;
        }
        let method = said(step);
        let ours = match (&method, ours) {
            (Method::ChannelOpen {}, _) => {
                let ours = pair.client.open_channel().unwrap();
                channels.retain(|(number, _)| *number != theirs);
                channels.push((theirs, ours));
                ours
            }
            (Method::ChannelClose { .. }, Some(ours)) => {
                pair.client.close_channel(ours).unwrap();
                ours
            }
            (method, ours) => {
                // Some captures begin behind the opening of their channels.
                let ours = ours.unwrap_or_else(|| {
                    let ours = pair.client.open_channel().unwrap();
                    pair.says(ours, &Method::ChannelOpenOk {}).unwrap();
                    pair.events();
                    pair.heard();
                    channels.push((theirs, ours));
                    ours
                });
                pair.client.call(ours, method).unwrap();
                ours
            }
        };
        let heard = pair.heard_methods();
        assert_eq!(heard, [(ours, method.clone())]);
        if let Some(reply) = answer(&method) {
            pair.says(ours, &reply).unwrap();
            assert_eq!(pair.events(), [Event::Reply { channel: ours, method: reply }]);
            replies += 1;
        }
    }
    replies
}

#[test]
fn sessions_of_celery_are_said_and_answered_in_the_same_way() {
    for (name, least) in [
        ("session-producer", 4),
        ("session-producer-confirm", 5),
        ("session-inspect-client", 7),
        ("session-event-receiver", 8),
        ("session-worker-start", 20),
        ("session-worker-quorum", 100),
    ] {
        let session = vectors(name);
        let replies: usize =
            session["raw"].as_array().unwrap().iter().map(|steps| replay(steps.as_array().unwrap())).sum();
        assert!(replies >= least, "{name}: {replies}");
    }
}

#[test]
fn deliveries_of_celery_are_told_with_their_headers() {
    let session = vectors("delayed-deliveries");
    let (raws, decoded) = (session["raw"].as_array().unwrap(), session["decoded"].as_array().unwrap());
    assert!(!raws.is_empty());
    for (raw, decoded) in raws.iter().zip(decoded) {
        let bytes = celeriac_protocol::base64::decode(raw.as_str().unwrap().as_bytes()).unwrap();
        let mut pair = Pair::open();
        let number = u16::from_be_bytes([bytes[1], bytes[2]]);
        while pair.client.open_channel().unwrap() < number {}
        for channel in 1..=number {
            pair.says(channel, &Method::ChannelOpenOk {}).unwrap();
        }
        pair.events();
        pair.sends(&bytes).unwrap();
        let [Event::Content { carrier: Carrier::Deliver { consumer_tag, .. }, content, .. }] = &pair.events()[..]
        else {
            panic!();
        };
        assert_eq!(consumer_tag.text(), decoded["args"]["consumer_tag"].as_str().unwrap());
        assert_eq!(content.routing_key.text(), decoded["args"]["routing_key"].as_str().unwrap());
        let headers = content.header.properties().unwrap().headers.unwrap();
        let expected = &decoded["headers"];
        assert_eq!(headers.get("task"), Some(&field(&expected["task"])));
        let (Some(Value::Array(deaths)), 1..) = (headers.get("x-death"), headers.0.len()) else { panic!() };
        let Value::Table(death) = &deaths[0] else { panic!() };
        assert_eq!(death.get("count"), Some(&Value::I64(1)));
        assert_eq!(headers.0.len(), expected.as_object().unwrap().len());
        assert_eq!(content.body, Bytes::copy_from_slice(&content.body));
    }
}
