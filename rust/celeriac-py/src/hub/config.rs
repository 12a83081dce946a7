//! The table given to `Hub(...)`: read once, checked here, never kept.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use celeriac_engine::window::Prefetch;
use celeriac_engine::{EngineConfig, TaskPolicy};
#[cfg(unix)]
use celeriac_hub::ProcessConfig;
use celeriac_hub::{Hub, HubConfig, Kinds, NoticeKind, SinkConsumer};
use celeriac_transport::Options;
use celeriac_transport::contract::Consumer;
use celeriac_transport::open;
use pyo3::conversion::FromPyObjectOwned;
use pyo3::prelude::*;
use pyo3::types::PyMapping;

use crate::errors::into_pyerr;
use crate::topology;

type Config<'a, 'py> = &'a Bound<'py, PyMapping>;

/// A hub by the table's words.
pub(super) fn hub(py: Python<'_>, config: Config<'_, '_>) -> PyResult<Hub> {
    let (consumer, settings) = parse(py, config)?;
    let Some(table) = optional::<Bound<'_, PyMapping>>(config, "processes")? else {
        return Ok(Hub::new(consumer, settings));
    };
    #[cfg(unix)]
    {
        let processes = processes(&table, settings.engine.children)?;
        let made = Hub::with_processes(consumer, settings, processes);
        made.map_err(|error| super::refuse(py, format!("cannot have child processes: {error}")))
    }
    #[cfg(not(unix))]
    {
        drop(table);
        Err(super::refuse(py, "child processes need a Unix: use the threads pool".to_owned()))
    }
}

#[cfg(unix)]
fn processes(table: Config<'_, '_>, width: usize) -> PyResult<ProcessConfig> {
    let zygotes = table.get_item("zygotes")?.extract::<Vec<(i32, i32)>>()?;
    let owned = |(socket, pid)| Ok((super::descriptor::owned(socket)?, pid));
    let patience_us = optional::<u64>(table, "patience_ms")?.unwrap_or(4_000) * 1_000;
    Ok(ProcessConfig {
        zygotes: zygotes.into_iter().map(owned).collect::<PyResult<_>>()?,
        width,
        max_tasks: optional(table, "max_tasks")?,
        max_memory_kib: optional(table, "max_memory_kib")?,
        patience_us,
        start_patience_us: optional::<u64>(table, "start_patience_ms")?.map_or(patience_us, |ms| ms * 1_000),
    })
}

/// The transport and the settings.
fn parse(py: Python<'_>, config: Config<'_, '_>) -> PyResult<(Box<dyn Consumer>, HubConfig)> {
    let url: String = config.get_item("url")?.extract()?;
    let broker_options = options(config, "options")?;
    let timeout = Duration::from_millis(optional(config, "timeout_ms")?.unwrap_or(4_000));
    let mut consumer = open::consumer(&url, &broker_options, timeout).map_err(|error| into_pyerr(py, error))?;
    if let Some(results) = optional::<String>(config, "result_url")? {
        let result_options = options(config, "result_options")?;
        let same = open::same_store(&url, &broker_options, &results, &result_options);
        if !same.map_err(|error| into_pyerr(py, error))? {
            let store = open::results(&results, &result_options, timeout).map_err(|error| into_pyerr(py, error))?;
            consumer = Box::new(SinkConsumer::new(consumer, store));
        }
    }
    let queues = config.get_item("queues")?;
    let settings = HubConfig {
        engine: engine(py, config)?,
        queues: queues.try_iter()?.map(|queue| topology::queue(&queue?)).collect::<PyResult<_>>()?,
        notify: kinds(py, config)?,
    };
    Ok((consumer, settings))
}

fn options(config: Config<'_, '_>, name: &str) -> PyResult<Options> {
    match optional::<Bound<'_, PyMapping>>(config, name)? {
        Some(table) => crate::broker::options(&table),
        None => Ok(Options::new()),
    }
}

fn optional<'py, T: FromPyObjectOwned<'py>>(config: Config<'_, 'py>, name: &str) -> PyResult<Option<T>> {
    if !config.contains(name)? {
        return Ok(None);
    }
    let value = config.get_item(name)?;
    if value.is_none() { Ok(None) } else { Ok(Some(value.extract().map_err(Into::into)?)) }
}

fn engine(py: Python<'_>, config: Config<'_, '_>) -> PyResult<EngineConfig> {
    let default = EngineConfig::default();
    let children = config.get_item("children")?.extract::<usize>()?;
    if children == 0 {
        return Err(super::refuse(py, "a worker needs at least one child: got 0".to_owned()));
    }
    let mut tasks = HashMap::new();
    if let Some(table) = optional::<HashMap<String, Bound<'_, PyMapping>>>(config, "tasks")? {
        for (name, policy) in table {
            tasks.insert(name, task(&policy)?);
        }
    }
    Ok(EngineConfig {
        children,
        prefetch: match optional::<usize>(config, "prefetch")? {
            None => Prefetch::Adaptive,
            Some(0) => Prefetch::Unlimited,
            Some(count) => Prefetch::Fixed(count),
        },
        max_held_bytes: optional(config, "max_held_bytes")?.unwrap_or(default.max_held_bytes),
        tasks,
        accept: optional::<Vec<String>>(config, "accept")?.map_or(default.accept, HashSet::from_iter),
        timezone_offset_ms: optional(config, "timezone_offset_ms")?.unwrap_or(0),
        max_message_bytes: optional(config, "max_message_bytes")?.unwrap_or(default.max_message_bytes),
        limits: false,          // the hub sets it for child processes
        notify_received: false, // the hub sets it by `notify`
    })
}

fn task(table: Config<'_, '_>) -> PyResult<TaskPolicy> {
    let default = TaskPolicy::default();
    Ok(TaskPolicy {
        acks_late: optional(table, "acks_late")?.unwrap_or(default.acks_late),
        acks_on_failure: optional(table, "acks_on_failure")?.unwrap_or(default.acks_on_failure),
        reject_on_worker_lost: optional(table, "reject_on_worker_lost")?.unwrap_or(default.reject_on_worker_lost),
        max_crashes: optional(table, "max_crashes")?.unwrap_or(default.max_crashes),
        soft_limit_us: optional(table, "soft_limit_us")?,
        hard_limit_us: optional(table, "hard_limit_us")?,
    })
}

fn kinds(py: Python<'_>, config: Config<'_, '_>) -> PyResult<Kinds> {
    let mut kinds = Kinds::FEWEST;
    for name in optional::<Vec<String>>(config, "notify")?.unwrap_or_default() {
        let Some((_, kind)) = NoticeKind::ALL.into_iter().find(|(known, _)| *known == name) else {
            let known = NoticeKind::ALL.map(|(known, _)| known).join(", ");
            return Err(super::refuse(py, format!("no notice of kind '{name}'; there are {known}")));
        };
        kinds = kinds.with(kind);
    }
    Ok(kinds)
}
