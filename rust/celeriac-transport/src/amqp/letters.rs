//! Deliveries that go elsewhere as messages of their own: back to their queue, later or with a crash more, or to the dead letters.

use bytes::Bytes;
use celeriac_protocol::amqp::content::{self, Content};
use celeriac_protocol::amqp::{Properties, ShortStr, Table, Value, View, WireError};
use celeriac_protocol::{Publication, Settlement};

use super::delayed::{self, Delay, Target};
use super::held::One;
use super::publisher::{DEAD, Needs};
use crate::contract::{QueueSpec, TransportError};

/// How many processes died while they ran the message.
const CRASHES: &str = "x-celeriac-crashes";

/// What the message says of its crashes.
pub(crate) fn crashes(raw: &[u8]) -> u32 {
    let Ok(mut fields) = content::headers(raw) else { return 0 };
    while let Ok(Some((name, value))) = fields.field() {
        if name == CRASHES.as_bytes() {
            return if let View::Int(count) = value { u32::try_from(count).unwrap_or(0) } else { 0 };
        }
    }
    0
}

/// The message by which a delivery is settled; `None` if an answer to the server is enough. `now_ms`: wall clock.
///
/// # Errors
/// It cannot go there.
pub(crate) fn settling(
    one: &One,
    spec: Option<&QueueSpec>,
    settlement: &Settlement,
    now_ms: i64,
) -> Result<Option<(Publication, Needs)>, TransportError> {
    let queue = &*one.queue;
    Ok(match settlement {
        Settlement::Ack | Settlement::Requeue { crashed: false, .. } => None,
        Settlement::Requeue { crashed: true, .. } => {
            let count = Value::from(i64::from(one.crashes) + 1);
            let payload = with(&one.raw, &[(CRASHES, count)], false).map_err(|error| unreadable(&error))?;
            Some((publication("", queue, payload), Needs::Nothing))
        }
        Settlement::Park { until_ms } => {
            let delay = Delay::whole(*until_ms, now_ms).unwrap_or(Delay::SHORTEST);
            let (exchange, key) = delayed::publish(Target::Queue(queue), delay).ok_or_else(|| {
                TransportError::Refused(format!(
                    "the name of queue '{queue}' is too long for a message to wait for its time: AMQP allows 255 bytes with the delay"
                ))
            })?;
            let spec = spec.cloned().unwrap_or_else(|| QueueSpec::new(queue));
            Some((publication(&exchange, &key, one.raw.clone()), Needs::Way(Box::new(spec))))
        }
        Settlement::Dead { reason, detail } => {
            let facts = [
                ("x-celeriac-reason", Value::from(*reason)),
                ("x-celeriac-detail", Value::from(detail.as_str())),
                ("x-celeriac-queue", Value::from(queue)),
                ("x-celeriac-died", Value::from(now_ms)),
            ];
            // One whose properties nobody can read is kept as it is.
            let payload = with(&one.raw, &facts, true).unwrap_or_else(|_| one.raw.clone());
            Some((publication("", DEAD, payload), Needs::Dead))
        }
    })
}

fn publication(exchange: &str, routing_key: &str, payload: Bytes) -> Publication {
    Publication { exchange: exchange.into(), routing_key: routing_key.into(), priority: 0, due_ms: None, payload }
}

fn unreadable(error: &WireError) -> TransportError {
    TransportError::Refused(format!("the message cannot be sent again: {error}"))
}

