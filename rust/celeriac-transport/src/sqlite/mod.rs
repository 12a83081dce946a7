//! The embedded broker and result store: one SQLite file for any number of processes of one machine, or the same tables
//! in memory for one process. What each table holds is in `schema`; how it was chosen in docs/adr/0003.
//!
//! `settings` reads a URL · `connection` opens a file · `store` shares one connection in a process, `line`
//! gathers publishers, `log` folds the write-ahead log, `fork` closes connections around a fork · `route`, `enqueue`, `claim`, `settle`, `owners`, `dead`, `records` are the statements · `notify` and
//! `waiting` wake others · `producer`, `consumer` and `results` are the contract's sides.

mod actor;
mod broadcasts;
mod claim;
mod connection;
mod consumer;
mod dead;
mod enqueue;
mod fault;
mod filesystem;
mod fork;
mod line;
mod log;
mod machine;
mod notify;
mod owners;
mod producer;
mod records;
mod results;
mod route;
mod schema;
mod settings;
mod settle;
mod store;
mod waiting;

pub(crate) use consumer::SqliteConsumer;
pub(crate) use producer::SqliteProducer;
pub(crate) use results::SqliteResults;
pub(crate) use settings::Settings;
