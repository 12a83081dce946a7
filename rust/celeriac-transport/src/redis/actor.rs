//! The consumer's thread.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_protocol::{Delivery, DeliveryTag, Message};
use redis::Value;

use super::claim::{self, Answer, Request, Sizes, Sources, Taken};
use super::clock::wall_ms;
use super::ends::{self, Call, Part};
use super::fault::Fault;
use super::held::{Held, One};
use super::keys::Keys;
use super::line::{Line, array, bytes, int, text};
use super::pack::{Args, Pack};
use super::patch::tag as own_tag;
use super::script::{CLAIM, REFRESH};
use super::settings::Settings;
use super::waiter::{Waiter, Woken};
use super::watcher::{Watched, Watcher};
use super::{back, foreign, producer, route};
use crate::contract::{Cycle, Event, EventSink, QueueSpec, TransportError};

/// How often dead workers are looked for, and the queues without being told.
const TICK: Duration = Duration::from_secs(1);
/// Between two looks for old claims of other programs, at most.
const SWEEP: Duration = Duration::from_secs(10);
/// Longest pause between two attempts to connect; the first follows at once.
const MOST_PAUSE: Duration = Duration::from_secs(1);
/// Queues that have a connection of their own to wait for them; further ones are watched.
const MOST_WAITERS: usize = 8;
/// Tags in one call.
const CHUNK: usize = 1000;

/// What comes to the thread.
pub(crate) enum Mail {
    Cycle(Cycle),
    Consume(QueueSpec, bool),
    Stop,
    /// A waiter's answer.
    Woken(Woken),
    /// A list that nobody blocks on has changed.
    Changed,
    /// A broadcast.
    Heard {
        channel: Vec<u8>,
        payload: Vec<u8>,
    },
}

/// A cycle on its way.
struct Carry {
    cycle: Cycle,
    calls: VecDeque<Call>,
    lost: Vec<DeliveryTag>,
    /// Ends that are stored.
    done: Vec<DeliveryTag>,
    /// What belongs to no delivery is stored.
    free: bool,
    /// Bookkeeping that went along.
    emptied: usize,
    ended: usize,
}

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other, no state of a machine")]
pub(crate) struct Actor {
    settings: Arc<Settings>,
    keys: Keys,
    timeout: Duration,
    sink: EventSink,
    inbox: Receiver<Mail>,
    /// For the threads that wait for us.
    mail: Sender<Mail>,
    worker: String,
    line: Option<Line>,
    /// The last connection, to be closed by the server before we go on: what it still had under way must not come later.
    old_client: i64,
    specs: Vec<QueueSpec>,
    /// Fanout exchanges whose messages the hub wants as they are.
    broadcasts: Vec<QueueSpec>,
    /// The server does not know `specs` yet.
    stale: bool,
    /// A queue that cannot be consumed is the caller's error; later it is left out with a notice.
    starting: bool,
    sources: Sources,
    sizes: Sizes,
    /// Where the next claim begins among the queues.
    turn: usize,
    held: Held,
    /// Stored although their cycle failed: a later cycle that brings them again is told that they are done.
    settled: HashSet<DeliveryTag>,
    credit_total: u64,
    handed: u64,
    /// There may be messages to take.
    hungry: bool,
    due_ms: Option<i64>,
    /// Messages whose crashes are not looked up yet.
    arrived: Vec<Taken>,
    /// Claims of ours may be unknown to us: their answer was lost.
    recover: bool,
    waiters: Vec<Waiter>,
    watcher: Option<Watcher>,
    sequence: u64,
    /// The cycle that was under way when the connection broke.
    carry: Option<Carry>,
    down: bool,
    /// The clock's difference was told.
    skewed: bool,
    retry_at: Instant,
    pause: Duration,
    renewed: Instant,
    looked: Instant,
    refreshed: Instant,
    swept: Option<Instant>,
}

