//! A broker on a string: a consumer that does what a test tells it, and remembers what the hub wanted.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use celeriac_engine::window::Prefetch;
use celeriac_engine::{EngineConfig, TaskPolicy};
use celeriac_hub::{Hub, HubConfig, Job, Kinds, Next, Notice, NoticeKind, Port};
use celeriac_protocol::{Delivery, DeliveryTag, End, Message, ResultWrite};
use celeriac_transport::contract::{Consumer, Cycle, Event, EventSink, QueueSpec, TransportError};
use crossbeam_channel::{Receiver, Sender};

/// No test waits longer for something that must come.
pub(crate) const LONG: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct State {
    sink: Option<EventSink>,
    /// Fail so many cycles before the next is stored.
    pub(crate) failures: Vec<TransportError>,
    /// Keep cycles under way until `Broker::release`.
    pub(crate) hold: bool,
    kept: Vec<Cycle>,
    lost: HashSet<DeliveryTag>,
    pub(crate) stopped: bool,
}

/// The test's end.
#[derive(Clone)]
pub(crate) struct Broker {
    state: Arc<Mutex<State>>,
    stored: Receiver<Cycle>,
    store: Sender<Cycle>,
}

/// The hub's end.
struct Scripted(Broker);

impl Broker {
    pub(crate) fn new() -> Self {
        let (store, stored) = crossbeam_channel::unbounded();
        Self { state: Arc::default(), stored, store }
    }

    pub(crate) fn consumer(&self) -> Box<dyn Consumer> {
        Box::new(Scripted(self.clone()))
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }

    pub(crate) fn say(&self, event: Event) {
        let sink = self.with(|state| state.sink.clone()).expect("the hub has started");
        sink(event);
    }

    pub(crate) fn deliver(&self, tags: impl IntoIterator<Item = u64>, task: &str) {
        self.say(Event::Deliveries(tags.into_iter().map(|tag| delivery(tag, task)).collect()));
    }

    pub(crate) fn lose(&self, tag: u64) {
        self.with(|state| state.lost.insert(DeliveryTag(tag)));
        self.say(Event::Lost(vec![DeliveryTag(tag)]));
    }

    /// The next cycle that was stored.
    pub(crate) fn next(&self) -> Cycle {
        self.stored.recv_timeout(LONG).expect("a cycle should have been stored")
    }

    /// No cycle is stored for a while.
    pub(crate) fn is_quiet(&self, time: Duration) -> bool {
        self.stored.recv_timeout(time).is_err()
    }

    /// Cycles until `count` ends have been stored: the ends, and the results that belong to none.
    pub(crate) fn ends(&self, count: usize) -> (Vec<End>, Vec<ResultWrite>) {
        let (mut ends, mut results) = (Vec::new(), Vec::new());
        while ends.len() < count {
            let cycle = self.next();
            ends.extend(cycle.ends);
            results.extend(cycle.results);
        }
        (ends, results)
    }

    fn answer(&self, cycle: Cycle) {
        let error = self.with(|state| (!state.failures.is_empty()).then(|| state.failures.remove(0)));
        if let Some(error) = error {
            return self.say(Event::Failed { cycle, error });
        }
        let lost =
            self.with(|state| cycle.ends.iter().map(|end| end.tag).filter(|tag| state.lost.contains(tag)).collect());
        let id = cycle.id;
        self.store.send(cycle).unwrap();
        self.say(Event::Cycled { id, lost, refused: Vec::new() });
    }

    /// Answers what `hold` kept.
    pub(crate) fn release(&self) {
        let kept = self.with(|state| {
            state.hold = false;
            std::mem::take(&mut state.kept)
        });
        for cycle in kept {
            self.answer(cycle);
        }
    }
}

impl Consumer for Scripted {
    fn start(&mut self, _queues: Vec<QueueSpec>, sink: EventSink) -> Result<(), TransportError> {
        self.0.with(|state| state.sink = Some(sink));
        Ok(())
    }

    fn submit(&self, cycle: Cycle) {
        let kept = self.0.with(|state| state.hold);
        if kept {
            self.0.with(|state| state.kept.push(cycle));
        } else {
            self.0.answer(cycle);
        }
    }

