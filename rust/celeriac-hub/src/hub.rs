//! The handle of a hub: what the main thread and the pool hold of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use celeriac_engine::{ChildId, Engine, EngineConfig, Stats, Stopping};
use celeriac_transport::contract::{Consumer, QueueSpec, TransportError};
use crossbeam_channel::Receiver;

use crate::Clock;
use crate::child::{Port, Shared, Waker};
use crate::inbox::{Command, Inbox, Input};
use crate::notices::{Kinds, Notice, NoticeKind, Notices};
#[cfg(unix)]
use crate::processes::pool::{Pool, ProcessConfig};
use crate::run::Loop;
use crate::running::Running;

/// What a hub needs besides its transport.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Settings of the engine.
    pub engine: EngineConfig,
    /// Queues to consume from.
    pub queues: Vec<QueueSpec>,
    /// Notices that the main thread wants.
    pub notify: Kinds,
}

/// Counters of the hub and its engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct HubStats {
    /// The engine's.
    pub engine: Stats,
    /// Time in which the hub thread was not waiting, in µs.
    pub busy_us: u64,
    /// Times it woke up.
    pub turns: u64,
    /// Notices that were dropped.
    pub dropped_notices: u64,
}

/// Why a child has no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortError {
    /// There is no such child: how many there are.
    NoSuchChild(usize),
    /// Its port is in use.
    InUse,
}

#[derive(Debug, Default)]
pub(crate) struct Done {
    ended: Mutex<bool>,
    came: Condvar,
}

impl Done {
    pub(crate) fn set(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.came.notify_all();
    }

    fn wait(&self, timeout: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.came.wait_timeout_while(ended, timeout, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What the hub thread publishes for others to read.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) stats: Mutex<HubStats>,
    pub(crate) done: Done,
}

/// What `start` takes.
type Waiting = (Box<dyn Consumer>, HubConfig, Receiver<Input>);

/// A worker's I/O thread and the ends of it. `start` it once; drop it only after `join`.
pub struct Hub {
    inbox: Inbox,
    #[cfg(unix)]
    pool: Mutex<Option<Pool>>,
    children: Vec<Arc<Shared>>,
    notices: Arc<Notices>,
    published: Arc<Published>,
    waiting: Mutex<Option<Waiting>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    clock: Clock,
    started: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A hub that does nothing yet.
    #[must_use]
    pub fn new(consumer: Box<dyn Consumer>, config: HubConfig) -> Self {
        let (inbox, outlet) = Inbox::new();
        Self::with_inbox(consumer, config, inbox, outlet)
    }

    /// A hub whose children are processes. It starts and replaces them by itself.
    ///
    /// # Errors
    /// The system has no descriptor to wait on.
    #[cfg(unix)]
    pub fn with_processes(
        consumer: Box<dyn Consumer>,
        mut config: HubConfig,
        processes: ProcessConfig,
    ) -> std::io::Result<Self> {
        let bell = Arc::new(celeriac_transport::bell::Bell::new()?);
        let (inbox, outlet) = Inbox::new();
        config.engine.children = 0; // places are added as processes are started
        config.engine.limits = true;
        let pool = Pool::new(processes, Arc::clone(&bell));
        let hub = Self::with_inbox(consumer, config, inbox.with_bell(bell), outlet);
        *lock(&hub.pool) = Some(pool);
        Ok(hub)
    }

    fn with_inbox(consumer: Box<dyn Consumer>, mut config: HubConfig, inbox: Inbox, outlet: Receiver<Input>) -> Self {
        let clock = Clock::new();
        let waker = Arc::new(Waker { inbox: inbox.clone(), sent: AtomicBool::new(false) });
        let shared = |child| Arc::new(Shared::new(child, clock, Arc::clone(&waker)));
        let notices = Arc::new(Notices::new(config.notify));
        config.engine.notify_received = notices.wants(NoticeKind::Received);
        Self {
            inbox,
            #[cfg(unix)]
            pool: Mutex::new(None),
            children: (0..config.engine.children).map(shared).collect(),
            notices,
            published: Arc::default(),
            waiting: Mutex::new(Some((consumer, config, outlet))),
            thread: Mutex::new(None),
            clock,
            started: AtomicBool::new(false),
        }
    }

