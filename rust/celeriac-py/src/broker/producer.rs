//! `_core.Broker`.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use celeriac_protocol::Publication;
use celeriac_transport::contract::{DeadLetter, Producer, TransportError};
use celeriac_transport::open;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping};

use crate::enter::enter;
use crate::errors::into_pyerr;
use crate::topology;

/// `(exchange, routing_key, priority, due_ms, envelope)` as Python gives it.
type Sent<'py> = (String, String, u8, Option<i64>, Bound<'py, PyBytes>);
/// A dead letter as Python gets it.
type Letter<'py> = (i64, String, String, String, i64, Bound<'py, PyBytes>);

/// The producer's and operator's side of a transport.
#[pyclass(frozen, module = "celeriac._core")]
pub(crate) struct Broker {
    /// `None` once closed.
    inner: Mutex<Option<Arc<dyn Producer>>>,
}

impl Broker {
    fn inner(&self) -> Result<Arc<dyn Producer>, TransportError> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clone().ok_or_else(|| TransportError::Unavailable("the broker handle is closed: open another".to_owned()))
    }

    fn run<T: Send>(
        &self,
        py: Python<'_>,
        action: &str,
        work: impl FnOnce(&dyn Producer) -> Result<T, TransportError> + Send,
    ) -> PyResult<T> {
        let inner = self.inner().map_err(|error| into_pyerr(py, error))?;
        enter(py, process::id(), action, move || work(&*inner))
    }
}

/// `(exchange, routing_key, priority, due_ms, envelope)` as a publication.
fn publication(
    (exchange, routing_key, priority, due_ms, envelope): (&str, &str, u8, Option<i64>, &[u8]),
) -> Publication {
    Publication {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        priority,
        due_ms,
        payload: Bytes::copy_from_slice(envelope),
    }
}

fn letter(py: Python<'_>, letter: DeadLetter) -> Letter<'_> {
    let payload = PyBytes::new(py, &letter.payload);
    (letter.id, letter.queue, letter.reason, letter.detail, letter.died_ms, payload)
}

#[pymethods]
impl Broker {
    #[new]
    fn new(py: Python<'_>, url: &str, options: &Bound<'_, PyMapping>, timeout_ms: u64) -> PyResult<Self> {
        let producer = open::producer(url, &super::options(options)?, super::timeout(timeout_ms));
        Ok(Self { inner: Mutex::new(Some(producer.map_err(|error| into_pyerr(py, error))?)) })
    }

    fn publish(
        &self,
        py: Python<'_>,
        exchange: &str,
        routing_key: &str,
        priority: u8,
        due_ms: Option<i64>,
        envelope: &[u8],
    ) -> PyResult<usize> {
        let one = publication((exchange, routing_key, priority, due_ms, envelope));
        self.run(py, "publish", move |broker| broker.publish(&[one]))
    }

    #[expect(clippy::needless_pass_by_value, reason = "pyo3 extracts arguments into owned values")]
    fn publish_many(&self, py: Python<'_>, batch: Vec<Sent<'_>>) -> PyResult<usize> {
        let batch: Vec<Publication> = batch
            .iter()
            .map(|(exchange, key, priority, due_ms, envelope)| {
                publication((exchange, key, *priority, *due_ms, envelope.as_bytes()))
            })
            .collect();
        self.run(py, "publish", move |broker| broker.publish(&batch))
    }

    fn declare(&self, py: Python<'_>, queue: &Bound<'_, PyAny>) -> PyResult<()> {
        let spec = topology::queue(queue)?;
        self.run(py, "declare a queue", move |broker| broker.declare(&spec))
    }

    fn broadcast(&self, py: Python<'_>, exchange: &str, routing_key: &str, envelope: &[u8]) -> PyResult<()> {
        self.run(py, "broadcast", |broker| broker.broadcast(exchange, routing_key, envelope))
    }

    fn purge(&self, py: Python<'_>, queue: &str) -> PyResult<u64> {
        self.run(py, "purge a queue", |broker| broker.purge(queue))
    }

    fn depths(&self, py: Python<'_>) -> PyResult<Vec<(String, u64, u64, u64)>> {
        let depths = self.run(py, "count messages", |broker| broker.depths())?;
        Ok(depths.into_iter().map(|depth| (depth.name, depth.ready, depth.delayed, depth.held)).collect())
    }

    #[pyo3(signature = (limit, before = None))]
    fn dead_list<'py>(&self, py: Python<'py>, limit: usize, before: Option<i64>) -> PyResult<Vec<Letter<'py>>> {
        let letters = self.run(py, "list dead letters", move |broker| broker.dead_list(limit, before))?;
        Ok(letters.into_iter().map(|one| letter(py, one)).collect())
    }

    fn dead_get<'py>(&self, py: Python<'py>, id: i64) -> PyResult<Option<Letter<'py>>> {
        let found = self.run(py, "read a dead letter", move |broker| broker.dead_get(id))?;
        Ok(found.map(|one| letter(py, one)))
    }

    fn dead_replay(&self, py: Python<'_>, ids: Option<Vec<i64>>) -> PyResult<u64> {
        self.run(py, "replay dead letters", move |broker| broker.dead_replay(ids.as_deref()))
    }

    fn dead_purge(&self, py: Python<'_>, ids: Option<Vec<i64>>) -> PyResult<u64> {
        self.run(py, "delete dead letters", move |broker| broker.dead_purge(ids.as_deref()))
    }

    fn close(&self) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
