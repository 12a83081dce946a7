//! Random schedules against a model of broker, children and time. See the invariants in `engine/mod.rs`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a model that is wrong should say where")]

mod support;

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use celeriac_engine::window::Prefetch;
use celeriac_engine::{
    Assignment, Cycle, Engine, EngineConfig, Failure, Loss, Now, Outcome, Report, Stopping, TaskPolicy, Verdict, Work,
};
use celeriac_protocol::{Delivery, DeliveryTag, Publication, ResultWrite, Settlement};
use proptest::prelude::*;
use support::{DAY_MS, Spec, delivery, iso};

const CHILDREN: usize = 3;
const PREFETCH: usize = 7;

#[derive(Debug, Clone)]
enum Op {
    Publish(u8),
    HandOver,
    Hear,
    Start(usize),
    Finish(usize, u8),
    Look(usize),
    Die(usize),
    Rise(usize),
    Store,
    Fail { refused: bool },
    LoseLease(u8),
    Progress(usize),
    Revoke(u8),
    Down,
    Up,
    Pass(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u8..16).prop_map(Op::Publish),
        6 => Just(Op::HandOver),
        8 => Just(Op::Hear),
        8 => (0..CHILDREN).prop_map(Op::Start),
        8 => (0..CHILDREN, 0u8..7).prop_map(|(child, outcome)| Op::Finish(child, outcome)),
        4 => (0..CHILDREN).prop_map(Op::Look),
        1 => (0..CHILDREN).prop_map(Op::Die),
        2 => (0..CHILDREN).prop_map(Op::Rise),
        8 => Just(Op::Store),
        2 => any::<bool>().prop_map(|refused| Op::Fail { refused }),
        1 => any::<u8>().prop_map(Op::LoseLease),
        1 => (0..CHILDREN).prop_map(Op::Progress),
        1 => any::<u8>().prop_map(Op::Revoke),
        1 => Just(Op::Down),
        2 => Just(Op::Up),
        4 => (1u16..3000).prop_map(Op::Pass),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Queued,
    Held,
    Acked,
    Parked,
    Dead,
}

const SOFT_US: u64 = 20_000;
const HARD_US: u64 = 50_000;
const BUDGET: u64 = 5;

#[derive(Default)]
struct Child {
    up: bool,
    queued: VecDeque<(DeliveryTag, String)>,
    running: Option<(DeliveryTag, String, u64)>,
    /// Tasks that it may still be given.
    budget: Option<u64>,
    interrupted: HashSet<DeliveryTag>,
}

impl Child {
    fn is_idle(&self) -> bool {
        self.running.is_none() && self.queued.is_empty()
    }

    fn start(&mut self, now: Now) {
        if self.running.is_none() {
            self.running = self.queued.pop_front().map(|(tag, id)| (tag, id, now.mono_us));
        }
    }
}

struct World {
    engine: Engine,
    now: Now,
    children: Vec<Child>,
    messages: Vec<(Bytes, Fate)>,
    queue: VecDeque<usize>,
    held: HashMap<DeliveryTag, usize>,
    /// Handed over, not heard of by the engine yet.
    on_the_way: VecDeque<Delivery>,
    next_tag: u64,
    handed: u64,
    credit_total: u64,
    under_way: Option<Cycle>,
    lost_and_told: HashSet<DeliveryTag>,
    settled: HashSet<DeliveryTag>,
    /// Named as begun in a cycle that was stored.
    begun: HashSet<DeliveryTag>,
    /// Given to a child after that.
    careful: HashSet<DeliveryTag>,
    /// Messages that were handed over before.
    known: HashSet<usize>,
    stored: HashMap<String, u32>,
    published: u32,
    followed: u32,
    down: bool,
    most: usize,
}

fn config(prefetch: Prefetch, limits: bool) -> EngineConfig {
    let early = TaskPolicy::default();
    let late = TaskPolicy { acks_late: true, reject_on_worker_lost: true, ..early };
    let strict = TaskPolicy { acks_late: true, acks_on_failure: false, ..early };
    let strict = TaskPolicy { soft_limit_us: Some(SOFT_US), hard_limit_us: Some(HARD_US), ..strict };
    EngineConfig {
        children: CHILDREN,
        prefetch,
        tasks: [("early", early), ("late", late), ("strict", strict)].map(|(name, task)| (name.into(), task)).into(),
        max_message_bytes: 2_000,
        limits,
        ..EngineConfig::default()
    }
}