    /// Starts the transport and the thread. A second call does nothing.
    ///
    /// # Errors
    /// The transport cannot ever work, or there is no thread to be had.
    pub fn start(&self) -> Result<(), TransportError> {
        let Some((mut consumer, config, outlet)) = lock(&self.waiting).take() else { return Ok(()) };
        let events = self.inbox.clone();
        consumer.start(config.queues, Arc::new(move |event| events.send(Input::Event(event))))?;
        let engine = Engine::new(&config.engine);
        let looped = Loop::new(
            consumer,
            engine,
            outlet,
            &self.children,
            Arc::clone(&self.notices),
            Arc::clone(&self.published),
            self.clock,
        );
        #[cfg(unix)]
        let looped = looped.with_pool(lock(&self.pool).take());
        let thread = std::thread::Builder::new()
            .name("celeriac-hub".to_owned())
            .spawn(move || looped.run())
            .map_err(|error| TransportError::Unavailable(format!("cannot start the hub's thread: {error}")))?;
        *lock(&self.thread) = Some(thread);
        self.started.store(true, Ordering::Release);
        Ok(())
    }

    /// The end of one child. It counts as up from now on.
    ///
    /// # Errors
    /// [`PortError`].
    pub fn port(&self, child: ChildId) -> Result<Port, PortError> {
        let shared = self.children.get(child).ok_or(PortError::NoSuchChild(self.children.len()))?;
        if shared.has_port.swap(true, Ordering::AcqRel) {
            return Err(PortError::InUse);
        }
        let (door, batches) = crossbeam_channel::unbounded();
        self.inbox.send(Input::PortUp(child, door));
        Ok(Port::new(Arc::clone(shared), batches))
    }

    /// What happened since the last call; waits for something if nothing did.
    #[must_use]
    pub fn notices(&self, timeout: Duration) -> Vec<Notice> {
        self.notices.take(timeout)
    }

    /// Tasks with these ids must not run any more.
    pub fn revoke(&self, ids: Vec<String>) {
        self.command(Command::Revoke(ids));
    }

    /// Consumes one more queue, or one less.
    pub fn set_consuming(&self, queue: QueueSpec, on: bool) {
        self.command(Command::SetConsuming(queue, on));
    }

    /// What runs now; nothing if the hub does not answer within `timeout`, as it has ended.
    #[must_use]
    pub fn running(&self, timeout: Duration) -> Vec<Running> {
        let (asked, answer) = crossbeam_channel::bounded(1);
        self.command(Command::Running(asked));
        answer.recv_timeout(timeout).unwrap_or_default()
    }

    /// So many child processes from now on.
    pub fn resize(&self, width: usize) {
        self.command(Command::Resize(width));
    }

    /// New processes in the place of all, each when its task has ended.
    pub fn restart_children(&self) {
        self.command(Command::Restart);
    }

    /// Warm: running tasks end, the rest goes back. Cold: those go back, too.
    pub fn stop(&self, cold: bool) {
        if !self.started.load(Ordering::Acquire) && lock(&self.waiting).take().is_some() {
            self.notices.push(Notice::Stopped(None));
            self.published.done.set();
            return;
        }
        self.command(Command::Stop(if cold { Stopping::Cold } else { Stopping::Warm }));
    }

    /// Waits until the hub has ended; false if it has not in that time.
    #[must_use]
    pub fn join(&self, timeout: Duration) -> bool {
        if !self.published.done.wait(timeout) {
            return false;
        }
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
        true
    }

    /// Counters, as of the end of the hub's last turn.
    #[must_use]
    pub fn stats(&self) -> HubStats {
        HubStats { dropped_notices: self.notices.dropped(), ..*lock(&self.published.stats) }
    }

    /// Makes the hub thread panic, for tests of what follows.
    #[doc(hidden)]
    pub fn panic_for_test(&self) {
        self.command(Command::Panic);
    }

    fn command(&self, command: Command) {
        self.inbox.send(Input::Command(command));
    }
}
