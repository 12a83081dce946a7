"""Messages of plain calls, as `delay()` makes them: a model of each task's, of which a call fills in its own part.

A message has some thirty fields, of which a plain call brings five: two ids, its arguments and their representations.
Making all of them for each call was a sixth of its CPU time (docs/performance-notes.md). A call that has more to say
takes the long way, by `AMQP.message`, and so does one that somebody wants to see as it is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac._bridge.codec import EnvelopeModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.app.base import Celery

__all__ = ["publish_ready_made"]

_MOST = 1000  # names come from code, but a program may make them up
# Options that do not show in a message, and those that a model is asked for by.
_OPTIONS = frozenset({"add_to_parent", "ignore_result", "result_cls", "serializer"})


class _Model:
    """The messages of one task's plain calls from one thread of one process, while all of this is the same."""

    __slots__ = (
        "declare",
        "defaults",
        "envelopes",
        "exchange",
        "ignored",
        "priority",
        "routing_key",
        "serializer",
        "sizes",
    )

    def __init__(self, app: Celery, name: str, task_id: str, options: Mapping[str, Any]) -> None:
        from celeriac.app.amqp import AMQP

        amqp = app.amqp
        self.defaults = amqp.defaults
        self.serializer, self.ignored = options.get("serializer"), options.get("ignore_result")
        self.sizes = amqp.argsrepr_maxsize, amqp.kwargsrepr_maxsize
        self.envelopes: EnvelopeModel | None = None
        out = amqp.message(name, task_id, (), {}, options)
        self.exchange, self.routing_key, self.declare = out.exchange, out.routing_key, out.declare
        self.priority: int = out.properties.get("priority") or 0
        # A subclass may make its messages otherwise, and other bodies are encoded by their serializer.
        if type(amqp) is AMQP and out.serializer == "json" and not out.compression:
            self.envelopes = EnvelopeModel(out.headers, out.properties, out.body[2], *self.sizes)


def publish_ready_made(
    app: Celery, name: str, task_id: str, tag: str, args: Any, kwargs: Any, options: Mapping[str, Any]
) -> bool:
    """Publishes a plain call that no task makes. False: nothing was done, it has to go the long way.

    Raises:
        OperationalError: the broker did not take it.
    """
    amqp = app.amqp
    defaults = amqp.defaults
    if (
        not options.keys() <= _OPTIONS
        or defaults.has_routes  # a router may look at the arguments
        or type(args) not in (tuple, list)
        or type(kwargs) is not dict
        or signals.before_task_publish.receivers
        or signals.after_task_publish.receivers
        or signals.task_sent.receivers
    ):
        return False
    models = app._models()
    model = models.get(name)
    if (
        model is None
        or model.defaults is not defaults
        or model.serializer is not options.get("serializer")
        or model.ignored is not options.get("ignore_result")
        or model.sizes != (amqp.argsrepr_maxsize, amqp.kwargsrepr_maxsize)
    ):
        if len(models) >= _MOST:
            models.clear()
        model = models[name] = _Model(app, name, task_id, options)
    if model.envelopes is None:
        return False
    try:
        envelope = model.envelopes.one(task_id, tag, args, kwargs)
    except Exception:
        return False  # the long way fails, too, and says it as ever
    if model.declare:
        amqp.declare(model.declare)
    amqp.publish((model.exchange, model.routing_key, model.priority, None, envelope))
    return True