impl World {
    /// `limits`: children are processes.
    fn new(prefetch: Prefetch, limits: bool) -> Self {
        let mut engine = Engine::new(&config(prefetch, limits));
        let mut children: Vec<Child> = (0..CHILDREN).map(|_| Child::default()).collect();
        engine.child_up(0);
        children[0].up = true;
        Self {
            engine,
            now: Now { mono_us: 0, wall_ms: DAY_MS },
            children,
            messages: Vec::new(),
            queue: VecDeque::new(),
            held: HashMap::new(),
            on_the_way: VecDeque::new(),
            next_tag: 1,
            handed: 0,
            credit_total: 0,
            under_way: None,
            lost_and_told: HashSet::new(),
            settled: HashSet::new(),
            begun: HashSet::new(),
            careful: HashSet::new(),
            known: HashSet::new(),
            stored: HashMap::new(),
            published: 0,
            followed: 0,
            down: false,
            most: if prefetch == Prefetch::Fixed(PREFETCH) { PREFETCH } else { usize::MAX },
        }
    }

    fn publish(&mut self, kind: u8) {
        let number = self.messages.len();
        let task = ["early", "late", "strict"][number % 3];
        let mut spec = Spec::new(format!("id-{number}"), task);
        spec.priority = kind % 10;
        let raw = match kind {
            10 => Bytes::from_static(b"{\"not\": \"a task\"}"),
            11 => Spec { task: "nobody.knows".into(), ..spec }.envelope(),
            12 => Spec { content_type: "application/x-python-serialize".into(), ..spec }.envelope(),
            13 => Spec { eta: Some(iso(self.now.wall_ms + 400)), ..spec }.envelope(),
            14 => Spec { eta: Some(iso(self.now.wall_ms + 900_000)), ..spec }.envelope(),
            15 => Spec { expires: Some(iso(self.now.wall_ms + 300)), ..spec }.envelope(),
            _ => spec.envelope(),
        };
        self.messages.push((raw, Fate::Queued));
        self.queue.push_back(number);
    }

    fn hand_over(&mut self) {
        if self.handed >= self.credit_total {
            return;
        }
        let Some(message) = self.queue.pop_front() else { return };
        let tag = self.next_tag;
        self.next_tag += 1;
        self.handed += 1;
        self.held.insert(DeliveryTag(tag), message);
        self.messages[message].1 = Fate::Held;
        let redelivered = !self.known.insert(message);
        self.on_the_way.push_back(delivery(tag, self.messages[message].0.clone(), redelivered, 0));
    }

    fn hear(&mut self) {
        if let Some(delivery) = self.on_the_way.pop_front() {
            self.engine.deliveries(vec![delivery], self.now);
        }
    }

    /// What the hub does after each event.
    fn turn(&mut self) -> Result<(), TestCaseError> {
        self.engine.tick(self.now);
        self.engine.dispatch(self.now);
        self.work()?;
        self.engine.dispatch(self.now);
        self.work()?;
        if let Some(cycle) = self.engine.next_cycle(self.now) {
            prop_assert!(self.under_way.is_none(), "one cycle at a time");
            prop_assert!(!self.down, "nothing is submitted while the broker is away");
            for end in &cycle.ends {
                prop_assert!(!self.settled.contains(&end.tag), "{:?} is settled twice", end.tag);
                prop_assert!(!self.lost_and_told.contains(&end.tag), "{:?} was lost", end.tag);
            }
            self.under_way = Some(cycle);
        }
        let mine = self.held.keys().filter(|tag| !self.lost_and_told.contains(tag)).count();
        prop_assert!(mine <= self.most, "{mine} held with a prefetch of {}", self.most);
        self.engine.take_notices();
        Ok(())
    }