impl Actor {
    pub(crate) fn new(
        settings: Settings,
        timeout: Duration,
        specs: Vec<QueueSpec>,
        sink: EventSink,
        inbox: Receiver<Mail>,
        mail: Sender<Mail>,
    ) -> Self {
        let now = Instant::now();
        let mut actor = Self {
            keys: Keys::new(&settings),
            timeout: settings.socket_timeout.map_or(timeout, |socket| socket.min(timeout)),
            settings: Arc::new(settings),
            sink,
            inbox,
            mail,
            worker: celeriac_protocol::uuid::uuid7(wall_ms().unsigned_abs()).unwrap_or_else(|_| format!("{now:?}")),
            line: None,
            old_client: 0,
            specs: Vec::new(),
            broadcasts: Vec::new(),
            stale: true,
            starting: true,
            sources: Sources::default(),
            sizes: Sizes::default(),
            turn: 0,
            held: Held::default(),
            settled: HashSet::new(),
            credit_total: 0,
            handed: 0,
            hungry: true,
            due_ms: None,
            arrived: Vec::new(),
            recover: false,
            waiters: Vec::new(),
            watcher: None,
            sequence: 0,
            carry: None,
            down: false,
            skewed: false,
            retry_at: now,
            pause: Duration::ZERO,
            renewed: now,
            looked: now,
            refreshed: now,
            swept: None,
        };
        for spec in specs {
            actor.consume(spec, true);
        }
        actor
    }

    /// Connects for the first time. A broker that is away is no error here.
    pub(crate) fn open(&mut self) -> Result<(), TransportError> {
        match self.connect() {
            Err(Fault::Ours(error)) if !error.is_transient() => Err(error),
            Err(fault) => {
                self.broke(fault);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    pub(crate) fn run(mut self) {
        self.starting = false;
        let mut stop = false;
        while !stop {
            let mut cycles = VecDeque::new();
            stop = self.read(&mut cycles);
            if self.line.is_none() && (self.retry_at <= Instant::now() || stop) {
                if let Err(fault) = self.connect() {
                    self.broke(fault);
                }
            }
            while let Some(cycle) = cycles.pop_front() {
                self.carry_out(cycle, cycles.is_empty() && !stop);
            }
            if !stop {
                self.go_on();
            }
        }
        self.close();
        (self.sink)(Event::Stopped);
    }

    /// Waits for mail and takes all that there is. True if we are to stop.
    fn read(&mut self, cycles: &mut VecDeque<Cycle>) -> bool {
        let mut next = match self.inbox.recv_timeout(self.patience()) {
            Ok(mail) => Some(mail),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return true,
        };
        let mut stop = false;
        while let Some(mail) = next {
            match mail {
                Mail::Cycle(cycle) => cycles.push_back(cycle),
                Mail::Consume(spec, on) => self.consume(spec, on),
                Mail::Stop => stop = true,
                Mail::Woken(woken) => self.woken(woken),
                Mail::Changed => self.hungry = true,
                Mail::Heard { channel, payload } => self.heard(&channel, payload),
            }
            next = self.inbox.try_recv().ok();
        }
        stop
    }

    /// How long there is nothing to do unless mail comes.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        if self.line.is_none() {
            return self.retry_at.saturating_duration_since(now);
        }
        if self.stale || (self.hungry && self.credit() > 0) {
            return Duration::ZERO;
        }
        let mut wait = self.tick().saturating_sub(self.looked.elapsed());
        if let Some(due) = self.due_ms.filter(|_| self.credit() > 0) {
            wait = wait.min(Duration::from_millis(u64::try_from(due - wall_ms()).unwrap_or(0)));
        }
        wait
    }

    fn tick(&self) -> Duration {
        TICK.min(self.settings.lease / 3)
    }

    fn credit(&self) -> usize {
        usize::try_from(self.credit_total.saturating_sub(self.handed)).unwrap_or(usize::MAX)
    }

    // --- queues ---------------------------------------------------------------------------------------------------

    fn consume(&mut self, spec: QueueSpec, on: bool) {
        self.stale = true;
        let list = if spec.name.is_empty() && spec.exchange_type == "fanout" {
            self.broadcasts.retain(|known| known.exchange != spec.exchange || known.routing_key != spec.routing_key);
            &mut self.broadcasts
        } else {
            self.specs.retain(|known| known.name != spec.name);
            &mut self.specs
        };
        if on {
            list.push(spec);
            self.hungry = true;
        }
    }

    /// Makes the queues known, and the lists to take from.
    fn declare(&mut self) -> Result<(), Fault> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let mut refused = Vec::new();
        for spec in self.specs.iter().chain(&self.broadcasts) {
            match route::declare(line, &self.keys, spec) {
                // Else no cycle would be carried out any more.
                Err(Fault::Ours(TransportError::Refused(why))) if !self.starting => {
                    refused.push((spec.name.clone(), why));
                }
                made => made?,
            }
        }
        for (name, why) in refused {
            self.specs.retain(|spec| spec.name != name);
            (self.sink)(Event::Notice(format!("queue '{name}' is not consumed: {why}")));
        }
        self.stale = false;
        let queues: Vec<String> = self.specs.iter().map(|spec| spec.name.clone()).collect();
        if self.sources.queues() != queues || self.waiters.is_empty() {
            self.arrange(&queues)?;
        }
        Ok(())
    }

