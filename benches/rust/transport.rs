//! Whole runs against the SQLite store: publish one by one and in bulk, drain with results and acks, wake-up latency.
//!
//! A plain program, not criterion: what matters is the rate over a long run, checkpoints and all, on a growing file.
//! `cargo bench -p celeriac-transport` prints one line of JSON a measure. `CELERIAC_BENCH_STORE`
//! (file, memory) and `CELERIAC_BENCH_BATCH` choose one measure, for a profiler.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a program for people"
)]

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use celeriac_protocol::{Delivery, End, Publication, ResultWrite, Settlement};
use celeriac_transport::contract::{Cycle, Event, Producer, QueueSpec, Results};
use celeriac_transport::{Options, open};

const TIMEOUT: Duration = Duration::from_secs(30);

fn main() {
    let folder = tempfile::tempdir_in(std::env::var("CELERIAC_BENCH_DIR").unwrap_or("/tmp".into())).unwrap();
    for (kind, url) in [
        ("file", format!("sqlite:///{}/n.db", folder.path().display())),
        ("file, synchronous=full", format!("sqlite:///{}/f.db?synchronous=full", folder.path().display())),
        ("memory", "memory://bench".to_owned()),
    ] {
        if std::env::var("CELERIAC_BENCH_STORE").is_ok_and(|only| only != kind) {
            continue;
        }
        let broker = open::producer(&url, &Options::new(), TIMEOUT).unwrap();
        let one = publication();
        if let Some(batch) = std::env::var("CELERIAC_BENCH_BATCH").ok().and_then(|text| text.parse().ok()) {
            // For a profiler: one measure, long enough.
            for round in 1..=5 {
                top_up(&*broker, 100_000);
                let name = format!("claim, result, ack, batch {batch}, round {round}");
                rate(kind, &name, 100_000, || drain(&url, 100_000, batch, true));
            }
            continue;
        }
        let count = if kind.ends_with("full") { 2_000 } else { 20_000 };
        rate(kind, "publish one by one", count, || {
            for _ in 0..count {
                broker.publish(std::slice::from_ref(&one)).unwrap();
            }
        });
        let bulk = vec![one.clone(); 500];
        rate(kind, "publish 500 at a time", 100_000, || {
            for _ in 0..200 {
                broker.publish(&bulk).unwrap();
            }
        });
        let threads = 8;
        rate(kind, "publish from 8 threads", count, || {
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..count / threads).for_each(|_| drop(broker.publish(std::slice::from_ref(&one)))));
                }
            });
        });
        for batch in [1, 8, 64, 256] {
            let count = if batch == 1 { 5_000 } else { 40_000 };
            top_up(&*broker, count);
            rate(kind, &format!("claim, result, ack, batch {batch}"), count, || drain(&url, count, batch, true));
        }
        top_up(&*broker, 40_000);
        rate(kind, "claim, ack, batch 64", 40_000, || drain(&url, 40_000, 64, false));
        broker.purge("q").unwrap();
        latency(kind, &url, &*broker);
        let far = vec![Publication { due_ms: Some(i64::MAX / 2), ..one.clone() }; 1000];
        if kind == "file" {
            rate(kind, "publish 1,000,000 for later", 1_000_000, || (0..1000).for_each(|_| drop(broker.publish(&far))));
            top_up(&*broker, 40_000);
            let name = "claim, result, ack, batch 64, 1,000,000 for later beside";
            rate(kind, name, 40_000, || drain(&url, 40_000, 64, true));
        }
    }
}

fn publication() -> Publication {
    let payload = Bytes::from(vec![b'x'; 950]);
    Publication { exchange: "".into(), routing_key: "q".into(), priority: 0, due_ms: None, payload }
}

fn top_up(broker: &dyn Producer, count: usize) {
    let ready = broker.depths().unwrap().first().map_or(0, |depth| depth.ready);
    let missing = count.saturating_sub(usize::try_from(ready).unwrap());
    for _ in 0..missing.div_ceil(500) {
        broker.publish(&vec![publication(); 500]).unwrap();
    }
}

fn rate(kind: &str, name: &str, count: usize, run: impl FnOnce()) {
    let begin = Instant::now();
    let cpu = cpu_seconds();
    run();
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "{{\"store\": \"{kind}\", \"measure\": \"{name}\", \"count\": {count}, \"per_second\": {:.0}, \"cpu_us_each\": {:.2}}}",
        count as f64 / wall,
        cpu * 1e6 / count as f64
    );
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks =
        |at: usize| stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(at)?.parse::<f64>().ok());
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

