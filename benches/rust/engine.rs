//! Budgets of the engine, for one task (design: reservation and timers 0.3 µs, dispatch 0.4 µs).

#![expect(clippy::expect_used, reason = "a bench that goes wrong should say where")]

use std::hint::black_box;

use bytes::Bytes;
use celeriac_engine::ledger::Ledger;
use celeriac_engine::policy::RunTime;
use celeriac_engine::revoked::Revoked;
use celeriac_engine::wheel::Wheel;
use celeriac_engine::window::Prefetch;
use celeriac_engine::{Engine, EngineConfig, Now, Outcome, Report, TaskPolicy, Work};
use celeriac_protocol::{Delivery, DeliveryTag, Message, ResultWrite};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const ENVELOPE: &[u8] = br#"{"body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "proj.tasks.add", "id": "3f1c6a4e-2b7d-4e0f-9a55-8a7f4c0d9e11", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "3f1c6a4e-2b7d-4e0f-9a55-8a7f4c0d9e11", "parent_id": null, "argsrepr": "()", "kwargsrepr": "{}", "origin": "gen1@host", "ignore_result": false}, "properties": {"correlation_id": "3f1c6a4e-2b7d-4e0f-9a55-8a7f4c0d9e11", "reply_to": "5b0c", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "d"}}"#;

fn at(mono_us: u64) -> Now {
    Now { mono_us, wall_ms: 1_767_225_600_000 }
}

/// Budget: under 100 ns for an open and a settle with 10 000 tags open.
fn ledger(c: &mut Criterion) {
    let mut group = c.benchmark_group("ledger/open+settle");
    for open in [1u64, 100, 10_000] {
        let mut ledger = Ledger::default();
        for tag in 0..open {
            ledger.open(DeliveryTag(tag), [0u64; 4], 900, at(0)).expect("fresh tags");
        }
        let mut next = open;
        group.bench_function(BenchmarkId::from_parameter(open), |b| {
            b.iter(|| {
                ledger.open(DeliveryTag(next), [0u64; 4], 900, at(1)).expect("a fresh tag");
                next += 1;
                black_box(ledger.settle(DeliveryTag(next - open), at(2)))
            });
        });
    }
}

/// Budget: under 100 ns an entry for insert and pop.
fn wheel(c: &mut Criterion) {
    let mut group = c.benchmark_group("wheel/insert+pop");
    for count in [100u64, 10_000] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter_batched_ref(
                Wheel::default,
                |wheel| {
                    for at in 0..count {
                        wheel.insert((at * 7_919) % 60_000_000, at);
                    }
                    while wheel.pop_due(60_000_000).is_some() {}
                },
                BatchSize::LargeInput,
            );
        });
    }
}

fn policy(c: &mut Criterion) {
    let mut time = RunTime::default();
    c.bench_function("policy/observe+share", |b| {
        b.iter(|| {
            time.observe(black_box(20_000));
            black_box(time.share_us())
        });
    });
    let mut revoked = Revoked::default();
    for number in 0..50_000 {
        revoked.add(&format!("3f1c6a4e-2b7d-4e0f-9a55-{number:012}"), at(0));
    }
    c.bench_function("revoked/contains, full", |b| {
        b.iter(|| black_box(revoked.contains(black_box("3f1c6a4e-2b7d-4e0f-9a55-8a7f4c0d9e11"), at(1))));
    });
}

/// Everything that the engine does for one task, in rounds of 64: reception, dispatch, outcome, cycle.
fn whole(c: &mut Criterion) {
    const ROUND: u64 = 64;
    let tasks = [("proj.tasks.add".to_owned(), TaskPolicy { acks_late: true, ..TaskPolicy::default() })];
    let config =
        EngineConfig { children: 2, prefetch: Prefetch::Fixed(1_000), tasks: tasks.into(), ..EngineConfig::default() };
    let mut engine = Engine::new(&config);
    (0..2).for_each(|child| engine.child_up(child));
    let message = Message::scan(Bytes::from_static(ENVELOPE));
    assert!(message.head.is_ok());
    let (mut tag, mut now_us) = (0u64, 0u64);
    let queue: std::sync::Arc<str> = "celery".into();
    let key: std::sync::Arc<str> = "celery-task-meta-3f1c6a4e".into();
    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(ROUND));
    group.bench_function("one task, of 64", |b| {
        b.iter(|| {
            now_us += 1_000;
            let now = at(now_us);
            let batch = (0..ROUND).map(|_| {
                tag += 1;
                Delivery {
                    tag: DeliveryTag(tag),
                    queue: queue.clone(),
                    redelivered: false,
                    crashes: 0,
                    message: message.clone(),
                }
            });
            engine.deliveries(batch.collect(), now);
            let mut left = ROUND;
            while left > 0 {
                engine.dispatch(now);
                while let Some(Work::Dispatch { child, batch }) = engine.next_work() {
                    for one in batch {
                        left -= 1;
                        let value = Bytes::from_static(b"{}");
                        let write = ResultWrite { key: key.clone(), value, expires_ms: None, success: true };
                        let report = Report {
                            tag: one.delivery.tag,
                            outcome: Outcome::Success,
                            results: vec![write],
                            publish: Vec::new(),
                            detail: None,
                            run_ns: Some(15_000),
                        };
                        engine.outcome(child, report, now);
                    }
                }
            }
            let cycle = engine.next_cycle(now).expect("something has ended");
            engine.cycled(cycle.id, &[], []);
            black_box(cycle)
        });
    });
}

criterion_group!(benches, ledger, wheel, policy, whole);
criterion_main!(benches);
