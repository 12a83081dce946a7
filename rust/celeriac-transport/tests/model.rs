//! Random schedules against a naive model: nothing is lost, nothing is doubled, order and priority hold.
//!
//! The model knows where each message is. After every step the store's counts must be the model's, and whatever is
//! handed over must be what the model would hand over next.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use celeriac_protocol::{DeliveryTag, Publication, Settlement};
use proptest::prelude::*;
use support::{Worker, depth, end, message, now_ms, producer, results, text};

const QUEUES: [&str; 2] = ["p", "q"];

#[derive(Debug, Clone)]
enum Step {
    Publish { queue: usize, priority: u8, count: usize },
    PublishForLater { queue: usize },
    Take { worker: usize, count: usize },
    Ack { worker: usize, which: usize },
    Requeue { worker: usize, which: usize, front: bool },
    Park { worker: usize, which: usize },
    Bury { worker: usize, which: usize },
    Retry { worker: usize, which: usize },
    SettleTwice { worker: usize, which: usize },
    Restart { worker: usize },
    Purge { queue: usize },
    Replay,
}

fn step() -> impl Strategy<Value = Step> {
    let (queue, worker, which) = (0..2_usize, 0..2_usize, 0..8_usize);
    prop_oneof![
        5 => (queue.clone(), 0..10_u8, 1..4_usize)
            .prop_map(|(queue, priority, count)| Step::Publish { queue, priority, count }),
        1 => queue.clone().prop_map(|queue| Step::PublishForLater { queue }),
        5 => (worker.clone(), 1..5_usize).prop_map(|(worker, count)| Step::Take { worker, count }),
        4 => (worker.clone(), which.clone()).prop_map(|(worker, which)| Step::Ack { worker, which }),
        2 => (worker.clone(), which.clone(), any::<bool>())
            .prop_map(|(worker, which, front)| Step::Requeue { worker, which, front }),
        1 => (worker.clone(), which.clone()).prop_map(|(worker, which)| Step::Park { worker, which }),
        1 => (worker.clone(), which.clone()).prop_map(|(worker, which)| Step::Bury { worker, which }),
        2 => (worker.clone(), which.clone()).prop_map(|(worker, which)| Step::Retry { worker, which }),
        1 => (worker.clone(), which).prop_map(|(worker, which)| Step::SettleTwice { worker, which }),
        1 => worker.prop_map(|worker| Step::Restart { worker }),
        1 => queue.prop_map(|queue| Step::Purge { queue }),
        1 => Just(Step::Replay),
    ]
}

/// Order in a queue: priority, then place in line.
type Place = (u8, i64);

#[derive(Default)]
struct Model {
    ready: [BTreeMap<Place, String>; 2],
    later: [Vec<String>; 2],
    held: [Vec<(DeliveryTag, usize, Place, String)>; 2],
    dead: Vec<(usize, u8, String)>,
    done: Vec<String>,
    count: i64,
}

struct Run {
    url: String,
    model: Model,
    workers: Vec<Worker>,
}

impl Run {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let url = format!("memory://model{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let workers = vec![Worker::start(&url, &["p"]), Worker::start(&url, &["q"])];
        Self { url, model: Model::default(), workers }
    }

    fn next(&mut self) -> i64 {
        self.model.count += 1;
        self.model.count
    }

    /// The delivery that a step is about, taken out of the model's held ones.
    fn pick(&mut self, worker: usize, which: usize) -> Option<(DeliveryTag, usize, Place, String)> {
        let held = &mut self.model.held[worker];
        (!held.is_empty()).then(|| held.remove(which % held.len()))
    }

