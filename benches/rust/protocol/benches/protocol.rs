//! Budget (docs/performance.md): scan of a plain task's envelope under 0.8 µs; the rest is shown for comparison.
#![allow(missing_docs, reason = "criterion's macros make the items")]

use std::hint::black_box;

use bytes::Bytes;
use celeriac_protocol::json::{Lexer, write};
use celeriac_protocol::{Message, base64, dates, uuid};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// `add.delay(2, 3)` as Celery 5.7 writes it.
const PLAIN: &str = include_str!("plain.json");

fn envelope(c: &mut Criterion) {
    let mut group = c.benchmark_group("envelope");
    group.throughput(Throughput::Bytes(PLAIN.len() as u64));
    let raw = Bytes::from_static(PLAIN.as_bytes());
    group.bench_function("scan", |b| b.iter(|| Message::scan(black_box(&raw).clone())));
    group.bench_function("utf8", |b| b.iter(|| std::str::from_utf8(black_box(PLAIN.as_bytes()))));
    group.bench_function("skip", |b| b.iter(|| Lexer::new(black_box(PLAIN)).skip_value()));
    group.bench_function("jiter/skip", |b| {
        b.iter(|| jiter::Jiter::new(black_box(PLAIN.as_bytes())).next_skip());
    });
    group.bench_function("jiter/value", |b| {
        b.iter(|| jiter::JsonValue::parse(black_box(PLAIN.as_bytes()), false));
    });
    group.bench_function("serde_json/ignored", |b| {
        b.iter(|| serde_json::from_str::<serde::de::IgnoredAny>(black_box(PLAIN)));
    });
    group.bench_function("serde_json/value", |b| {
        b.iter(|| serde_json::from_str::<serde_json::Value>(black_box(PLAIN)));
    });
    group.finish();
}

fn parts(c: &mut Criterion) {
    let mut group = c.benchmark_group("parts");
    let message = Message::scan(Bytes::from_static(PLAIN.as_bytes()));
    group.bench_function("body", |b| b.iter(|| black_box(&message).body()));
    group.bench_function("date", |b| b.iter(|| dates::parse(black_box("2030-01-02T03:04:05.678900+00:00"))));
    group.bench_function("uuid7", |b| b.iter(|| uuid::uuid7(black_box(1_795_000_000_000))));
    let mut buffer = Vec::with_capacity(4096);
    group.bench_function("write/string", |b| {
        b.iter(|| {
            buffer.clear();
            write::string(black_box("da559e07-c063-4d4c-8d7a-c8e02b4c117d"), &mut buffer);
        });
    });
    group.bench_function("write/float", |b| {
        b.iter(|| {
            buffer.clear();
            write::float(black_box(0.1 + 0.2), &mut buffer);
        });
    });
    group.bench_function("base64/encode", |b| {
        b.iter(|| {
            buffer.clear();
            base64::encode(black_box(&PLAIN.as_bytes()[..85]), &mut buffer);
        });
    });
    group.finish();
}

criterion_group!(benches, envelope, parts);
criterion_main!(benches);