    /// Makes the waiters and the watcher those of `queues`.
    fn arrange(&mut self, queues: &[String]) -> Result<(), Fault> {
        self.call_back(true)?;
        // What is still under way comes to the lists of before.
        self.await_waiters();
        let _ = self.settle_arrived();
        let before = std::mem::take(&mut self.waiters);
        self.sources = Sources::new(&self.keys, queues);
        self.hungry = true;
        let first = before.len();
        drop(before);
        let no_thread = |error: std::io::Error| Fault::Ours(TransportError::Unavailable(format!("no thread: {error}")));
        for (number, queue) in queues.iter().take(MOST_WAITERS).enumerate() {
            let list = self.keys.list(queue, 0);
            let inflight = self.keys.inflight(&self.worker, first + number);
            let waiter = Waiter::start(
                &self.settings,
                &self.keys,
                &self.worker,
                first + number,
                list.clone(),
                self.timeout,
                self.mail.clone(),
            );
            self.waiters.push(waiter.map_err(no_thread)?);
            self.sources.inflight.push((inflight, list));
        }
        let mut watched = Watched::default();
        for (at, queue) in queues.iter().enumerate() {
            let lists = self.keys.lists(queue);
            watched.lists.extend(lists.into_iter().skip(usize::from(at < MOST_WAITERS)));
            watched.sets.push(self.keys.parked(queue));
        }
        let fanout = self.specs.iter().filter(|spec| spec.exchange_type == "fanout").chain(&self.broadcasts);
        watched.patterns = fanout.map(|spec| route::subscription(&self.settings, spec)).collect();
        if self.watcher.as_ref().is_none_or(|watcher| watcher.watched != watched) {
            self.unwatch();
            let watcher = Watcher::start(&self.settings, watched, self.timeout, self.mail.clone());
            self.watcher = Some(watcher.map_err(no_thread)?);
        }
        Ok(())
    }

    fn unwatch(&mut self) {
        let Some(watcher) = self.watcher.take() else { return };
        let client = watcher.client();
        drop(watcher);
        if client != 0
            && let Some(line) = &mut self.line
        {
            let _ = line.call(Pack::default().words(&["CLIENT", "KILL", "ID", &client.to_string()]));
        }
    }

    fn heard(&mut self, channel: &[u8], payload: Vec<u8>) {
        let name = String::from_utf8_lossy(channel);
        let prefix = route::channel(&self.settings, "", "");
        let name = name.strip_prefix(&*String::from_utf8_lossy(&prefix)).unwrap_or(&name);
        let (exchange, routing_key) = name.split_once('/').unwrap_or((name, ""));
        if self.broadcasts.iter().any(|spec| spec.exchange == exchange) {
            let payload = Bytes::from(payload.clone());
            (self.sink)(Event::Broadcast { exchange: exchange.into(), routing_key: routing_key.into(), payload });
        }
        let queues = self.specs.iter().filter(|spec| spec.exchange_type == "fanout" && spec.exchange == exchange);
        for spec in queues {
            // From here on it is a message like any other.
            let Some(line) = &mut self.line else { return };
            let mut push = Args::new("LPUSH");
            push.add(self.keys.list(&spec.name, 0)).add(&payload);
            let _ = line.ask(&Pack::one(&push));
        }
    }