/// Takes, ends with a result and acks `count` messages, two batches in flight as the hub has them.
fn drain(url: &str, count: usize, batch: usize, with_results: bool) {
    let (sender, events) = channel();
    let sender = Mutex::new(sender);
    let mut consumer = open::consumer(url, &Options::new(), TIMEOUT).unwrap();
    let spec = QueueSpec::new("q");
    consumer.start(vec![spec], Arc::new(move |event| drop(sender.lock().unwrap().send(event)))).unwrap();
    let mut granted = 2 * batch as u64;
    consumer.submit(Cycle { credit_total: granted, ..Cycle::default() });
    let mut done = 0;
    // Another seed each time: a key that is stored already would not be written.
    let mut random = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap() << 7 | 1;
    while done < count {
        let Event::Deliveries(taken) = events.recv_timeout(TIMEOUT).unwrap() else { continue };
        for some in taken.chunks(batch) {
            granted += some.len() as u64;
            done += some.len();
            let ends = some.iter().map(|delivery| end(delivery, with_results, &mut random)).collect();
            consumer.submit(Cycle { ends, credit_total: granted, ..Cycle::default() });
        }
    }
    consumer.stop();
    consumer.join();
}

fn end(delivery: &Delivery, with_result: bool, random: &mut u64) -> End {
    let mut next = || {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random
    };
    let (mut a, b) = (next(), next());
    if std::env::var_os("CELERIAC_BENCH_ORDERED_IDS").is_some() {
        // As UUID version 7 has it: ms of the clock first, then chance.
        a = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap() << 16
            | a & 0xffff;
    }
    let key = format!(
        "celery-task-meta-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    );
    let write = ResultWrite {
        key: key.into(),
        value: Bytes::from(vec![b'r'; 180]),
        expires_ms: Some(i64::MAX / 2),
        success: true,
    };
    let results = if with_result { vec![write] } else { vec![] };
    End { tag: delivery.tag, settlement: Settlement::Ack, results, publish: vec![] }
}

/// From the publish to the result in the hands of a thread that waits for it; the worker answers at once.
fn latency(kind: &str, url: &str, broker: &dyn Producer) {
    let mut consumer = open::consumer(url, &Options::new(), TIMEOUT).unwrap();
    let spec = QueueSpec::new("q");
    let (sender, events) = channel();
    let sender = Mutex::new(sender);
    consumer.start(vec![spec], Arc::new(move |event| drop(sender.lock().unwrap().send(event)))).unwrap();
    consumer.submit(Cycle { credit_total: 1_000_000, ..Cycle::default() });
    let rounds = 500;
    let mut times = Vec::with_capacity(rounds);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut done = 0;
            while done < rounds {
                let Ok(Event::Deliveries(taken)) = events.recv_timeout(TIMEOUT) else { continue };
                for delivery in taken {
                    let key = String::from_utf8_lossy(&delivery.message.raw).into_owned();
                    let write = ResultWrite { key: key.into(), value: "v".into(), expires_ms: None, success: true };
                    let end =
                        End { tag: delivery.tag, settlement: Settlement::Ack, results: vec![write], publish: vec![] };
                    consumer.submit(Cycle { ends: vec![end], credit_total: 1_000_000, ..Cycle::default() });
                    done += 1;
                }
            }
            consumer.stop();
            consumer.join();
        });
        let store = open::results(url, &Options::new(), TIMEOUT).unwrap();
        for round in 0..rounds {
            let key = format!("k{round}");
            let begin = Instant::now();
            broker.publish(&[Publication { payload: key.clone().into(), ..publication() }]).unwrap();
            wait(&*store, &key);
            times.push(begin.elapsed());
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    times.sort();
    println!(
        "{{\"store\": \"{kind}\", \"measure\": \"publish to result, one process\", \"p50_us\": {}, \"p99_us\": {}}}",
        times[rounds / 2].as_micros(),
        times[rounds * 99 / 100].as_micros()
    );
}

fn wait(store: &dyn Results, key: &str) {
    loop {
        let seen = store.generation().unwrap();
        if store.get(&[key]).unwrap()[0].is_some() {
            return;
        }
        store.wait_change(seen, TIMEOUT).unwrap();
    }
}
