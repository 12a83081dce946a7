//! A result store of its own, in front of a consumer: results are written there first, then the cycle goes on without
//! them. If the store fails, the whole cycle has failed and comes back, so a task is never settled before its
//! result is stored. Writes that were done already are done again then, which changes nothing.

use std::sync::Arc;
use std::thread::JoinHandle;

use celeriac_protocol::ResultWrite;
use celeriac_transport::contract::{Consumer, Cycle, Event, EventSink, QueueSpec, Results, TransportError};
use crossbeam_channel::{Receiver, Sender};

enum Order {
    Cycle(Cycle),
    Stop,
}

/// See the module.
pub struct SinkConsumer {
    inner: Arc<std::sync::Mutex<Box<dyn Consumer>>>,
    store: Arc<dyn Results>,
    orders: Sender<Order>,
    inbox: Option<Receiver<Order>>,
    writer: Option<JoinHandle<()>>,
}

impl SinkConsumer {
    /// Writes the results of what is submitted to `store` before it goes to `inner`.
    #[must_use]
    pub fn new(inner: Box<dyn Consumer>, store: Arc<dyn Results>) -> Self {
        let (orders, inbox) = crossbeam_channel::unbounded();
        Self { inner: Arc::new(std::sync::Mutex::new(inner)), store, orders, inbox: Some(inbox), writer: None }
    }
}

fn lock(inner: &std::sync::Mutex<Box<dyn Consumer>>) -> std::sync::MutexGuard<'_, Box<dyn Consumer>> {
    inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn store(store: &dyn Results, cycle: &mut Cycle) -> Result<(), TransportError> {
    let writes: Vec<ResultWrite> =
        cycle.results.iter().chain(cycle.ends.iter().flat_map(|end| &end.results)).cloned().collect();
    if !writes.is_empty() {
        store.put(&writes)?;
        cycle.results.clear();
        cycle.ends.iter_mut().for_each(|end| end.results.clear());
    }
    Ok(())
}

impl Consumer for SinkConsumer {
    fn start(&mut self, queues: Vec<QueueSpec>, sink: EventSink) -> Result<(), TransportError> {
        lock(&self.inner).start(queues, Arc::clone(&sink))?;
        let Some(inbox) = self.inbox.take() else { return Ok(()) };
        let (inner, results) = (Arc::clone(&self.inner), Arc::clone(&self.store));
        let run = move || {
            for order in inbox {
                match order {
                    Order::Cycle(mut cycle) => match store(&*results, &mut cycle) {
                        Ok(()) => lock(&inner).submit(cycle),
                        Err(error) => sink(Event::Failed { cycle, error }),
                    },
                    Order::Stop => {
                        lock(&inner).stop();
                        return;
                    }
                }
            }
        };
        let spawned = std::thread::Builder::new().name("celeriac-results".to_owned()).spawn(run);
        self.writer = Some(spawned.map_err(|error| {
            TransportError::Unavailable(format!("cannot start the thread that writes results: {error}"))
        })?);
        Ok(())
    }

    fn submit(&self, cycle: Cycle) {
        drop(self.orders.send(Order::Cycle(cycle))); // it ends only after a stop, which is the last order
    }

    fn set_consuming(&self, queue: QueueSpec, on: bool) {
        lock(&self.inner).set_consuming(queue, on);
    }

    fn stop(&self) {
        drop(self.orders.send(Order::Stop));
    }

    fn join(&mut self) {
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
        lock(&self.inner).join();
    }
}