    // --- connection -----------------------------------------------------------------------------------------------

    fn connect(&mut self) -> Result<(), Fault> {
        let mut line = Line::open(&self.settings, Instant::now() + self.timeout)?;
        line.set_timeout(Some(self.timeout))?;
        check_version(&mut line)?;
        if self.old_client != 0 {
            line.call(Pack::default().words(&["CLIENT", "KILL", "ID", &self.old_client.to_string()]))?;
        }
        let (_, now_ms, _) = back::lease(&mut line, &self.keys, &self.worker, Some(self.settings.lease))?;
        self.old_client = line.id;
        self.line = Some(line);
        self.renewed = Instant::now();
        self.skew(now_ms);
        self.declare()?;
        if let Some(carry) = self.carry.take() {
            self.drive(carry, false);
        }
        self.verify()?;
        self.recover = true;
        self.hungry = true;
        self.pause = Duration::ZERO;
        if self.line.is_some() && std::mem::take(&mut self.down) {
            (self.sink)(Event::Up);
        }
        Ok(())
    }

    /// Peers compare the server's time with their own.
    fn skew(&mut self, server_ms: i64) {
        let skew = Duration::from_millis((server_ms - wall_ms()).unsigned_abs());
        if skew > self.settings.visibility / 10 && !std::mem::replace(&mut self.skewed, true) {
            let text = format!(
                "the clock of Redis and this machine's differ by {} s, more than a tenth of visibility_timeout: workers of \
                 Celery may take messages from others too early",
                skew.as_secs()
            );
            (self.sink)(Event::Notice(text));
        }
    }

