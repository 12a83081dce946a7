"""The one object that goes into the core: what the hub has to know of settings, queues and tasks."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from celeriac._bridge.codec import accept_types
from celeriac._bridge.topology import queue_table
from celeriac.app._broker_tls import with_tls
from celeriac.app._connection import first_url
from celeriac.app._transport import transport_options
from celeriac.utils.url import sanitize_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.app.base import Celery
    from celeriac.app.task import Task
    from celeriac.worker.worker import WorkController


def build(
    worker: WorkController, *, children: int, notify: Sequence[str], processes: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The configuration of the worker's hub (see `Hub` in `_core.pyi` for its keys)."""
    app = worker.app
    conf = app.conf
    first = first_url(conf.broker_read_url)
    url, options = with_tls(first, conf.broker_use_ssl, transport_options(conf, first, worker=True))
    return {
        "url": url,
        "options": options,
        "timeout_ms": int((conf.broker_connection_timeout or 4.0) * 1000),
        "node": worker.hostname,
        "queues": [queue_table(queue) for queue in app.amqp.queues.consume_from.values()],
        "children": children,
        "prefetch": prefetch(children, worker.prefetch_multiplier, disabled=worker.disable_prefetch),
        "result_url": result_url(app),
        "result_options": getattr(app.backend, "hub_options", {}),
        "tasks": {name: task_policy(app, task) | limits(worker, task) for name, task in app.tasks.items()},
        "accept": sorted(accept_types(conf.accept_content) or ()),
        "timezone_offset_ms": _offset_ms(app),
        "max_message_bytes": int(conf.worker_max_message_bytes),
        "notify": list(notify),
        "processes": processes,
    }


def prefetch(children: int, multiplier: int | None, *, disabled: bool = False) -> int | None:
    """Most deliveries held: as Celery counts it if a multiplier is set; 0: no limit; None: the hub adapts."""
    if disabled:
        return children
    if multiplier is None:
        return None
    count = children * multiplier
    return 0 if count > 65535 else count


def shown_broker_url(app: Celery) -> str:
    """The broker's URL without its password."""
    return sanitize_url(first_url(app.conf.broker_read_url))


def is_of_one_process(app: Celery) -> bool:
    """Whether no other process can use the app's broker."""
    return first_url(app.conf.broker_read_url).startswith("memory:")


def task_policy(app: Celery, task: Task[..., Any]) -> dict[str, Any]:
    """How deliveries of a task are settled (spec: the acknowledgement matrix)."""
    on_failure = getattr(task, "acks_on_failure", None)
    if on_failure is None:
        on_failure = getattr(task, "acks_on_failure_or_timeout", None)
    return {
        "acks_late": bool(task.acks_late),
        "acks_on_failure": True if on_failure is None else bool(on_failure),
        "reject_on_worker_lost": bool(task.reject_on_worker_lost),
        "max_crashes": int(getattr(task, "max_crashes", None) or app.conf.task_max_crashes),
    }


def limits(worker: WorkController, task: Task[..., Any]) -> dict[str, int]:
    """A task's own time limits, else the worker's, in µs; those of a message go before both."""
    found = {
        "soft_limit_us": task.soft_time_limit or worker.soft_time_limit,
        "hard_limit_us": task.time_limit or worker.time_limit,
    }
    return {name: int(seconds * 1e6) for name, seconds in found.items() if seconds}


def result_url(app: Celery) -> str | None:
    """Where the hub stores results in the same step as a settlement; None: Python stores them."""
    return getattr(app.backend, "hub_url", None)


def _offset_ms(app: Celery) -> int:
    """Offset from UTC of dates without one."""
    offset = datetime.now(timezone.utc).astimezone(app.timezone).utcoffset()
    return int(offset.total_seconds() * 1000) if offset else 0
