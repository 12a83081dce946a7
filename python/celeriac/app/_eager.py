"""Local execution: `Task.apply`. The engine is the worker's tracer (`app/trace.py`)."""

from __future__ import annotations

from typing import Any

from celeriac.app.context import Context
from celeriac.exceptions import Retry
from celeriac.utils.nodenames import gethostname

__all__ = ["apply", "through_serializer"]


def through_serializer(args: Any, kwargs: Any, serializer: str) -> tuple[Any, Any]:
    """Arguments as a worker would see them."""
    from celeriac._bridge.codec import dumps, loads

    content_type, content_encoding, data = dumps((list(args), dict(kwargs)), serializer)
    found = loads(data, content_type, content_encoding, frozenset({content_type}))
    return found[0], found[1]


def apply(
    task: Any,
    args: Any,
    kwargs: Any,
    link: Any,
    link_error: Any,
    task_id: str | None,
    retries: int | None,
    throw: bool | None,
    logfile: str | None,
    loglevel: int | None,
    headers: Any,
    options: dict[str, Any],
) -> Any:
    """See `Task.apply`."""
    from celeriac._state import get_current_worker_task
    from celeriac.app.trace import Tracer
    from celeriac.result import EagerResult
    from celeriac.utils import uuid

    app = task.app
    if throw is None:
        throw = app.conf.task_eager_propagates
    parent = get_current_worker_task()
    task_id = task_id or uuid()
    ignore_result = options.get("ignore_result")
    stamped = options.get("stamped_headers")
    fields = {
        "id": task_id,
        "task": task.name,
        "retries": retries or 0,
        "is_eager": True,
        "called_directly": False,
        "logfile": logfile,
        "loglevel": loglevel or 0,
        "hostname": gethostname(),
        "callbacks": maybe_list(link),
        "errbacks": maybe_list(link_error),
        "headers": headers,
        "ignore_result": task.ignore_result if ignore_result is None else ignore_result,
        "args": list(args or ()),
        "kwargs": dict(kwargs or {}),
        "timelimit": [options.get("time_limit"), options.get("soft_time_limit")],
        "delivery_info": {
            "is_eager": True,
            "exchange": options.get("exchange"),
            "routing_key": options.get("routing_key"),
            "priority": options.get("priority"),
        },
        "parent_id": options.get("parent_id") or (parent.request.id if parent is not None else None),
        "root_id": options.get("root_id")
        or ((parent.request.root_id or parent.request.id) if parent is not None else None),
        "group": options.get("group_id"),
        "group_index": options.get("group_index"),
        "chord": options.get("chord"),
        "chain": options.get("chain"),
        "shadow": options.get("shadow"),
        "correlation_id": task_id,
        "stamped_headers": stamped,
        "stamps": {stamp: options[stamp] for stamp in stamped if stamp in options} if stamped else {},
    }
    request = Context(fields)
    tracer = app.__dict__.get("_eager_tracer")
    if tracer is None:
        tracer = app.__dict__["_eager_tracer"] = Tracer(app, hostname=gethostname())
    try:
        outcome = tracer.run_eager(task, fields["args"], fields["kwargs"], request, throw=throw)
    except Retry as exc:  # with `throw` it comes out of the task
        if exc.sig is None:
            raise
        return exc.sig.apply(retries=(retries or 0) + 1, throw=throw)
    ended = outcome.retval
    if outcome.state == "RETRY" and getattr(ended, "sig", None) is not None:
        # The next attempt, at once: waiting would only hold the caller up.
        return ended.sig.apply(retries=(retries or 0) + 1, throw=throw)
    result: EagerResult[Any] = EagerResult(task_id, ended, outcome.state, traceback=outcome.traceback, name=task.name)
    return result


def maybe_list(value: Any) -> list[Any] | None:
    """None, a list as it is, or a list of the one value."""
    if value is None:
        return None
    return list(value) if isinstance(value, (list, tuple)) else [value]