    fn work(&mut self) -> Result<(), TestCaseError> {
        while let Some(work) = self.engine.next_work() {
            match work {
                Work::Dispatch { child, batch } => {
                    prop_assert!(self.children[child].up);
                    prop_assert!(!batch.is_empty() && batch.len() <= 64);
                    let careful = |one: &Assignment| one.delivery.redelivered && one.verdict == Verdict::Run;
                    if batch.iter().any(careful) {
                        let state = &self.children[child];
                        let idle = state.queued.is_empty() && state.running.is_none();
                        prop_assert!(idle && batch.len() == 1, "a careful start is alone");
                        let tag = batch[0].delivery.tag;
                        prop_assert!(self.begun.contains(&tag), "{tag:?} begins before that is stored");
                        prop_assert!(!self.lost_and_told.contains(&tag), "{tag:?} was lost");
                    }
                    let in_hand = self.children[child].running.iter().map(|(tag, ..)| tag);
                    let in_hand: Vec<_> =
                        in_hand.chain(self.children[child].queued.iter().map(|(tag, _)| tag)).collect();
                    prop_assert!(
                        !in_hand.iter().any(|tag| self.careful.contains(tag)),
                        "nothing is queued behind a careful start"
                    );
                    for one in &batch {
                        // Its child may have died: what tells of that is no careful start any more.
                        let tag = one.delivery.tag;
                        if careful(one) {
                            self.careful.insert(tag)
                        } else {
                            self.careful.remove(&tag)
                        };
                    }
                    if let Some(budget) = &mut self.children[child].budget {
                        let given = batch.len() as u64;
                        prop_assert!(given <= *budget, "{given} tasks for a child that may have {budget}");
                        *budget -= given;
                    }
                    for one in batch {
                        let id = one.delivery.message.head.as_ref().map(|head| one.delivery.message.text(&head.id));
                        let id = id.expect("only readable messages are dispatched").to_owned();
                        self.children[child].queued.push_back((one.delivery.tag, id));
                    }
                }
                Work::Interrupt { child, tag } => {
                    let state = &mut self.children[child];
                    let run = state.running.as_ref().map(|(of, _, since)| (*of, self.now.mono_us - since));
                    prop_assert!(run.is_some_and(|(of, run_us)| of == tag && run_us >= SOFT_US), "{run:?}");
                    prop_assert!(state.interrupted.insert(tag), "{tag:?} is interrupted twice");
                }
                Work::Kill { child, tag, limit } => {
                    let run =
                        self.children[child].running.as_ref().map(|(of, _, since)| (*of, self.now.mono_us - since));
                    prop_assert!(run.is_some_and(|(of, run_us)| of == tag && run_us >= HARD_US), "{run:?}");
                    self.die(child, &Loss::TimeLimit(limit));
                }
                Work::Retire { child } => {
                    prop_assert_eq!(self.children[child].budget, Some(0));
                    self.children[child].up = false;
                }
                Work::Recall { child } => {
                    let tags: Vec<_> = self.children[child].queued.drain(..).map(|(tag, _)| tag).collect();
                    if let Some(budget) = &mut self.children[child].budget {
                        *budget += tags.len() as u64;
                    }
                    self.engine.recalled(child, tags, self.now);
                }
            }
        }
        Ok(())
    }

    fn die(&mut self, child: usize, loss: &Loss) {
        let state = std::mem::take(&mut self.children[child]);
        self.engine.child_lost(child, state.running.map(|(tag, ..)| tag), loss, self.now);
    }

    fn finish(&mut self, child: usize, outcome: u8) {
        let Some((tag, id, since)) = self.children[child].running.take() else { return };
        let outcome = Outcome::ALL[usize::from(outcome)];
        let publish = matches!(outcome, Outcome::Retry).then(|| Publication {
            exchange: "".into(),
            routing_key: "celery".into(),
            priority: 0,
            due_ms: None,
            payload: Bytes::from_static(b"again"),
        });
        self.published += u32::from(publish.is_some());
        let report = Report {
            tag,
            outcome,
            results: vec![write(&id)],
            publish: publish.into_iter().collect(),
            detail: None,
            run_ns: Some((self.now.mono_us - since) * 1000),
        };
        self.engine.outcome(child, report, self.now);
    }