/// The message with other headers. `kept`: it does not expire any more.
fn with(raw: &Bytes, facts: &[(&'static str, Value)], kept: bool) -> Result<Bytes, WireError> {
    let content = Content::split(raw)?;
    let mut properties = Properties::from_bytes(&content.properties)?;
    let mut headers = properties.headers.take().unwrap_or_default();
    headers.0.retain(|(name, _)| facts.iter().all(|(fact, _)| name.as_bytes() != fact.as_bytes()));
    let headers = facts
        .iter()
        .fold(headers, |headers: Table, (name, value)| headers.with(ShortStr::literal(name), value.clone()));
    properties.headers = Some(headers);
    if kept {
        properties.expiration = None;
    }
    content.with(&properties)?.join()
}

#[cfg(test)]
mod tests {
    use celeriac_protocol::delivery::reasons;

    use super::*;

    fn one(crashes: u32) -> One {
        let properties = Properties {
            headers: Some(Table::default().with(ShortStr::literal("id"), "a")),
            expiration: Some(ShortStr::literal("5000")),
            priority: Some(4),
            ..Properties::default()
        };
        let mut bytes = Vec::new();
        properties.write(&mut bytes).unwrap();
        let content = Content {
            mandatory: false,
            redelivered: false,
            exchange: ShortStr::default(),
            routing_key: ShortStr::literal("q"),
            properties: bytes.into(),
            body: Bytes::from_static(b"[]"),
        };
        One { epoch: 1, tag: 1, queue: "q".into(), crashes, raw: content.join().unwrap() }
    }

    fn settled(one: &One, settlement: &Settlement) -> Option<(Publication, Needs)> {
        settling(one, None, settlement, 1_000_000).unwrap()
    }

    fn properties(raw: &Bytes) -> Properties {
        Properties::from_bytes(&Content::split(raw).unwrap().properties).unwrap()
    }

    #[test]
    fn a_crash_is_written_onto_the_message() {
        assert!(settled(&one(0), &Settlement::Ack).is_none());
        assert!(settled(&one(0), &Settlement::Requeue { front: true, crashed: false }).is_none());
        let (mut last, mut count) = (one(0), 0);
        for _ in 0..3 {
            let (message, _) = settled(&last, &Settlement::Requeue { front: false, crashed: true }).unwrap();
            count += 1;
            assert_eq!((&*message.exchange, &*message.routing_key), ("", "q"));
            assert_eq!(crashes(&message.payload), count);
            assert_eq!(properties(&message.payload).priority, Some(4));
            last = One { crashes: count, raw: message.payload, ..last };
        }
        assert_eq!(properties(&last.raw).headers.unwrap().0.len(), 2, "one count, not three");
    }

    #[test]
    fn what_is_for_later_waits_on_the_way_and_keeps_its_bytes() {
        let (message, needs) = settled(&one(0), &Settlement::Park { until_ms: 1_005_400 }).unwrap();
        assert_eq!(&*message.exchange, "celery_delayed_27");
        assert!(message.routing_key.ends_with("1.0.1.celeriac-queue.q"), "{}", message.routing_key);
        assert!(matches!(needs, Needs::Way(spec) if spec.name == "q"));
        assert_eq!(message.payload, one(0).raw);
        let (soon, _) = settled(&one(0), &Settlement::Park { until_ms: 1_000_001 }).unwrap();
        assert!(soon.routing_key.ends_with("0.1.celeriac-queue.q"), "{}", soon.routing_key);
        let long = One { queue: "q".repeat(240).into(), ..one(0) };
        let refused = settling(&long, None, &Settlement::Park { until_ms: 9_000_000 }, 0).err().unwrap();
        assert!(refused.to_string().contains("too long"));
    }

    #[test]
    fn a_dead_letter_says_why_and_does_not_expire() {
        let dead = Settlement::Dead { reason: reasons::CRASHED, detail: "three times".into() };
        let (message, needs) = settled(&one(3), &dead).unwrap();
        assert_eq!((&*message.exchange, &*message.routing_key), ("", DEAD));
        assert!(matches!(needs, Needs::Dead));
        let properties = properties(&message.payload);
        let headers = properties.headers.unwrap();
        let text = |name: &str| match headers.get(name) {
            Some(Value::Str(text)) => text.text().into_owned(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!([text("x-celeriac-reason"), text("x-celeriac-queue"), text("id")], ["crashed", "q", "a"]);
        assert_eq!((text("x-celeriac-detail"), properties.expiration), ("three times".into(), None));
        let garbage = One { raw: Bytes::from_static(b"\x01\x00\x00\x00\x00\x00\x00\x02\xff\xffbody"), ..one(0) };
        let (message, _) = settled(&garbage, &dead).unwrap();
        assert_eq!(message.payload, garbage.raw);
    }
}
