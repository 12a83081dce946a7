//! Bytes between the hub and a child process: batches one way, what the child tells the other way.
//!
//! A batch: `u32` length of what follows, `u32` count, and per job slot, sequence, verdict, facts and envelope. What a child
//! tells is a record, in the ring or behind a `u32` length on the socket; length 0 says: look at the ring. Numbers are in
//! the machine's own order, as both ends are on one machine. A decoder answers `None` to bytes that make no sense.
//!
//! A child names a job by slot and sequence alone, in the place of a delivery tag: what it says can only ever
//! concern a job that it was given.

use std::sync::Arc;

use bytes::Bytes;
use celeriac_engine::{Outcome, Report, Verdict};
use celeriac_protocol::{Delivery, DeliveryTag, Message, Publication, ResultWrite};

use crate::child::{Ticket, Told};

/// Payloads from this size on are not copied into the frame, but written after it.
const LARGE: usize = 16 * 1024;
/// Room for a record that is kept from one to the next.
pub(crate) const USUAL: usize = 64 * 1024;
/// No frame is larger: a length beyond it is damage.
pub(crate) const LONGEST: usize = 2 << 30;

const END: u8 = 1;
const PROGRESS: u8 = 2;
const DROPPED: u8 = 3;
const HELLO: u8 = 4;

/// What a record of a child holds.
#[derive(Debug)]
pub(crate) enum Said {
    Told(Told),
    /// It can take jobs, and has this pid.
    Hello(i32),
}

/// A job's name on the wire.
pub(crate) fn name(slot: usize, sequence: u64) -> DeliveryTag {
    DeliveryTag(sequence << 8 | slot as u64)
}

/// `(slot, sequence)` of a name.
pub(crate) fn unname(tag: DeliveryTag) -> (usize, u64) {
    ((tag.0 & 0xff) as usize, tag.0 >> 8)
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_ne_bytes());
    }

    fn bytes(&mut self, value: &[u8]) {
        self.length(value.len());
        self.0.extend_from_slice(value);
    }

    fn length(&mut self, value: usize) {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }

    fn date(&mut self, value: Option<i64>) {
        self.u8(u8::from(value.is_some()));
        self.u64(value.unwrap_or_default().cast_unsigned());
    }
}

struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let found = self.bytes.get(self.at..self.at + N)?.try_into().ok()?;
        self.at += N;
        Some(found)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[value]| value)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let length = self.u32()? as usize;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let found = self.bytes.slice(self.at..end);
        self.at = end;
        Some(found)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let found = self.bytes()?;
        std::str::from_utf8(&found).ok().map(Arc::from)
    }

    #[expect(clippy::option_option, reason = "outside: too few bytes; inside: no date")]
    fn date(&mut self) -> Option<Option<i64>> {
        let there = self.u8()? != 0;
        let value = self.u64()?.cast_signed();
        Some(there.then_some(value))
    }
}

// --- batches

const VERDICTS: [Verdict; 7] = [
    Verdict::Run,
    Verdict::Unknown,
    Verdict::Expired,
    Verdict::Revoked,
    Verdict::Crashed,
    Verdict::Lost,
    Verdict::TimeLimit,
];

fn number(verdict: Verdict) -> u8 {
    VERDICTS.iter().position(|one| *one == verdict).and_then(|at| u8::try_from(at).ok()).unwrap_or_default()
}

/// A batch as pieces to be written one after the other; large envelopes are pieces of their own, shared, not copied.
pub(crate) fn batch(tickets: &[Ticket]) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(1);
    let mut writer = Writer(Vec::with_capacity(64 + tickets.len() * 512));
    let mut length = 0;
    writer.u32(0);
    writer.length(tickets.len());
    for ticket in tickets {
        let delivery = &ticket.delivery;
        writer.u64(name(ticket.slot, ticket.sequence).0);
        writer.u8(number(ticket.verdict));
        writer.u8(u8::from(delivery.redelivered));
        writer.u32(delivery.crashes);
        writer.bytes(delivery.queue.as_bytes());
        writer.bytes(ticket.cause.as_deref().unwrap_or_default().as_bytes());
        let raw = &delivery.message.raw;
        if raw.len() < LARGE {
            writer.bytes(raw);
            continue;
        }
        writer.length(raw.len());
        length += writer.0.len() + raw.len();
        pieces.push(Bytes::from(std::mem::take(&mut writer.0)));
        pieces.push(raw.clone());
    }
    length += writer.0.len();
    if !writer.0.is_empty() {
        pieces.push(Bytes::from(writer.0));
    }
    let length = u32::try_from(length - 4).unwrap_or(u32::MAX); // without itself
    if let Some(first) = pieces.first_mut() {
        let mut head = Vec::from(std::mem::take(first));
        head[..4].copy_from_slice(&length.to_ne_bytes());
        *first = Bytes::from(head);
    }
    pieces
}

