//! `_core.Job` and the `OUTCOME_*` numbers.

use bytes::Bytes;
use celeriac_engine::Outcome;
use celeriac_protocol::{Publication, ResultWrite};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::codec::PyMessage;

/// `(key, value, expires_ms, success)`.
type Write<'py> = (Bound<'py, PyString>, Bound<'py, PyBytes>, Option<i64>, bool);
/// `(exchange, routing_key, priority, due_ms, envelope)`.
type Sent<'py> = (Bound<'py, PyString>, Bound<'py, PyString>, u8, Option<i64>, Bound<'py, PyBytes>);

const NAMES: [&str; 8] = [
    "OUTCOME_SUCCESS",
    "OUTCOME_FAILURE",
    "OUTCOME_RETRY",
    "OUTCOME_IGNORE",
    "OUTCOME_REJECT",
    "OUTCOME_REQUEUE",
    "OUTCOME_UNDECODABLE",
    "OUTCOME_LOST",
];

pub(super) fn add_outcomes(module: &Bound<'_, PyModule>) -> PyResult<()> {
    NAMES.iter().enumerate().try_for_each(|(number, name)| module.add(*name, number))
}

fn writes(results: Vec<Write<'_>>) -> PyResult<Vec<ResultWrite>> {
    let write = |(key, value, expires_ms, success): Write<'_>| {
        Ok(ResultWrite {
            key: key.to_str()?.into(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            expires_ms,
            success,
        })
    };
    results.into_iter().map(write).collect()
}

fn publications(publish: Vec<Sent<'_>>) -> PyResult<Vec<Publication>> {
    let publication = |(exchange, routing_key, priority, due_ms, envelope): Sent<'_>| {
        Ok(Publication {
            exchange: exchange.to_str()?.into(),
            routing_key: routing_key.to_str()?.into(),
            priority,
            due_ms,
            payload: Bytes::copy_from_slice(envelope.as_bytes()),
        })
    };
    publish.into_iter().map(publication).collect()
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "celeriac._core")]
pub(super) struct Job {
    inner: celeriac_hub::Job,
}

impl Job {
    pub(super) fn new(inner: celeriac_hub::Job) -> Self {
        Self { inner }
    }
}

#[pymethods]
impl Job {
    #[getter]
    fn message(&self) -> PyMessage {
        PyMessage::new(self.inner.delivery().message.clone())
    }

    #[getter]
    fn queue(&self) -> &str {
        &self.inner.delivery().queue
    }

    #[getter]
    fn redelivered(&self) -> bool {
        self.inner.delivery().redelivered
    }

    #[getter]
    fn crashes(&self) -> u32 {
        self.inner.delivery().crashes
    }

    #[getter]
    fn verdict(&self) -> Option<&'static str> {
        self.inner.verdict().word()
    }

    #[getter]
    fn cause(&self) -> Option<&str> {
        self.inner.cause()
    }

    fn start(&self) -> bool {
        self.inner.start()
    }

    #[pyo3(signature = (outcome, results, publish, detail = None))]
    fn finish(
        &self,
        outcome: usize,
        results: Vec<Write<'_>>,
        publish: Vec<Sent<'_>>,
        detail: Option<String>,
    ) -> PyResult<()> {
        let Some(&outcome) = Outcome::ALL.get(outcome) else {
            return Err(PyValueError::new_err(format!("no outcome {outcome}: use one of OUTCOME_*")));
        };
        self.inner.finish(outcome, writes(results)?, publications(publish)?, detail);
        Ok(())
    }

    fn progress(&self, results: Vec<Write<'_>>) -> PyResult<()> {
        self.inner.progress(writes(results)?);
        Ok(())
    }
}
