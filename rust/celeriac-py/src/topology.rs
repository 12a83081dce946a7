//! A queue as Python gives it (`celeriac._bridge.topology.QueueTable`), as the transports take it.

use celeriac_protocol::amqp::Table;
use celeriac_transport::topology::{Binding, ExchangeSpec, QueueSpec};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::codec::table;
use crate::errors::public;

/// A queue's table, or `(name, exchange, exchange type, routing key)` for a durable one with one binding.
pub(crate) fn queue(given: &Bound<'_, PyAny>) -> PyResult<QueueSpec> {
    if given.is_instance_of::<PyTuple>() {
        let (name, exchange, kind, key): (String, String, String, String) = given.extract()?;
        return Ok(QueueSpec::new(name).bound(&exchange, &kind, &key));
    }
    let name: String = given.get_item("name")?.extract()?;
    let what = format!("queue '{name}': argument");
    let mut bindings = Vec::new();
    if let Some(given) = optional::<Bound<'_, PyAny>>(given, "bindings")? {
        for given in given.try_iter()? {
            bindings.extend(binding(&given?, &name)?);
        }
    }
    Ok(QueueSpec {
        bindings,
        durable: optional(given, "durable")?.unwrap_or(true),
        exclusive: optional(given, "exclusive")?.unwrap_or(false),
        auto_delete: optional(given, "auto_delete")?.unwrap_or(false),
        arguments: arguments(given, "arguments", &what)?,
        consumer_arguments: arguments(given, "consumer_arguments", &what)?,
        no_declare: optional(given, "no_declare")?.unwrap_or(false),
        name,
    })
}

/// `None` for the default exchange: every queue is in it.
fn binding(given: &Bound<'_, PyAny>, queue: &str) -> PyResult<Option<Binding>> {
    let exchange = given.get_item("exchange")?;
    let name: String = exchange.get_item("name")?.extract()?;
    if name.is_empty() {
        return Ok(None);
    }
    let what = format!("exchange '{name}': argument");
    Ok(Some(Binding {
        routing_key: optional(given, "routing_key")?.unwrap_or_default(),
        arguments: arguments(
            given,
            "arguments",
            &format!("binding of queue '{queue}' to exchange '{name}': argument"),
        )?,
        exchange: ExchangeSpec {
            kind: optional(&exchange, "type")?.unwrap_or_else(|| "direct".to_owned()),
            durable: optional(&exchange, "durable")?.unwrap_or(true),
            auto_delete: optional(&exchange, "auto_delete")?.unwrap_or(false),
            arguments: arguments(&exchange, "arguments", &what)?,
            passive: optional(&exchange, "passive")?.unwrap_or(false),
            no_declare: optional(&exchange, "no_declare")?.unwrap_or(false),
            name,
        },
    }))
}

fn arguments(given: &Bound<'_, PyAny>, name: &str, what: &str) -> PyResult<Table> {
    let Some(values) = optional::<Bound<'_, PyAny>>(given, name)? else { return Ok(Table::default()) };
    let mut bytes = Vec::new();
    table::append_fields(&values, what, &mut bytes)?;
    Table::from_fields(&bytes.into()).map_err(|error| public(given.py(), "EncodeError", &format!("{what}: {error}")))
}

fn optional<'py, T: FromPyObjectOwned<'py>>(table: &Bound<'py, PyAny>, name: &str) -> PyResult<Option<T>> {
    if !table.contains(name)? {
        return Ok(None);
    }
    let value = table.get_item(name)?;
    if value.is_none() { Ok(None) } else { Ok(Some(value.extract().map_err(Into::into)?)) }
}