/// The jobs of a batch, without its length.
pub(crate) fn tickets(frame: Bytes) -> Option<Vec<Ticket>> {
    let mut reader = Reader { bytes: frame, at: 0 };
    let count = reader.u32()?;
    (0..count).map(|_| ticket(&mut reader)).collect()
}

fn ticket(reader: &mut Reader) -> Option<Ticket> {
    let tag = DeliveryTag(reader.u64()?);
    let verdict = *VERDICTS.get(reader.u8()? as usize)?;
    let redelivered = reader.u8()? != 0;
    let crashes = reader.u32()?;
    let queue = reader.text()?;
    let cause = reader.text()?;
    let message = Message::scan(reader.bytes()?);
    let (slot, sequence) = unname(tag);
    let delivery = Arc::new(Delivery { tag, queue, redelivered, crashes, message });
    Some(Ticket { delivery, verdict, cause: (!cause.is_empty()).then_some(cause), slot, sequence })
}

// --- what a child tells

pub(crate) fn hello(pid: u32) -> Vec<u8> {
    let mut writer = Writer(vec![HELLO]);
    writer.u32(pid);
    writer.0
}

pub(crate) fn record(told: &Told, into: &mut Vec<u8>) {
    let mut writer = Writer(std::mem::take(into));
    writer.0.clear();
    match told {
        Told::End { report, .. } => {
            writer.u8(END);
            writer.u64(report.tag.0);
            let outcome = Outcome::ALL.iter().position(|one| *one == report.outcome).unwrap_or_default();
            writer.u8(u8::try_from(outcome).unwrap_or_default());
            writer.u64(report.run_ns.unwrap_or(u64::MAX));
            writer.u8(u8::from(report.detail.is_some()));
            writer.bytes(report.detail.as_deref().unwrap_or_default().as_bytes());
            write_results(&mut writer, &report.results);
            writer.length(report.publish.len());
            for publication in &report.publish {
                writer.bytes(publication.exchange.as_bytes());
                writer.bytes(publication.routing_key.as_bytes());
                writer.u8(publication.priority);
                writer.date(publication.due_ms);
                writer.bytes(&publication.payload);
            }
        }
        Told::Progress { tag, results } => {
            writer.u8(PROGRESS);
            writer.u64(tag.0);
            write_results(&mut writer, results);
        }
        Told::Dropped { tag, started, .. } => {
            writer.u8(DROPPED);
            writer.u64(tag.0);
            writer.u8(u8::from(*started));
        }
    }
    *into = writer.0;
}

fn write_results(writer: &mut Writer, results: &[ResultWrite]) {
    writer.length(results.len());
    for write in results {
        writer.bytes(write.key.as_bytes());
        writer.bytes(&write.value);
        writer.date(write.expires_ms);
        writer.u8(u8::from(write.success));
    }
}

/// What a record says; tags in it are names of jobs.
pub(crate) fn said(record: Bytes) -> Option<Said> {
    let mut reader = Reader { bytes: record, at: 0 };
    let kind = reader.u8()?;
    if kind == HELLO {
        return Some(Said::Hello(reader.u32()?.cast_signed()));
    }
    let tag = DeliveryTag(reader.u64()?);
    let (slot, _) = unname(tag);
    Some(Said::Told(match kind {
        END => {
            let outcome = *Outcome::ALL.get(reader.u8()? as usize)?;
            let run_ns = Some(reader.u64()?).filter(|ns| *ns != u64::MAX);
            let has_detail = reader.u8()? != 0;
            let text = reader.text()?;
            let results = read_results(&mut reader)?;
            let count = reader.u32()?;
            let publish = (0..count).map(|_| publication(&mut reader)).collect::<Option<_>>()?;
            let detail = has_detail.then(|| text.to_string());
            Told::End { slot, report: Report { tag, outcome, results, publish, detail, run_ns } }
        }
        PROGRESS => Told::Progress { tag, results: read_results(&mut reader)? },
        DROPPED => Told::Dropped { slot, tag, started: reader.u8()? != 0 },
        _ => return None,
    }))
}

