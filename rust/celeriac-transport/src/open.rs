//! One door to every transport: a URL in, a side of the contract out. Opening is lazy; a wrong URL fails here.

use std::sync::Arc;
use std::time::Duration;

use crate::amqp::{self, AmqpConsumer, AmqpProducer};
use crate::contract::{Consumer, Producer, Results, TransportError};
use crate::redis::{self, RedisConsumer, RedisProducer, RedisResults};
use crate::sqlite::{self, SqliteConsumer, SqliteProducer, SqliteResults};
use crate::{Options, redacted};

/// The producer's side. `timeout` bounds each call.
///
/// # Errors
/// [`TransportError::Config`] when the URL or an option cannot be used.
pub fn producer(url: &str, options: &Options, timeout: Duration) -> Result<Arc<dyn Producer>, TransportError> {
    Ok(match settings(url, options)? {
        Settings::Sqlite(settings) => Arc::new(SqliteProducer::new(&settings, timeout)),
        Settings::Redis(settings) => Arc::new(RedisProducer::new(*settings, timeout)),
        Settings::Amqp(settings) => Arc::new(AmqpProducer::new(*settings, timeout)),
    })
}

/// The result store. `timeout` bounds each call but `wait_change`.
///
/// # Errors
/// [`TransportError::Config`] when the URL or an option cannot be used.
pub fn results(url: &str, options: &Options, timeout: Duration) -> Result<Arc<dyn Results>, TransportError> {
    Ok(match settings(url, options)? {
        Settings::Sqlite(settings) => Arc::new(SqliteResults::new(&settings, timeout)),
        Settings::Redis(settings) => Arc::new(RedisResults::new(*settings, timeout)),
        Settings::Amqp(settings) => {
            return Err(TransportError::Config(format!(
                "results cannot be kept in RabbitMQ ('{}'): use a store, for example 'redis://host:6379/0'",
                settings.shown
            )));
        }
    })
}

/// The worker's side; see [`Consumer::start`].
///
/// # Errors
/// [`TransportError::Config`] when the URL or an option cannot be used.
pub fn consumer(url: &str, options: &Options, timeout: Duration) -> Result<Box<dyn Consumer>, TransportError> {
    Ok(match settings(url, options)? {
        Settings::Sqlite(settings) => Box::new(SqliteConsumer::new(&settings, timeout)?),
        Settings::Redis(settings) => Box::new(RedisConsumer::new(*settings, timeout)),
        Settings::Amqp(settings) => Box::new(AmqpConsumer::new(*settings, timeout)?),
    })
}

/// Whether two URLs name the same store, so that results can be written in the transaction of a settlement.
///
/// # Errors
/// [`TransportError::Config`] when a URL cannot be used.
pub fn same_store(
    left: &str,
    left_options: &Options,
    right: &str,
    right_options: &Options,
) -> Result<bool, TransportError> {
    Ok(match (settings(left, left_options)?, settings(right, right_options)?) {
        (Settings::Sqlite(left), Settings::Sqlite(right)) => left.place == right.place,
        (Settings::Redis(left), Settings::Redis(right)) => left.same_store(&right),
        _ => false,
    })
}

/// Whether a URL's broker speaks AMQP: its messages have the form of `celeriac_protocol::amqp::content`, others' that of the
/// JSON envelope.
#[must_use]
pub fn is_amqp(url: &str) -> bool {
    matches!(url.split_once(':'), Some(("amqp" | "amqps" | "pyamqp" | "librabbitmq", _)))
}

enum Settings {
    Sqlite(sqlite::Settings),
    Redis(Box<redis::Settings>),
    Amqp(Box<amqp::Settings>),
}

fn settings(url: &str, options: &Options) -> Result<Settings, TransportError> {
    match url.split_once(':') {
        Some(("sqlite" | "memory", _)) => Ok(Settings::Sqlite(sqlite::Settings::parse(url, options)?)),
        Some((
            "redis" | "rediss" | "redis+socket" | "redis+cluster" | "rediss+cluster" | "sentinel" | "socket" | "unix",
            _,
        )) => Ok(Settings::Redis(Box::new(redis::Settings::parse(url, options)?))),
        _ if is_amqp(url) => Ok(Settings::Amqp(Box::new(amqp::Settings::parse(url, options)?))),
        _ => Err(TransportError::Config(format!(
            "no transport for '{}': write 'redis://host:6379/0', 'amqp://user:password@host:5672/vhost', 'sqlite:///relative.db', 'sqlite:////absolute/path.db' or \
             'memory://'",
            redacted(url)
        ))),
    }
}
