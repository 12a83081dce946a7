//! The consumer's thread.

use std::collections::HashMap;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use celeriac_protocol::{Delivery, DeliveryTag, Message};

use super::claim::{Taken, any_ready, claim};
use super::connection::Db;
use super::consumer::Mailbox;
use super::enqueue::{Slot, publish};
use super::fault::Fault;
use super::machine::{ProcessId, wall_ms};
use super::notify::{Wakes, fresh_name, next_due};
use super::store::Store;
use super::{broadcasts, owners, records, route, settle};
use crate::contract::{Cycle, Event, EventSink, QueueSpec, TransportError};

/// How often dead workers are looked for, and the queues without being told.
const TICK: Duration = Duration::from_millis(400);
/// How often expired results are dropped, and how many at a time; once there are more, that many at every look.
const SWEEP: Duration = Duration::from_secs(30);
const SWEPT: i64 = 1000;
/// Most messages taken in one transaction: the lock is for others, too.
const MOST: usize = 256;

/// Tags are unique in the process, across consumers.
static LAST_TAG: AtomicU64 = AtomicU64::new(0);

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other, no state of a machine")]
pub(crate) struct Actor {
    store: &'static Store,
    sink: EventSink,
    mailbox: Arc<Mailbox>,
    own: ProcessId,
    lease: Duration,
    timeout: Duration,
    socket: Option<UnixDatagram>,
    address: String,
    /// Our row; 0 before the first.
    owner: i64,
    queues: Vec<QueueSpec>,
    /// Exchanges of which broadcasts are wanted.
    exchanges: Vec<String>,
    /// Ids of `queues`, and their names; empty until registered.
    ids: Vec<i64>,
    names: HashMap<i64, Arc<str>>,
    /// The rows in `consuming` do not say what `queues` says.
    stale: bool,
    /// A queue that cannot be consumed is the caller's error; later it is left out with a notice.
    starting: bool,
    /// Where the next claim begins among the queues.
    turn: usize,
    held: HashMap<DeliveryTag, Slot>,
    credit_total: u64,
    handed: u64,
    /// There may be messages to take.
    hungry: bool,
    /// Last broadcast that was handed over, or sent before we listened; `None` before the first transaction.
    heard: Option<i64>,
    due_ms: Option<i64>,
    renewed: Instant,
    looked: Instant,
    swept: Instant,
    down: bool,
}

/// What a transaction did, to be believed only once it is committed.
#[derive(Default)]
struct Done {
    owner: i64,
    /// The row was gone: everything held before is lost.
    reclaimed: bool,
    registered: Option<Registered>,
    refused: Vec<Vec<DeliveryTag>>,
    taken: Vec<Taken>,
    hungry: bool,
    due_ms: Option<i64>,
    renewed: bool,
}

/// What became of `Actor::queues`.
struct Registered {
    /// Ids of those that are consumed, in order.
    ids: Vec<i64>,
    /// Names of the others, and why.
    refused: Vec<(String, String)>,
    /// Last broadcast that was sent before.
    heard: i64,
}

impl Actor {
    pub(crate) fn new(
        store: &'static Store,
        lease: Duration,
        timeout: Duration,
        mailbox: Arc<Mailbox>,
        specs: Vec<QueueSpec>,
        sink: EventSink,
    ) -> Self {
        let now = Instant::now();
        let mut actor = Self {
            store,
            sink,
            mailbox,
            own: ProcessId::own(),
            lease,
            timeout,
            socket: None,
            address: String::new(),
            owner: 0,
            queues: Vec::new(),
            exchanges: Vec::new(),
            ids: Vec::new(),
            names: HashMap::new(),
            stale: true,
            starting: true,
            turn: 0,
            held: HashMap::new(),
            credit_total: 0,
            handed: 0,
            hungry: true,
            heard: None,
            due_ms: None,
            renewed: now,
            looked: now.checked_sub(TICK).unwrap_or(now),
            swept: now.checked_sub(SWEEP).unwrap_or(now),
            down: false,
        };
        for spec in specs {
            actor.consume(spec, true);
        }
        actor
    }