    fn set_consuming(&self, _queue: QueueSpec, _on: bool) {}

    fn stop(&self) {
        self.0.with(|state| state.stopped = true);
        self.0.say(Event::Stopped);
    }

    fn join(&mut self) {}
}

pub(crate) fn delivery(tag: u64, task: &str) -> Delivery {
    let raw = format!(
        r#"{{"body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "content-type": "application/json", "headers": {{"lang": "py", "task": "{task}", "id": "id-{tag}", "eta": null, "expires": null, "retries": 0}}, "properties": {{"delivery_info": {{"exchange": "", "routing_key": "celery"}}, "priority": 0, "body_encoding": "base64", "delivery_tag": "d"}}}}"#
    );
    Delivery {
        tag: DeliveryTag(tag),
        queue: "celery".into(),
        redelivered: false,
        crashes: 0,
        message: Message::scan(Bytes::from(raw)),
    }
}

/// A started hub on a scripted broker. Tasks: `early`, `late`, `careful` (late, again when its child dies).
pub(crate) fn start(children: usize) -> (Broker, Hub) {
    start_with(children, Prefetch::Fixed(1_000))
}

pub(crate) fn start_with(children: usize, prefetch: Prefetch) -> (Broker, Hub) {
    let (broker, config) = scripted(children, prefetch);
    let hub = Hub::new(broker.consumer(), config);
    hub.start().unwrap();
    (broker, hub)
}

/// A broker and what a hub needs to know beside it.
pub(crate) fn scripted(children: usize, prefetch: Prefetch) -> (Broker, HubConfig) {
    let early = TaskPolicy::default();
    let late = TaskPolicy { acks_late: true, ..early };
    let careful = TaskPolicy { reject_on_worker_lost: true, ..late };
    let tasks = [("early", early), ("late", late), ("careful", careful)];
    let engine = EngineConfig {
        children,
        prefetch,
        tasks: tasks.map(|(name, policy)| (name.to_owned(), policy)).into(),
        ..EngineConfig::default()
    };
    let kinds = [NoticeKind::Log, NoticeKind::Down, NoticeKind::Up, NoticeKind::Dead];
    let notify = kinds.into_iter().fold(Kinds::FEWEST, Kinds::with);
    (Broker::new(), HubConfig { engine, queues: Vec::new(), notify })
}

/// The next job of a child.
pub(crate) fn batch(port: &Port) -> Vec<Job> {
    match port.wait_next(LONG) {
        Next::Batch(jobs) => jobs,
        other => panic!("no jobs came: {other:?}"),
    }
}

pub(crate) fn result(tag: u64) -> ResultWrite {
    ResultWrite { key: format!("id-{tag}").into(), value: Bytes::from_static(b"{}"), expires_ms: None, success: true }
}

pub(crate) fn succeed(job: &Job) -> bool {
    let tag = job.delivery().tag.0;
    job.finish(celeriac_engine::Outcome::Success, vec![result(tag)], Vec::new(), None)
}

#[expect(clippy::needless_pass_by_value, reason = "its port goes down when it returns")]
/// Runs everything that comes until the pool must end; returns the tags it ran.
pub(crate) fn run_all(port: Port) -> Vec<u64> {
    let mut ran = Vec::new();
    loop {
        match port.wait_next(LONG) {
            Next::Batch(jobs) => {
                for job in jobs {
                    if job.start() {
                        ran.push(job.delivery().tag.0);
                        assert!(succeed(&job));
                    }
                }
            }
            Next::Nothing => panic!("the hub neither gave work nor ended"),
            Next::End => return ran,
        }
    }
}

/// Waits for the hub's last word: why it ended.
pub(crate) fn stopped(hub: &Hub) -> Option<String> {
    assert!(hub.join(LONG), "the hub has not ended: {:?}", hub.stats());
    let said = hub.notices(Duration::ZERO).into_iter().find_map(|notice| match notice {
        Notice::Stopped(why) => Some(why),
        _ => None,
    });
    said.expect("a stopped hub says so")
}
