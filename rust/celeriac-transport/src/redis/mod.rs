//! Redis as Kombu's transport uses it, key for key, so that Celery's producers and workers may share the queues; and
//! better in what happens between the keys. What is different is in docs/adr/0008.
//!
//! `settings` reads a URL · `line` is the seam to the client library, with `pack` and `fault`; `cluster` finds the
//! node of a cluster; `pool` keeps a producer's connections · `keys` names keys, `route` finds lists, `patch` changes bytes of a message, `script` and `lua/` run in
//! the server · `publish`, `claim`, `ends`, `back`, `foreign`, `dead`, `depths` are the duties · `waiter` and `watcher` wait ·
//! `producer`, `consumer` (with `actor/` and `held`) and `results` are the contract's sides.

mod actor;
mod back;
mod claim;
mod clock;
mod cluster;
mod consumer;
mod dead;
mod depths;
mod ends;
mod fault;
mod foreign;
mod held;
mod keys;
mod line;
mod pack;
mod patch;
mod pool;
mod producer;
mod publish;
mod results;
mod route;
mod script;
mod settings;
mod waiter;
mod watcher;

pub(crate) use consumer::RedisConsumer;
pub(crate) use producer::RedisProducer;
pub(crate) use results::RedisResults;
pub(crate) use settings::Settings;