    /// Opens the store for the first time. A broker that is away is no error here.
    pub(crate) fn open(&mut self) -> Result<(), TransportError> {
        let listening = self.store.bell.listen("w");
        self.address = match listening {
            Some((socket, address)) => {
                self.socket = Some(socket);
                address
            }
            None => fresh_name("#"),
        };
        let mailbox = Arc::clone(&self.mailbox);
        self.store.bell.add_local(&self.address, Box::new(move || mailbox.ring()));
        match self.cycle(Vec::new(), false) {
            Err((_, error)) if !error.is_transient() => {
                self.close();
                Err(error)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn run(mut self) {
        self.store.bell.sweep();
        self.starting = false;
        loop {
            let mail = self.mailbox.take();
            for (spec, on) in mail.queues {
                self.consume(spec, on);
            }
            let renew = self.renewed.elapsed() >= self.lease / 3;
            let claim = self.hungry && self.has_credit() && !self.down;
            let probe = self.down && self.looked.elapsed() >= TICK;
            if !mail.cycles.is_empty() || self.stale || renew || claim || probe || mail.stop {
                self.carry_out(mail.cycles.into(), mail.stop);
            }
            if mail.stop {
                break;
            }
            if self.looked.elapsed() >= TICK {
                self.look_around();
            }
            let woken = self.mailbox.sleep(self.socket.as_ref(), self.patience());
            self.hungry |= woken || self.due_ms.is_some_and(|due| due <= wall_ms());
        }
        self.close();
        (self.sink)(Event::Stopped);
    }

    fn close(&mut self) {
        self.store.bell.remove_local(&self.address);
        if self.socket.take().is_some() && self.address.starts_with('/') {
            let _ = std::fs::remove_file(&self.address);
        }
    }

    fn consume(&mut self, spec: QueueSpec, on: bool) {
        self.stale = true;
        if let Some(binding) = spec.subscription() {
            let exchange = &binding.exchange.name;
            self.exchanges.retain(|name| name != exchange);
            if on {
                self.exchanges.push(exchange.clone());
            }
            return;
        }
        self.queues.retain(|known| known.name != spec.name);
        if on {
            self.queues.push(spec);
            self.hungry = true;
        }
    }

    fn has_credit(&self) -> bool {
        self.credit_total > self.handed
    }

    /// How long there is nothing to do unless somebody rings.
    fn patience(&self) -> Duration {
        if self.hungry && self.has_credit() && !self.down && !self.ids.is_empty() {
            return Duration::ZERO;
        }
        let mut wait = TICK.saturating_sub(self.looked.elapsed());
        wait = wait.min((self.lease / 3).saturating_sub(self.renewed.elapsed()));
        if let Some(due) = self.due_ms.filter(|_| self.has_credit()) {
            wait = wait.min(Duration::from_millis(u64::try_from(due - wall_ms()).unwrap_or(0)));
        }
        wait.max(if self.down { Duration::from_millis(50) } else { Duration::ZERO })
    }

    /// Runs cycles in one transaction and reports. If one of several orders cannot be carried out, each has its own.
    fn carry_out(&mut self, cycles: Vec<Cycle>, stop: bool) {
        let Err((cycles, error)) = self.cycle(cycles, stop) else { return };
        if matches!(error, TransportError::Refused(_)) {
            if cycles.len() > 1 || (stop && !cycles.is_empty()) {
                for cycle in cycles {
                    self.carry_out(vec![cycle], false);
                }
                if stop {
                    self.carry_out(Vec::new(), true);
                }
                return;
            }
        } else if !self.down {
            self.down = true;
            (self.sink)(Event::Down(error.clone()));
        }
        for cycle in cycles {
            (self.sink)(Event::Failed { cycle, error: error.clone() });
        }
    }

    fn cycle(&mut self, cycles: Vec<Cycle>, stop: bool) -> Result<(), (Vec<Cycle>, TransportError)> {
        let total = cycles.last().map_or(self.credit_total, |last| last.credit_total);
        let credit = usize::try_from(total.saturating_sub(self.handed)).unwrap_or(usize::MAX);
        let done = self.store.write(self.timeout, |db, wakes| {
            let done = self.transact(db, wakes, &cycles, if stop { 0 } else { credit })?;
            if stop {
                owners::release(db, wakes, done.owner, false)?;
            }
            Ok(done)
        });
        match done {
            Ok(done) => {
                self.credit_total = total;
                self.report(done, &cycles);
                Ok(())
            }
            Err(error) => Err((cycles, error)),
        }
    }

    /// The transaction. Changes nothing in `self`: it may yet be rolled back.
    fn transact(&self, db: &mut Db, wakes: &mut Wakes, cycles: &[Cycle], credit: usize) -> Result<Done, Fault> {
        let mut done = Done { owner: self.owner, renewed: self.renewed.elapsed() >= self.lease / 3, ..Done::default() };
        let lease_ms = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX / 2);
        let alive = self.owner != 0
            && if done.renewed { owners::renew(db, self.owner, lease_ms)? } else { owners::exists(db, self.owner)? };
        if !alive {
            done.reclaimed = self.owner != 0;
            done.owner = owners::register(db, &self.own, &self.address, lease_ms)?;
            done.renewed = true;
        }
        wakes.own = done.owner;
        if !alive || self.stale {
            done.registered = Some(self.sync_queues(db, done.owner)?);
        }
        for cycle in cycles {
            done.refused.push(self.settle(db, wakes, &done, cycle)?);
        }
        let ids = done.registered.as_ref().map_or(&self.ids, |registered| &registered.ids).clone();
        self.take(db, wakes, &mut done, &ids, credit)?;
        Ok(done)
    }

    /// Carries out the ends of one cycle; returns the tags that were lost.
    fn settle(&self, db: &mut Db, wakes: &mut Wakes, done: &Done, cycle: &Cycle) -> Result<Vec<DeliveryTag>, Fault> {
        let mut lost = Vec::new();
        for tag in &cycle.started {
            if let Some(slot) = self.held.get(tag) {
                settle::mark_started(db, done.owner, slot.message)?;
            }
        }
        records::put(db, wakes, &cycle.results)?;
        if !cycle.publish.is_empty() {
            publish(db, wakes, &cycle.publish)?;
        }
        for end in &cycle.ends {
            let stored = match self.held.get(&end.tag) {
                Some(&slot) if !done.reclaimed => {
                    let queue = self.names.get(&slot.queue).map_or("", |name| name);
                    settle::end(db, wakes, done.owner, slot, queue, end)?
                }
                _ => false,
            };
            if !stored {
                lost.push(end.tag);
            }
        }
        Ok(lost)
    }

    fn take(&self, db: &mut Db, wakes: &mut Wakes, done: &mut Done, ids: &[i64], credit: usize) -> Result<(), Fault> {
        if credit == 0 || ids.is_empty() {
            done.hungry = self.hungry;
            return owners::set_idle(db, done.owner, false);
        }
        let mut order = ids.to_vec();
        order.rotate_left(self.turn % ids.len());
        let most = credit.min(MOST);
        done.taken = claim(db, wakes, done.owner, &order, most)?;
        let left = credit - done.taken.len();
        done.hungry = !done.taken.is_empty() && any_ready(db, ids)?;
        if done.hungry && left == 0 {
            // What is left is for somebody else.
            for &queue in ids {
                if any_ready(db, &[queue])? {
                    wakes.ready(queue, 1);
                }
            }
        }
        for &queue in ids {
            if let Some(due) = next_due(db, queue)? {
                done.due_ms = Some(done.due_ms.map_or(due, |first| first.min(due)));
            }
        }
        owners::set_idle(db, done.owner, left > 0 && !done.hungry)
    }

    /// Makes the queues and writes down what we consume.
    fn sync_queues(&self, db: &mut Db, owner: i64) -> Result<Registered, Fault> {
        db.sql.prepare_cached("DELETE FROM consuming WHERE owner = ?1")?.execute([owner])?;
        db.sql.prepare_cached("DELETE FROM listening WHERE owner = ?1")?.execute([owner])?;
        let mut ids = Vec::with_capacity(self.queues.len());
        let mut refused = Vec::new();
        for spec in &self.queues {
            let id = match route::declare(db, spec) {
                // Else no transaction would succeed any more: no end stored, no lease renewed.
                Err(Fault::Ours(TransportError::Refused(why))) if !self.starting => {
                    refused.push((spec.name.clone(), why));
                    continue;
                }
                made => made?,
            };
            db.sql.prepare_cached("INSERT OR IGNORE INTO consuming VALUES (?1, ?2)")?.execute([owner, id])?;
            ids.push(id);
        }
        for exchange in &self.exchanges {
            let mut insert = db.sql.prepare_cached("INSERT OR IGNORE INTO listening VALUES (?1, ?2)")?;
            insert.execute((owner, exchange))?;
        }
        Ok(Registered { ids, refused, heard: broadcasts::last(db)? })
    }

    /// Takes over what is committed and tells the hub.
    fn report(&mut self, done: Done, cycles: &[Cycle]) {
        if std::mem::take(&mut self.down) {
            (self.sink)(Event::Up);
        }
        self.owner = done.owner;
        self.due_ms = done.due_ms;
        self.hungry = done.hungry;
        // Only after a claim: with one that claims and one that does not by turns, the same queue would always be first.
        self.turn = self.turn.wrapping_add(usize::from(!done.taken.is_empty()));
        if done.renewed {
            self.renewed = Instant::now();
        }
        if let Some(Registered { ids, refused, heard }) = done.registered {
            for (name, why) in refused {
                self.queues.retain(|spec| spec.name != name);
                (self.sink)(Event::Notice(format!("queue '{name}' is not consumed: {why}")));
            }
            self.names.extend(ids.iter().zip(&self.queues).map(|(&id, spec)| (id, Arc::from(spec.name.as_str()))));
            self.ids = ids;
            self.stale = false;
            if self.heard.is_none() || done.reclaimed {
                self.heard = Some(heard);
            }
        }
        for (cycle, lost) in cycles.iter().zip(done.refused) {
            for end in &cycle.ends {
                self.held.remove(&end.tag);
            }
            (self.sink)(Event::Cycled { id: cycle.id, lost, refused: Vec::new() });
        }
        if done.reclaimed && !self.held.is_empty() {
            (self.sink)(Event::Lost(self.held.drain().map(|(tag, _)| tag).collect()));
        }
        if !done.taken.is_empty() {
            self.handed += done.taken.len() as u64;
            let deliveries = done.taken.into_iter().map(|taken| self.delivery(taken)).collect();
            (self.sink)(Event::Deliveries(deliveries));
        }
    }

    fn delivery(&mut self, taken: Taken) -> Delivery {
        let tag = DeliveryTag(LAST_TAG.fetch_add(1, Ordering::Relaxed) + 1);
        self.held.insert(tag, taken.slot);
        Delivery {
            tag,
            queue: self.names.get(&taken.slot.queue).cloned().unwrap_or_default(),
            redelivered: taken.redelivered,
            crashes: taken.crashes,
            message: Message::scan(taken.payload),
        }
    }

    /// Slow work: dead workers, messages nobody told us of, broadcasts, expired results.
    fn look_around(&mut self) {
        self.looked = Instant::now();
        if self.down {
            return;
        }
        let looked = self.store.read(self.timeout, |db| {
            let gone = owners::gone(db, &self.own, self.owner)?;
            let ready = self.has_credit() && any_ready(db, &self.ids)?;
            Ok((gone, ready))
        });
        let Ok((gone, ready)) = looked else { return };
        self.hungry |= ready || self.due_ms.is_some_and(|due| due <= wall_ms());
        if !gone.is_empty() {
            self.reclaim(&gone);
        }
        self.listen();
        if self.swept.elapsed() >= SWEEP {
            let dropped = self.store.write(self.timeout, |db, _| records::expire(db, SWEPT));
            if !dropped.is_ok_and(|count| i64::try_from(count) == Ok(SWEPT)) {
                self.swept = Instant::now();
            }
        }
    }

    fn reclaim(&mut self, gone: &[i64]) {
        let returned = self.store.write(self.timeout, |db, wakes| {
            wakes.own = self.owner;
            let mut returned = Vec::new();
            for &owner in gone {
                if owners::still_gone(db, &self.own, owner)? {
                    returned.push((owner, owners::release(db, wakes, owner, true)?));
                }
            }
            Ok(returned)
        });
        for (owner, count) in returned.unwrap_or_default() {
            self.hungry = true;
            let text = format!("worker {owner} of this broker file is gone: {count} of its messages were returned");
            (self.sink)(Event::Notice(text));
        }
    }

    /// Hands over new broadcasts.
    fn listen(&mut self) {
        let Some(heard) = self.heard.filter(|_| !self.exchanges.is_empty()) else { return };
        let Ok(news) = self.store.read(self.timeout, |db| broadcasts::since(db, heard)) else { return };
        for broadcast in news {
            self.heard = Some(broadcast.id);
            if self.exchanges.iter().any(|name| **name == *broadcast.exchange) {
                (self.sink)(broadcast.into_event());
            }
        }
    }
}
