//! Notices as Python gets them: `(kind, data)`.

use celeriac_hub::{ChildNews, Notice};
use celeriac_protocol::Delivery;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::codec::PyMessage;

pub(super) type Told = (&'static str, Py<PyAny>);

fn message(py: Python<'_>, delivery: &Delivery) -> PyResult<Py<PyMessage>> {
    Py::new(py, PyMessage::new(delivery.message.clone()))
}

pub(super) fn told(py: Python<'_>, notice: Notice) -> PyResult<Told> {
    Ok(match notice {
        Notice::Log(level, text) => ("log", (level, text).into_pyobject(py)?.into_any().unbind()),
        Notice::Up => ("up", py.None()),
        Notice::Down(text) => ("down", text.into_pyobject(py)?.into_any().unbind()),
        Notice::Received(delivery) => ("received", message(py, &delivery)?.into_any()),
        Notice::Unknown(delivery) => ("unknown", message(py, &delivery)?.into_any()),
        Notice::Dead { delivery, reason, detail } => {
            let (id, task) = match &delivery.message.head {
                Ok(head) => (delivery.message.text(&head.id), delivery.message.text(&head.task)),
                Err(_) => ("", ""),
            };
            ("dead", (id, task, reason, detail).into_pyobject(py)?.into_any().unbind())
        }
        Notice::Revoked(delivery, reason) => {
            ("revoked", (message(py, &delivery)?, reason).into_pyobject(py)?.into_any().unbind())
        }
        Notice::Broadcast { exchange, routing_key, payload } => {
            let data = (&*exchange, &*routing_key, PyBytes::new(py, &payload));
            ("broadcast", data.into_pyobject(py)?.into_any().unbind())
        }
        Notice::Child(ChildNews::Up { child, pid }) => {
            ("child", (child, pid, true, None::<i32>).into_pyobject(py)?.into_any().unbind())
        }
        Notice::Child(ChildNews::Down { child, pid, status }) => {
            ("child", (child, pid, false, status).into_pyobject(py)?.into_any().unbind())
        }
        Notice::Ready => ("ready", py.None()),
        Notice::Stopped(reason) => ("stopped", reason.into_pyobject(py)?.into_any().unbind()),
    })
}
