//! One door to every transport: a URL in, a side of the contract out. Opening is lazy; a wrong URL fails here.

use std::sync::Arc;
use std::time::Duration;

use crate::contract::{Consumer, Producer, Results, TransportError};
use crate::sqlite::{Settings, SqliteConsumer, SqliteProducer, SqliteResults};
use crate::{Options, redacted};

/// The producer's side. `timeout` bounds each call.
///
/// # Errors
/// [`TransportError::Config`] when the URL or an option cannot be used.
pub fn producer(url: &str, options: &Options, timeout: Duration) -> Result<Arc<dyn Producer>, TransportError> {
    Ok(Arc::new(SqliteProducer::new(&settings(url, options)?, timeout)))
}

/// The result store. `timeout` bounds each call but `wait_change`.
///
/// # Errors
/// [`TransportError::Config`] when the URL or an option cannot be used.
pub fn results(url: &str, options: &Options, timeout: Duration) -> Result<Arc<dyn Results>, TransportError> {
    Ok(Arc::new(SqliteResults::new(&settings(url, options)?, timeout)))
}

/// The worker's side; see [`Consumer::start`].
///
/// # Errors
/// [`TransportError::Config`] when the URL or an option cannot be used.
pub fn consumer(url: &str, options: &Options, timeout: Duration) -> Result<Box<dyn Consumer>, TransportError> {
    Ok(Box::new(SqliteConsumer::new(&settings(url, options)?, timeout)?))
}

/// Whether two URLs name the same store, so that results can be written in the transaction of a settlement.
///
/// # Errors
/// [`TransportError::Config`] when a URL cannot be used.
pub fn same_store(left: &str, right: &str) -> Result<bool, TransportError> {
    let none = Options::new();
    Ok(settings(left, &none)?.place == settings(right, &none)?.place)
}

fn settings(url: &str, options: &Options) -> Result<Settings, TransportError> {
    match url.split_once(':') {
        Some(("sqlite" | "memory", _)) => Settings::parse(url, options),
        _ => Err(TransportError::Config(format!(
            "no transport for '{}': write 'sqlite:///relative.db', 'sqlite:////absolute/path.db' or 'memory://'",
            redacted(url)
        ))),
    }
}