    fn store(&mut self) -> Result<(), TestCaseError> {
        let Some(cycle) = self.under_way.take() else { return Ok(()) };
        let mut lost = Vec::new();
        self.credit_total = cycle.credit_total;
        for write in &cycle.results {
            *self.stored.entry(write.key.to_string()).or_default() += 1;
        }
        self.followed += u32::try_from(cycle.publish.len()).unwrap();
        for tag in &cycle.started {
            prop_assert!(!self.settled.contains(tag), "{tag:?} has begun and is settled");
            self.begun.insert(*tag);
        }
        for end in cycle.ends {
            let Some(message) = self.held.remove(&end.tag) else {
                lost.push(end.tag);
                continue;
            };
            prop_assert!(self.settled.insert(end.tag));
            let fate = match end.settlement {
                Settlement::Ack => Fate::Acked,
                Settlement::Requeue { front: true, .. } => {
                    self.queue.push_front(message);
                    Fate::Queued
                }
                Settlement::Requeue { .. } => {
                    self.queue.push_back(message);
                    Fate::Queued
                }
                Settlement::Park { .. } => Fate::Parked,
                Settlement::Dead { .. } => Fate::Dead,
            };
            self.messages[message].1 = fate;
            self.followed += u32::try_from(end.publish.len()).unwrap();
            for write in end.results {
                *self.stored.entry(write.key.to_string()).or_default() += 1;
            }
        }
        self.engine.cycled(cycle.id, &lost, []);
        Ok(())
    }

    fn fail(&mut self, refused: bool) {
        if let Some(cycle) = self.under_way.take() {
            // A broker refuses what is to be stored, not a settlement as such.
            let stores = cycle.ends.iter().any(|end| !end.results.is_empty() || !end.publish.is_empty());
            let refused = refused && (stores || !cycle.results.is_empty() || !cycle.publish.is_empty());
            let failure = if refused { Failure::Refused } else { Failure::Transient };
            self.engine.failed(cycle, failure, "the disk is full", self.now).expect("not fatal");
        }
    }

    fn lose_lease(&mut self, pick: u8) {
        // Only of what the engine has heard of; the transport's events come in order.
        let waiting: HashSet<_> = self.on_the_way.iter().map(|delivery| delivery.tag).collect();
        let mut tags: Vec<_> = self.held.keys().copied().filter(|tag| !waiting.contains(tag)).collect();
        tags.sort_unstable();
        if tags.is_empty() {
            return;
        }
        let tag = tags[usize::from(pick) % tags.len()];
        let message = self.held.remove(&tag).unwrap();
        self.messages[message].1 = Fate::Queued;
        self.queue.push_back(message);
        self.engine.lost(&[tag], self.now);
        self.lost_and_told.insert(tag);
    }

    fn apply(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::Publish(kind) => self.publish(kind),
            Op::HandOver => self.hand_over(),
            Op::Hear => self.hear(),
            Op::Start(child) => self.children[child].start(self.now),
            Op::Finish(child, outcome) => self.finish(child, outcome),
            Op::Look(child) => {
                let running = self.children[child].running.as_ref().map(|(tag, _, since)| (*tag, *since));
                self.engine.looked(child, running, self.now);
            }
            Op::Die(child) => self.die(child, &Loss::Died("signal 9".to_owned())),
            Op::Rise(child) => {
                let state = &mut self.children[child];
                // A successor has another place, or comes when the one before has ended.
                if !state.up && state.is_idle() && self.engine.stopping() == Stopping::No {
                    state.up = true;
                    state.budget = (child == 1).then_some(BUDGET);
                    self.engine.child_up_for(child, state.budget);
                }
            }
            Op::Store => self.store()?,
            Op::Fail { refused } => self.fail(refused),
            Op::LoseLease(pick) => self.lose_lease(pick),
            Op::Progress(child) => {
                if let Some((tag, id, _)) = &self.children[child].running {
                    self.engine.progress(*tag, vec![write(id)]);
                }
            }
            Op::Revoke(number) => self.engine.revoke([format!("id-{number}").as_str()], self.now),
            Op::Down => {
                self.down = true;
                self.engine.down();
            }
            Op::Up => {
                self.down = false;
                self.engine.up();
            }
            Op::Pass(ms) => {
                self.now.mono_us += u64::from(ms) * 1000;
                self.now.wall_ms += i64::from(ms);
            }
        }
        self.turn()
    }

    /// Warm: children go on until they have nothing, or die; then everything must be settled. Of those that are started to
    /// tell, `tellers` may die; then no more are.
    fn drain(&mut self, how: Stopping, deadly: bool, mut tellers: u8) -> Result<(), TestCaseError> {
        self.engine.up();
        self.down = false;
        self.engine.stop(how, self.now);
        self.children.iter_mut().for_each(|child| child.up = false);
        self.turn()?;
        for child in 0..CHILDREN {
            if deadly && how == Stopping::Warm {
                self.die(child, &Loss::Died("signal 9".to_owned()));
            }
        }
        for _ in 0..2_000 {
            if self.engine.has_to_tell() && self.children.iter().all(|child| !child.up) {
                if tellers == 0 {
                    self.engine.leave_untold(self.now);
                } else if let Some(child) = (0..CHILDREN).find(|child| self.children[*child].is_idle()) {
                    tellers -= 1;
                    self.die(child, &Loss::Died("exit code 0".to_owned())); // another process takes its place
                    self.children[child].up = true;
                    self.engine.child_up(child);
                    self.turn()?;
                    if deadly && tellers % 2 == 1 {
                        self.children[child].start(self.now);
                        self.die(child, &Loss::Died("signal 9".to_owned()));
                    }
                }
            }
            if self.engine.is_drained() {
                break;
            }
            self.hear();
            for child in 0..CHILDREN {
                if how == Stopping::Warm {
                    self.finish(child, 0);
                    self.children[child].start(self.now);
                }
            }
            self.now.mono_us += 10_000;
            self.now.wall_ms += 10;
            self.turn()?;
            self.store()?;
            self.turn()?;
        }
        prop_assert!(self.engine.is_drained(), "{:?}", self.engine.stats());
        // Deliveries that were on the way go back as well.
        while !self.on_the_way.is_empty() {
            self.hear();
            self.turn()?;
        }
        for _ in 0..50 {
            self.store()?;
            self.turn()?;
        }
        prop_assert!(self.held.is_empty(), "held after a stop: {:?}", self.held);
        prop_assert!(self.messages.iter().all(|(_, fate)| *fate != Fate::Held));
        prop_assert_eq!(self.engine.stats().held, 0);
        Ok(())
    }
}

