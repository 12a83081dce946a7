"""A queue, ours or Kombu's, as the core takes it: exchanges, bindings and arguments as Kombu declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BindingTable", "ExchangeTable", "QueueTable", "queue_table"]


class ExchangeTable(TypedDict):
    """An exchange; `name` is never empty."""

    name: str
    type: str
    durable: bool
    auto_delete: bool
    arguments: dict[str, Any]
    passive: bool
    no_declare: bool


class BindingTable(TypedDict):
    """How messages get from an exchange into a queue."""

    exchange: ExchangeTable
    routing_key: str
    arguments: dict[str, Any]


class QueueTable(TypedDict):
    """A queue. Arguments hold what AMQP's tables hold: text, bytes, numbers, bool, None, datetime, list, dict."""

    name: str
    bindings: list[BindingTable]
    durable: bool
    exclusive: bool
    auto_delete: bool
    arguments: dict[str, Any]
    consumer_arguments: dict[str, Any]
    no_declare: bool


# Kombu's attributes of a queue that become arguments, and what one unit of theirs is there: milliseconds for seconds.
_ARGUMENTS = {
    "expires": ("x-expires", 1000),
    "message_ttl": ("x-message-ttl", 1000),
    "max_length": ("x-max-length", 1),
    "max_length_bytes": ("x-max-length-bytes", 1),
    "max_priority": ("x-max-priority", 1),
}


def queue_table(queue: Any) -> QueueTable:
    """What the core has to know to declare and to consume `queue`.

    A queue with `bindings` is bound by them alone, as in Kombu; another one by its exchange and routing key. The
    default exchange is left out: every queue is in it.
    """
    arguments = dict(getattr(queue, "queue_arguments", None) or {})
    for attribute, (name, units) in _ARGUMENTS.items():
        value = getattr(queue, attribute, None)
        if value is not None:
            arguments[name] = int(float(value) * units) if units > 1 else int(value)
    exclusive = _flag(queue, "exclusive")
    return {
        "name": str(queue.name),
        "bindings": [row for each in (getattr(queue, "bindings", None) or [queue]) if (row := _binding(each, queue))],
        "durable": _flag(queue, "durable", default=True),
        "exclusive": exclusive,
        "auto_delete": _flag(queue, "auto_delete") or exclusive,
        "arguments": arguments,
        "consumer_arguments": dict(getattr(queue, "consumer_arguments", None) or {}),
        "no_declare": _flag(queue, "no_declare"),
    }


def _binding(binding: Any, queue: Any) -> BindingTable | None:
    exchange = getattr(binding, "exchange", None) or queue.exchange
    name = exchange if isinstance(exchange, str) else getattr(exchange, "name", None)
    if not name:
        return None
    # Kombu: `arguments` of a binding, `binding_arguments` of a queue.
    arguments: Mapping[str, Any] | None = getattr(
        binding, "arguments" if binding is not queue else "binding_arguments", None
    )
    return {
        "exchange": {
            "name": str(name),
            "type": str(getattr(exchange, "type", None) or "direct"),
            "durable": _flag(exchange, "durable", default=True),
            "auto_delete": _flag(exchange, "auto_delete"),
            "arguments": dict(getattr(exchange, "arguments", None) or {}),
            "passive": _flag(exchange, "passive"),
            "no_declare": _flag(exchange, "no_declare"),
        },
        "routing_key": str(getattr(binding, "routing_key", None) or ""),
        "arguments": dict(arguments or {}),
    }


def _flag(entity: Any, name: str, *, default: bool = False) -> bool:
    value = getattr(entity, name, None)
    return default if value is None else bool(value)