fn read_results(reader: &mut Reader) -> Option<Vec<ResultWrite>> {
    let count = reader.u32()?;
    let write = |_| {
        Some(ResultWrite {
            key: reader.text()?,
            value: reader.bytes()?,
            expires_ms: reader.date()?,
            success: reader.u8()? != 0,
        })
    };
    (0..count).map(write).collect()
}

fn publication(reader: &mut Reader) -> Option<Publication> {
    Some(Publication {
        exchange: reader.text()?,
        routing_key: reader.text()?,
        priority: reader.u8()?,
        due_ms: reader.date()?,
        payload: reader.bytes()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket_of(slot: usize, bytes: usize) -> Ticket {
        let message = Message::scan(Bytes::from(vec![b'x'; bytes]));
        let queue = "queue".into();
        let delivery = Delivery { tag: DeliveryTag(7), queue, redelivered: true, crashes: 2, message };
        let cause = slot.is_multiple_of(2).then(|| "because".into());
        Ticket { delivery: Arc::new(delivery), verdict: Verdict::Revoked, cause, slot, sequence: 1 << 40 }
    }

    #[test]
    fn a_batch_comes_out_as_it_went_in_whatever_its_sizes() {
        for sizes in [vec![], vec![10], vec![LARGE], vec![1, LARGE + 1, 2, 3 * LARGE, 0], vec![LARGE, LARGE, 1]] {
            let sent: Vec<_> = sizes.iter().enumerate().map(|(slot, size)| ticket_of(slot, *size)).collect();
            let bytes = batch(&sent).concat();
            let length = u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize;
            assert_eq!(length, bytes.len() - 4, "{sizes:?}");
            let found = tickets(Bytes::from(bytes[4..].to_vec())).unwrap();
            assert_eq!(found.len(), sent.len());
            for (found, sent) in found.iter().zip(&sent) {
                assert_eq!((found.slot, found.sequence, found.verdict), (sent.slot, sent.sequence, sent.verdict));
                assert_eq!(found.delivery.message.raw, sent.delivery.message.raw);
                assert_eq!((&*found.delivery.queue, found.delivery.crashes), ("queue", 2));
                assert_eq!(found.cause, sent.cause);
            }
        }
    }

    #[test]
    fn what_a_child_tells_comes_out_as_it_went_in_and_a_cut_is_noticed() {
        let write = ResultWrite { key: "k".into(), value: "v".into(), expires_ms: Some(-1), success: true };
        let sent = Publication {
            exchange: "e".into(),
            routing_key: "r".into(),
            priority: 9,
            due_ms: None,
            payload: Bytes::from_static(b"p"),
        };
        let report = Report {
            tag: name(251, 5),
            outcome: Outcome::Retry,
            results: vec![write.clone()],
            publish: vec![sent],
            detail: Some(String::new()),
            run_ns: Some(12),
        };
        let told = [
            Told::End { slot: 251, report },
            Told::Progress { tag: name(3, 4), results: vec![write] },
            Told::Dropped { slot: 3, tag: name(3, 4), started: true },
        ];
        for one in &told {
            let mut bytes = Vec::new();
            record(one, &mut bytes);
            let Some(Said::Told(found)) = said(Bytes::from(bytes.clone())) else { panic!("not understood") };
            assert_eq!(format!("{found:?}"), format!("{one:?}"));
            for end in 0..bytes.len() {
                assert!(said(Bytes::copy_from_slice(&bytes[..end])).is_none());
            }
        }
        assert!(matches!(said(Bytes::from(hello(7))), Some(Said::Hello(7))));
    }
}