fn write(id: &str) -> ResultWrite {
    ResultWrite { key: id.into(), value: Bytes::from_static(b"{}"), expires_ms: None, success: true }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_delivery_is_settled_once_and_none_is_forgotten(
        ops in prop::collection::vec(op(), 0..400),
        cold in any::<bool>(),
        deadly in any::<bool>(),
        tellers in 0u8..4,
        limits in any::<bool>(),
        adaptive in any::<bool>(),
    ) {
        let mut world = World::new(if adaptive { Prefetch::Adaptive } else { Prefetch::Fixed(PREFETCH) }, limits);
        world.turn()?;
        for op in &ops {
            world.apply(op)?;
        }
        world.drain(if cold { Stopping::Cold } else { Stopping::Warm }, deadly, tellers)?;
    }

    /// Without faults, every task ends exactly once: one result each, and one continuation for each retry.
    #[test]
    fn without_faults_each_task_has_one_result(
        ops in prop::collection::vec(op(), 0..400),
        adaptive in any::<bool>(),
    ) {
        let mut world = World::new(if adaptive { Prefetch::Adaptive } else { Prefetch::Fixed(PREFETCH) }, true);
        world.turn()?;
        let calm = |op: &Op| !matches!(
            op,
            Op::Die(_) | Op::LoseLease(_) | Op::Progress(_) | Op::Fail { refused: true } | Op::Finish(_, 4..)
        );
        for op in ops.iter().filter(|op| calm(op)) {
            match op {
                Op::Publish(10..) => world.publish(0),
                other => world.apply(other)?,
            }
        }
        world.apply(&Op::Up)?;
        for _ in 0..5_000 {
            if world.queue.is_empty() && world.held.is_empty() {
                break;
            }
            world.hand_over();
            world.hear();
            for child in 0..CHILDREN {
                world.apply(&Op::Rise(child))?; // one that was killed for its time limit, or has run its share
                world.apply(&Op::Start(child))?;
                world.apply(&Op::Finish(child, 0))?;
            }
            world.apply(&Op::Look(0))?;
            world.apply(&Op::Store)?;
            world.apply(&Op::Pass(7))?;
        }
        world.drain(Stopping::Warm, false, 3)?;
        prop_assert!(world.queue.is_empty(), "left: {:?}", world.queue);
        for (number, (_, fate)) in world.messages.iter().enumerate() {
            prop_assert!(matches!(fate, Fate::Acked | Fate::Dead), "{number}: {fate:?}");
            prop_assert_eq!(world.stored.get(&format!("id-{number}")).copied(), Some(1), "message {}", number);
        }
        prop_assert_eq!(world.published, world.followed);
    }
}