    fn broke(&mut self, fault: Fault) {
        if let Some(line) = self.line.take() {
            self.old_client = line.id;
        }
        self.retry_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).clamp(Duration::from_millis(50), MOST_PAUSE);
        if !std::mem::replace(&mut self.down, true) {
            (self.sink)(Event::Down(fault.into_error()));
        }
    }

    // --- cycles ---------------------------------------------------------------------------------------------------

    fn carry_out(&mut self, cycle: Cycle, claim: bool) {
        let Some(line) = &mut self.line else {
            let text = format!("Redis at {} cannot be reached", self.settings.shown);
            (self.sink)(Event::Failed { cycle, error: TransportError::Unavailable(text) });
            return;
        };
        let settled = &self.settled;
        let made = ends::calls(
            line,
            &self.settings,
            &self.keys,
            &self.worker,
            &self.held,
            &cycle,
            &|tag| settled.contains(&tag),
            &mut self.sequence,
        );
        let unknown = |tag: &DeliveryTag| self.held.get(*tag).is_none() && !settled.contains(tag);
        let lost = cycle.ends.iter().map(|end| end.tag).filter(unknown).collect();
        let mut carry = Carry {
            cycle,
            calls: VecDeque::new(),
            lost,
            done: Vec::new(),
            free: false,
            emptied: self.held.emptied.len(),
            ended: self.held.ended.len(),
        };
        match made {
            Ok(calls) => {
                carry.calls = calls.into();
                self.drive(carry, claim);
            }
            Err(fault) => self.fail(carry, fault),
        }
    }

    /// Carries a cycle to its end, or to where the connection breaks. With `claim`, messages are taken in the same write.
    fn drive(&mut self, mut carry: Carry, claim: bool) {
        while let Some(call) = carry.calls.front() {
            if self.line.is_none() {
                self.carry = Some(carry);
                return;
            }
            let mut pack = Pack::default();
            call.push(&mut pack);
            let credit = carry.cycle.credit_total.saturating_sub(self.handed);
            let request = (claim && carry.calls.len() == 1 && credit > 0 && !self.waits() && !self.stale)
                .then(|| usize::try_from(credit).unwrap_or(usize::MAX))
                .map(|want| self.request(want, None));
            if let Some(request) = &request {
                pack.run(&CLAIM, &request.keys, &request.args);
            }
            let Some(line) = &mut self.line else { return };
            let mut replies = match line.call(&pack) {
                Ok(replies) => replies.into_iter(),
                Err(fault) => {
                    // It may be done or not; the same call on the next connection will tell.
                    self.carry = Some(carry);
                    self.broke(fault);
                    return;
                }
            };
            let reply = line.check(replies.next().unwrap_or_default());
            let claimed = replies.next().map(|reply| line.check(reply));
            match reply {
                Err(fault) => {
                    self.fail(carry, fault);
                    self.claimed(request, claimed);
                    return;
                }
                Ok(reply) => {
                    let done = ends::done(&text(&reply).unwrap_or_default());
                    let call = carry.calls.pop_front();
                    for (at, part) in call.iter().flat_map(|call| &call.parts).take(done.carried).enumerate() {
                        match part {
                            Part::Free => carry.free = true,
                            Part::End(tag) if done.lost.contains(&at) => carry.lost.push(*tag),
                            Part::End(tag) => carry.done.push(*tag),
                        }
                    }
                    if let Some(problem) = done.problem {
                        let fault = self.line.as_ref().map(|line| line.said(&problem));
                        self.fail(carry, fault.unwrap_or(Fault::Broken(problem)));
                        self.claimed(request, claimed);
                        return;
                    }
                }
            }
            if carry.calls.is_empty() {
                self.finish(carry);
                self.claimed(request, claimed);
                return;
            }
        }
        self.finish(carry);
    }

    fn claimed(&mut self, request: Option<Request>, reply: Option<Result<Value, Fault>>) {
        let (Some(request), Some(reply)) = (request, reply) else { return };
        match reply {
            Ok(reply) => self.took(reply, request.first, request.want),
            Err(fault) => self.broke(fault),
        }
        let _ = self.settle_arrived();
    }

    fn finish(&mut self, carry: Carry) {
        self.bookkeeping(&carry);
        for end in &carry.cycle.ends {
            self.held.remove(end.tag);
            self.settled.remove(&end.tag);
        }
        self.credit_total = carry.cycle.credit_total;
        (self.sink)(Event::Cycled { id: carry.cycle.id, lost: carry.lost });
    }

    /// What went along with a cycle is known to the server now.
    fn bookkeeping(&mut self, carry: &Carry) {
        if carry.free {
            self.held.emptied.drain(..carry.emptied);
            self.held.ended.drain(..carry.ended);
            for tag in &carry.cycle.started {
                self.held.start(*tag);
            }
        }
    }

    /// Gives a cycle back. What of it is stored is remembered.
    fn fail(&mut self, mut carry: Carry, fault: Fault) {
        self.bookkeeping(&carry);
        for tag in &carry.done {
            self.held.remove(*tag);
            self.settled.insert(*tag);
        }
        if carry.free {
            carry.cycle.results.clear();
            carry.cycle.publish.clear();
        }
        let error = fault.clone().into_error();
        if !matches!(error, TransportError::Refused(_)) {
            self.broke(fault);
        }
        (self.sink)(Event::Failed { cycle: carry.cycle, error });
    }

    // --- claims ---------------------------------------------------------------------------------------------------

    /// Whether a connection blocks for each list that can be blocked on: then there is nothing to claim.
    fn waits(&self) -> bool {
        !self.hungry && !self.waiters.is_empty() && self.waiters.iter().all(|waiter| waiter.armed.is_some())
    }

    fn request(&self, want: usize, only: Option<&str>) -> Request {
        let (turn, worker) = (self.turn, &self.worker);
        claim::request(&self.settings, &self.keys, &self.sources, &self.sizes, worker, want, turn, only)
    }

    fn took(&mut self, reply: Value, first: u64, want: usize) {
        let Answer { taken, more, due_ms } = claim::answer(reply, first, want, &self.sources, &mut self.sizes);
        self.hungry = more;
        self.due_ms = due_ms;
        // Only after a claim: with one that claims and one that does not by turns, the same queue would always be first.
        self.turn = self.turn.wrapping_add(usize::from(!taken.is_empty()));
        self.arrived.extend(taken);
    }

    fn woken(&mut self, woken: Woken) {
        let Woken { waiter, first, want, answer } = woken;
        let number = |at: &Waiter| at.number == waiter;
        if let Some(waiter) = self.waiters.iter_mut().find(|at| number(at)) {
            waiter.armed = None;
            waiter.called = false;
            if answer.is_err() {
                waiter.rest_until = Some(Instant::now() + Duration::from_millis(200));
            }
        }
        match answer {
            Ok(reply) => {
                let (hungry, due) = (self.hungry, self.due_ms);
                self.took(reply, first, want);
                self.hungry |= hungry;
                self.due_ms = self.due_ms.or(due);
            }
            Err(_) => self.recover = true,
        }
    }

    /// Hands over what has arrived, up to the credit; what is over it goes back.
    fn settle_arrived(&mut self) -> Result<(), Fault> {
        if self.arrived.is_empty() {
            return Ok(());
        }
        let Some(line) = &mut self.line else { return Ok(()) };
        let credit = usize::try_from(self.credit_total.saturating_sub(self.handed)).unwrap_or(usize::MAX);
        if self.arrived.len() > credit {
            let over = &self.arrived[credit..];
            back::untouched(line, &self.keys, &self.worker, over)?;
            self.arrived.truncate(credit);
        }
        let mut messages: Vec<(Taken, Message, Option<String>)> = Vec::with_capacity(self.arrived.len());
        for mut taken in std::mem::take(&mut self.arrived) {
            let message = Message::scan(Bytes::from(std::mem::take(&mut taken.payload)));
            let before = message.head.as_ref().is_ok_and(|head| head.redelivered);
            let key = if before { own_tag(&message.raw).map(|tag| self.keys.crashes(&tag)) } else { None };
            messages.push((taken, message, key));
        }
        let crashes = if messages.iter().any(|(_, _, key)| key.is_some()) {
            match back::known(line, messages.iter().map(|(_, _, key)| key.as_deref())) {
                Ok(crashes) => crashes,
                Err(fault) => {
                    self.arrived = messages
                        .into_iter()
                        .map(|(taken, message, _)| Taken { payload: message.raw.to_vec(), ..taken })
                        .collect();
                    return Err(fault);
                }
            }
        } else {
            vec![None; messages.len()]
        };
        let mut deliveries = Vec::with_capacity(messages.len());
        for ((taken, message, _), crashes) in messages.into_iter().zip(crashes) {
            let tag = DeliveryTag(taken.tag);
            deliveries.push(Delivery {
                tag,
                queue: Arc::clone(&taken.home.queue),
                redelivered: message.head.as_ref().is_ok_and(|head| head.redelivered),
                crashes: crashes.as_ref().map_or(0, |crashes| crashes.counted),
                message,
            });
            self.held.add(tag, One { batch: taken.batch, home: taken.home, started: false, crashes });
        }
        if !deliveries.is_empty() {
            self.handed += deliveries.len() as u64;
            (self.sink)(Event::Deliveries(deliveries));
        }
        Ok(())
    }

    /// Everything that nobody asks for: claims, waits, leases.
    fn go_on(&mut self) {
        if let Err(fault) = self.try_to_go_on() {
            self.broke(fault);
        }
    }

    fn try_to_go_on(&mut self) -> Result<(), Fault> {
        if self.line.is_none() {
            return Ok(());
        }
        if self.stale {
            self.declare()?;
        }
        self.settle_arrived()?;
        if self.looked.elapsed() >= self.tick() {
            self.look_around()?;
        }
        if self.recover {
            self.find_unknown()?;
        }
        self.hungry |= self.due_ms.is_some_and(|due| due <= wall_ms());
        if self.hungry && self.credit() > 0 {
            let request = self.request(self.credit(), None);
            let mut pack = Pack::default();
            pack.run(&CLAIM, &request.keys, &request.args);
            let Some(line) = &mut self.line else { return Ok(()) };
            match line.ask(&pack) {
                Ok(reply) => self.took(reply, request.first, request.want),
                Err(fault) => {
                    self.recover = true;
                    return Err(fault);
                }
            }
            self.settle_arrived()?;
        }
        if self.credit() == 0 {
            return self.call_back(false);
        }
        if !self.hungry {
            self.wait();
        }
        Ok(())
    }

    // --- waiting --------------------------------------------------------------------------------------------------

    fn wait(&mut self) {
        let now = Instant::now();
        let credit = self.credit();
        for at in 0..self.waiters.len() {
            if self.waiters[at].armed.is_some() || self.waiters[at].rest_until.is_some_and(|until| until > now) {
                continue;
            }
            let inflight = self.keys.inflight(&self.worker, self.waiters[at].number);
            let request = self.request(credit, Some(&inflight));
            self.waiters[at].rest_until = None;
            self.waiters[at].arm(request);
        }
    }

    /// Ends the waits: there is no credit for what they could bring. `all`: also those that were told already.
    fn call_back(&mut self, all: bool) -> Result<(), Fault> {
        let mut pack = Pack::default();
        let mut called = Vec::new();
        for (at, waiter) in self.waiters.iter_mut().enumerate() {
            if waiter.armed.is_some() && (all || !waiter.called) && waiter.client() != 0 {
                pack.words(&["CLIENT", "UNBLOCK", &waiter.client().to_string()]);
                called.push(at);
            }
        }
        let Some(line) = self.line.as_mut().filter(|_| !pack.is_empty()) else { return Ok(()) };
        for (at, reply) in called.into_iter().zip(line.call(&pack)?) {
            self.waiters[at].called = int(&reply) == Some(1);
        }
        Ok(())
    }

    /// Takes the answers of waiters that were called back. One that does not answer loses its connection.
    fn await_waiters(&mut self) {
        let deadline = Instant::now() + Duration::from_millis(500);
        let mut later = Vec::new();
        while self.waiters.iter().any(|waiter| waiter.armed.is_some()) {
            match self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Mail::Woken(woken)) => self.woken(woken),
                Ok(mail) => later.push(mail),
                Err(_) => break,
            }
        }
        for mail in later {
            drop(self.mail.send(mail));
        }
        let late: Vec<i64> = self.waiters.iter().filter(|waiter| waiter.armed.is_some()).map(Waiter::client).collect();
        if let Some(line) = &mut self.line {
            for client in late.into_iter().filter(|&client| client != 0) {
                let _ = line.call(Pack::default().words(&["CLIENT", "KILL", "ID", &client.to_string()]));
            }
        }
    }

    // --- leases ---------------------------------------------------------------------------------------------------

    fn look_around(&mut self) -> Result<(), Fault> {
        self.looked = Instant::now();
        let renew = self.renewed.elapsed() >= self.settings.lease / 3;
        let Some(line) = &mut self.line else { return Ok(()) };
        let (known, now_ms, gone) = back::lease(line, &self.keys, &self.worker, renew.then_some(self.settings.lease))?;
        if renew {
            self.renewed = Instant::now();
        }
        for worker in gone {
            let Some(line) = &mut self.line else { return Ok(()) };
            if let Some(count) = back::give_back(line, &self.keys, &worker, true)? {
                self.hungry = true;
                let text = format!("worker {worker} of this broker is gone: {count} of its messages were returned");
                (self.sink)(Event::Notice(text));
            }
        }
        if !known {
            // Others took us for dead.
            let Some(line) = &mut self.line else { return Ok(()) };
            back::lease(line, &self.keys, &self.worker, Some(self.settings.lease))?;
            self.renewed = Instant::now();
            self.verify()?;
        } else if self.refreshed.elapsed() >= self.settings.visibility / 3 {
            self.verify()?;
        }
        let pause = (self.settings.visibility / 3).clamp(Duration::from_millis(500), SWEEP);
        if self.swept.is_none_or(|swept| swept.elapsed() >= pause) {
            self.swept = Some(Instant::now());
            let Some(line) = &mut self.line else { return Ok(()) };
            let count = foreign::restore(line, &self.settings, &self.keys, now_ms)?;
            if count > 0 {
                let text = format!("{count} messages were restored that workers of Celery held for visibility_timeout");
                (self.sink)(Event::Notice(text));
            }
        }
        self.hungry = true;
        Ok(())
    }

    /// Moves the scores of all that we hold forward, and tells what is lost.
    fn verify(&mut self) -> Result<(), Fault> {
        self.refreshed = Instant::now();
        let tags = self.held.tags();
        let mut lost = Vec::new();
        for chunk in tags.chunks(CHUNK) {
            let mut places = Args::default();
            places.add(&self.keys.unacked_index);
            let mut args = Args::default();
            for tag in chunk {
                args.add(format!("{}:{}", self.worker, tag.0));
            }
            let Some(line) = &mut self.line else { return Ok(()) };
            let mut pack = Pack::default();
            let reply = line.ask(pack.run(&REFRESH, &places, &args))?;
            let reply = array(reply);
            let numbers = reply.iter().filter_map(int).filter_map(|number| usize::try_from(number - 1).ok());
            lost.extend(numbers.filter_map(|at| chunk.get(at).copied()));
        }
        if !lost.is_empty() {
            for tag in &lost {
                self.held.remove(*tag);
            }
            (self.sink)(Event::Lost(lost));
        }
        Ok(())
    }

    /// Puts back claims of ours whose answer never came.
    fn find_unknown(&mut self) -> Result<(), Fault> {
        let Some(line) = &mut self.line else { return Ok(()) };
        let mut pack = Pack::default();
        let batches = producer::fields(line.ask(pack.words(&["HGETALL", &self.keys.batches(&self.worker)]))?);
        let under_way = |number: u64| {
            self.waiters.iter().filter_map(|waiter| waiter.armed.as_ref()).any(|range| range.contains(&number))
        };
        for (first, batch) in batches {
            let (Ok(first), Some((count, list))) = (first.parse::<u64>(), super::depths::batch_of(&batch)) else {
                continue;
            };
            let Some(home) = self.sources.home(&list) else { continue };
            let unknown: Vec<u64> = (first..first + count)
                .filter(|&number| self.held.get(DeliveryTag(number)).is_none() && !under_way(number))
                .collect();
            let mut found = Vec::new();
            for chunk in unknown.chunks(64) {
                let mut get = Args::new("HMGET");
                get.add(&self.keys.unacked);
                for number in chunk {
                    get.add(format!("{}:{number}", self.worker));
                }
                for (&tag, record) in chunk.iter().zip(array(line.ask(&Pack::one(&get))?)) {
                    let Some(record) = bytes(record) else { continue };
                    let Some(raw) = ends::message_of(&record, home.tail.len()) else { continue };
                    found.push(Taken { tag, batch: first, home: Arc::clone(home), payload: raw.to_vec() });
                }
            }
            if !found.is_empty() {
                self.hungry = true;
                back::untouched(line, &self.keys, &self.worker, &found)?;
            }
        }
        self.recover = false;
        Ok(())
    }

    // --- the end --------------------------------------------------------------------------------------------------

    fn close(&mut self) {
        self.unwatch();
        let _ = self.call_back(true);
        self.await_waiters();
        if let Some(carry) = self.carry.take() {
            let text = format!("Redis at {} cannot be reached", self.settings.shown);
            (self.sink)(Event::Failed { cycle: carry.cycle, error: TransportError::Unavailable(text) });
        }
        if let Some(line) = &mut self.line {
            // If this fails, others do it when our lease is over.
            let _ = back::give_back(line, &self.keys, &self.worker, false);
        }
    }
}

fn check_version(line: &mut Line) -> Result<(), Fault> {
    let mut pack = Pack::default();
    // Who may not ask is served all the same.
    let Ok(info) = line.ask(pack.words(&["INFO", "server"])) else {
        return if line.is_sound() { Ok(()) } else { Err(Fault::Broken("the connection broke".to_owned())) };
    };
    let info = match info {
        Value::VerbatimString { text, .. } => text,
        other => text(&other).unwrap_or_default(),
    };
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).map(str::trim);
    let mut numbers = version.unwrap_or_default().split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if let (Some(version), Some(major), Some(minor)) = (version, numbers.next(), numbers.next())
        && (major, minor) < (6, 2)
    {
        return Err(Fault::Ours(TransportError::Config(format!(
            "Redis at {} is version {version}: 6.2 or later is needed",
            line.place()
        ))));
    }
    Ok(())
}