    fn settle(&mut self, worker: usize, tag: DeliveryTag, settlement: Settlement) {
        assert_eq!(self.workers[worker].cycle(0, vec![end(tag, settlement)]), []);
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Publish { queue, priority, count } => {
                let mut batch = Vec::new();
                for _ in 0..count {
                    let number = self.next();
                    batch.push(Publication { priority, ..message(QUEUES[queue], &number.to_string()) });
                    self.model.ready[queue].insert((priority, number), number.to_string());
                }
                assert_eq!(producer(&self.url).publish(&batch).unwrap(), count);
            }
            Step::PublishForLater { queue } => {
                let text = self.next().to_string();
                let due_ms = Some(now_ms() + 3_600_000);
                producer(&self.url).publish(&[Publication { due_ms, ..message(QUEUES[queue], &text) }]).unwrap();
                self.model.later[queue].push(text);
            }
            Step::Take { worker, count } => self.take(worker, count),
            Step::Ack { worker, which } => {
                if let Some((tag, _, _, text)) = self.pick(worker, which) {
                    let mut one = end(tag, Settlement::Ack);
                    one.results = vec![support::result(&text, &text, true)];
                    assert_eq!(self.workers[worker].cycle(0, vec![one]), []);
                    self.model.done.push(text);
                }
            }
            Step::Requeue { worker, which, front } => {
                if let Some((tag, queue, place, text)) = self.pick(worker, which) {
                    self.settle(worker, tag, Settlement::Requeue { front, crashed: false });
                    let seq = if front { place.1 } else { self.next() };
                    self.model.ready[queue].insert((place.0, seq), text);
                }
            }
            Step::Park { worker, which } => {
                if let Some((tag, queue, _, text)) = self.pick(worker, which) {
                    self.settle(worker, tag, Settlement::Park { until_ms: now_ms() + 3_600_000 });
                    self.model.later[queue].push(text);
                }
            }
            Step::Bury { worker, which } => {
                if let Some((tag, queue, place, text)) = self.pick(worker, which) {
                    self.settle(worker, tag, Settlement::Dead { reason: "rejected", detail: String::new() });
                    self.model.dead.push((queue, place.0, text));
                }
            }
            Step::Retry { worker, which } => {
                if let Some((tag, queue, place, text)) = self.pick(worker, which) {
                    let mut one = end(tag, Settlement::Ack);
                    one.publish = vec![Publication { priority: place.0, ..message(QUEUES[queue], &text) }];
                    assert_eq!(self.workers[worker].cycle(0, vec![one]), []);
                    let number = self.next();
                    self.model.ready[queue].insert((place.0, number), text);
                }
            }
            Step::SettleTwice { worker, which } => {
                if let Some((tag, _, _, text)) = self.pick(worker, which) {
                    let twice =
                        vec![end(tag, Settlement::Ack), end(tag, Settlement::Requeue { front: true, crashed: false })];
                    assert_eq!(self.workers[worker].cycle(0, twice), [tag], "{text}");
                }
            }
            Step::Restart { worker } => {
                self.workers[worker].stop();
                self.workers[worker] = Worker::start(&self.url, &[QUEUES[worker]]);
                for (_, queue, place, text) in std::mem::take(&mut self.model.held[worker]) {
                    self.model.ready[queue].insert(place, text);
                }
            }
            Step::Purge { queue } => {
                let count = self.model.ready[queue].len() + self.model.later[queue].len();
                assert_eq!(producer(&self.url).purge(QUEUES[queue]).unwrap(), count as u64);
                self.model.ready[queue].clear();
                self.model.later[queue].clear();
            }
            Step::Replay => {
                let dead = std::mem::take(&mut self.model.dead);
                assert_eq!(producer(&self.url).dead_replay(None).unwrap(), dead.len() as u64);
                for (queue, priority, text) in dead {
                    let number = self.next();
                    self.model.ready[queue].insert((priority, number), text);
                }
            }
        }
    }

    /// Worker `n` consumes queue `n` only, so that what it gets is known.
    fn take(&mut self, worker: usize, count: usize) {
        let count = count.min(self.model.ready[worker].len());
        let taken = if count == 0 { Vec::new() } else { self.workers[worker].take(count) };
        for delivery in taken {
            let (place, expected) = self.model.ready[worker].pop_first().unwrap();
            assert_eq!(text(&delivery), expected);
            self.model.held[worker].push((delivery.tag, worker, place, expected));
        }
    }

    fn check(&self) {
        let broker = producer(&self.url);
        for (at, name) in QUEUES.iter().enumerate() {
            let held = self.model.held[at].len();
            let expected = (self.model.ready[at].len() as u64, self.model.later[at].len() as u64, held as u64);
            assert_eq!(depth(&*broker, name), expected, "{name}");
        }
        assert_eq!(broker.dead_list(1000, None).unwrap().len(), self.model.dead.len());
    }

    /// At the end everything that waits comes, in order, and nothing more.
    fn finish(mut self) {
        for worker in 0..2 {
            self.take(worker, usize::MAX);
            self.workers[worker].stop();
        }
        let store = results(&self.url);
        for text in &self.model.done {
            assert_eq!(store.get(&[text]).unwrap(), [Some(text.clone().into())]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut run = Run::new();
        for step in &steps {
            run.apply(step);
            run.check();
        }
        run.finish();
    }
}
