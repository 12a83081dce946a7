//! Waiting for a message without asking again and again: a thread with a connection of its own in `BLMOVE`.
//!
//! The message goes from its list into one of this worker's, so that exactly one worker wakes and nothing is ever only in a
//! socket. The claim that adopts it is sent right behind the blocking command: the server carries it out as soon as a
//! message has come, so a wake-up costs no further round trip.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::Value;

use super::actor::Mail;
use super::back::{waiter_entry, waiter_field};
use super::claim::Request;
use super::fault::Fault;
use super::keys::Keys;
use super::line::{Client, Line};
use super::pack::{Args, Pack};
use super::script::CLAIM;
use super::settings::Settings;

/// How long one wait lasts at most; then its empty answer shows that the connection lives.
const WAIT: Duration = Duration::from_secs(3);
/// How much later than that an answer may come before the connection is given up: a half open one is known by then.
const GRACE: Duration = Duration::from_secs(2);
/// A claim that waits is carried out within that time, or takes nothing.
pub(crate) const LONGEST: Duration = WAIT.saturating_add(GRACE);

/// The actor's end.
pub(crate) struct Waiter {
    pub(crate) number: usize,
    pub(crate) list: Vec<u8>,
    orders: Sender<Request>,
    client: Arc<Mutex<Client>>,
    /// An answer is outstanding, of a claim of these tags.
    pub(crate) armed: Option<std::ops::Range<u64>>,
    /// It was told to come back without one.
    pub(crate) called: bool,
    /// Not before, after a failure.
    pub(crate) rest_until: Option<Instant>,
}

impl Waiter {
    /// Starts the thread. It ends when this is dropped and what it waits for has come or timed out.
    pub(crate) fn start(
        settings: &Arc<Settings>,
        keys: &Keys,
        worker: &str,
        number: usize,
        list: Vec<u8>,
        timeout: Duration,
        mail: Sender<Mail>,
    ) -> Result<Self, std::io::Error> {
        let (orders, inbox) = channel();
        let client = Arc::default();
        let thread = Thread {
            settings: Arc::clone(settings),
            batches: keys.batches(worker),
            inflight: keys.inflight(worker, number),
            list: list.clone(),
            number,
            timeout,
            client: Arc::clone(&client),
        };
        std::thread::Builder::new().name("celeriac-wait".to_owned()).spawn(move || thread.run(&inbox, &mail))?;
        Ok(Self { number, list, orders, client, armed: None, called: false, rest_until: None })
    }

    /// Lets it wait, and claim when something has come.
    pub(crate) fn arm(&mut self, request: Request) {
        let tags = request.first..request.first + request.want as u64;
        self.armed = self.orders.send(request).is_ok().then_some(tags);
        self.called = false;
    }

    /// Its connection; none's while it has none.
    pub(crate) fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a wait brought.
pub(crate) struct Woken {
    pub(crate) waiter: usize,
    pub(crate) first: u64,
    pub(crate) want: usize,
    /// The claim's answer.
    pub(crate) answer: Result<Value, Fault>,
}

struct Thread {
    settings: Arc<Settings>,
    batches: String,
    inflight: String,
    list: Vec<u8>,
    number: usize,
    timeout: Duration,
    client: Arc<Mutex<Client>>,
}

impl Thread {
    fn run(&self, inbox: &Receiver<Request>, mail: &Sender<Mail>) {
        let mut line = None;
        while let Ok(request) = inbox.recv() {
            let answer = self.wait(&mut line, &request);
            if answer.is_err() {
                line = None;
                self.is(Client::default());
            }
            let woken = Woken { waiter: self.number, first: request.first, want: request.want, answer };
            if mail.send(Mail::Woken(woken)).is_err() {
                return;
            }
        }
    }

    fn is(&self, client: Client) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    fn wait(&self, kept: &mut Option<Line>, request: &Request) -> Result<Value, Fault> {
        if kept.is_none() {
            let mut line = Line::open(&self.settings, Instant::now() + self.timeout)?;
            line.identify()?;
            let mut note = Args::new("HSET");
            note.add(&self.batches).add(waiter_field(self.number)).add(waiter_entry(line.client(), &self.list));
            line.ask(&Pack::one(&note))?;
            line.set_timeout(Some(WAIT + GRACE))?;
            self.is(line.client().clone());
            *kept = Some(line);
        }
        let Some(line) = kept else { return Ok(Value::Nil) };
        let mut pack = Pack::default();
        let mut wait = Args::new("BLMOVE");
        wait.add(&self.list).add(&self.inflight).add("RIGHT").add("LEFT").int(WAIT.as_secs());
        pack.push(&wait).run(&CLAIM, &request.keys, &request.args);
        let mut replies = line.call(&pack)?;
        let answer = line.check(replies.pop().unwrap_or_default())?;
        // Its own answer is only looked at for errors: the claim has the message, with all that came with it.
        match line.check(replies.pop().unwrap_or_default()) {
            Err(Fault::Later(_, true)) | Ok(_) => Ok(answer),
            Err(fault) => Err(fault),
        }
    }
}
