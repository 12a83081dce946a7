"""Messages of many calls of one task that differ in little: made from one model, encoded one after the other.

A call's message has some thirty fields, of which a bulk call changes seven. Making each from nothing cost more than
encoding it and storing it together (benches/system, job `bulk`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac._bridge.codec import bounded_repr, compress, dumps, encode_envelope, new_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["alike", "publications"]


def alike(amqp: Any, options: Mapping[str, Any]) -> bool:
    """Whether the messages of such calls differ only in ids and arguments, and nobody wants to see them one by one."""
    return not (
        amqp.defaults.has_routes  # a router may look at the arguments
        or options.get("headers")  # may set any field
        or signals.before_task_publish.receivers
        or signals.after_task_publish.receivers
        or signals.task_sent.receivers
    )


def publications(
    amqp: Any, name: str, ids: list[str], calls: list[tuple[Any, Any]], options: Mapping[str, Any], task: Any
) -> tuple[list[Any], list[Any]]:
    """``(publications, queues to declare)`` of calls for which `alike` holds; one id a call, at least one call.

    Raises:
        As `AMQP.message` and `AMQP.encode`.
    """
    model = amqp.message(name, ids[0], *calls[0], options, task)
    headers, properties, embed = model.headers, model.properties, model.body[2]
    own_root = options.get("root_id") is None
    own_args, own_kwargs = options.get("argsrepr") is None, options.get("kwargsrepr") is None
    args_chars, kwargs_chars = amqp.argsrepr_maxsize, amqp.kwargsrepr_maxsize
    serializer, compression = model.serializer, model.compression
    exchange, routing_key, due_ms = model.exchange, model.routing_key, model.due_ms
    priority = properties.get("priority") or 0
    made = []
    for task_id, tag, (args, kwargs) in zip(ids, new_ids(len(ids)), calls):  # noqa: B905 - 3.10 pays for it
        # The dicts are the model's: what is encoded is gone before they change again.
        headers["id"] = properties["correlation_id"] = task_id
        if own_root:
            headers["root_id"] = task_id
        if own_args:
            headers["argsrepr"] = bounded_repr(args, args_chars)
        if own_kwargs:
            headers["kwargsrepr"] = bounded_repr(kwargs, kwargs_chars) if kwargs else "{}"
        properties["delivery_tag"] = tag
        content_type, content_encoding, data = dumps((args, kwargs, embed), serializer)
        if compression:
            data, headers["compression"] = compress(data, compression)
        envelope = encode_envelope(headers, properties, data, content_type, content_encoding)
        made.append((exchange, routing_key, priority, due_ms, envelope))
    return made, model.declare
