"""Messages of many calls of one task that differ in little: made from one model.

A call's message has some thirty fields, of which a bulk call changes seven. Making each from nothing cost more than
storing it (benches/system, job `bulk`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac._bridge.codec import EnvelopeModel, new_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["alike", "publications"]


def alike(amqp: Any, options: Mapping[str, Any]) -> bool:
    """Whether the messages of such calls differ only in ids and arguments, and nobody wants to see them one by one."""
    return not (
        amqp.defaults.has_routes  # a router may look at the arguments
        or options.get("headers")  # may set any field
        or options.get("body_encoding")
        or signals.before_task_publish.receivers
        or signals.after_task_publish.receivers
        or signals.task_sent.receivers
    )


def publications(
    amqp: Any, name: str, ids: list[str], calls: list[tuple[Any, Any]], options: Mapping[str, Any], task: Any
) -> tuple[list[Any], list[Any]] | None:
    """``(publications, queues to declare)`` of calls for which `alike` holds; one id a call, at least one call.

    Returns:
        None if their bodies are not plain JSON, or the broker speaks AMQP: then each is encoded by itself.

    Raises:
        As `AMQP.message` and `AMQP.encode`.
    """
    if amqp.defaults.amqp:
        return None
    model = amqp.message(name, ids[0], *calls[0], options, task)
    if model.serializer != "json" or model.compression:
        return None
    args_chars = amqp.argsrepr_maxsize if options.get("argsrepr") is None else None
    kwargs_chars = amqp.kwargsrepr_maxsize if options.get("kwargsrepr") is None else None
    tags = new_ids(len(ids))
    envelopes = EnvelopeModel(model.headers, model.properties, model.body[2], args_chars, kwargs_chars).many(
        ids, tags, calls
    )
    exchange, routing_key, due_ms = model.exchange, model.routing_key, model.due_ms
    priority = model.properties.get("priority") or 0
    return [(exchange, routing_key, priority, due_ms, envelope) for envelope in envelopes], model.declare
