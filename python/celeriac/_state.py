"""Which app and which task are current, and which apps there are."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, cast

from celeriac.app.context import running_task, running_worker_task
from celeriac.local import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from celeriac.app.base import Celery
    from celeriac.app.task import Task

__all__ = [
    "app_or_default",
    "connect_on_app_finalize",
    "current_app",
    "current_task",
    "get_current_app",
    "get_current_task",
    "get_current_worker_task",
    "set_default_app",
]

default_app: Celery | None = None
"""The app of threads that have none of their own."""

_apps: weakref.WeakSet[Celery] = weakref.WeakSet()
_on_app_finalizers: set[Callable[[Celery], Any]] = set()
_task_join_will_block = False


class _Local(threading.local):
    current_app: Celery | None = None


_tls = _Local()


def connect_on_app_finalize(callback: Callable[[Celery], Any]) -> Callable[[Celery], Any]:
    """Calls `callback(app)` whenever an app is finalised."""
    _on_app_finalizers.add(callback)
    return callback


def _announce_app_finalized(app: Celery) -> None:
    for callback in list(_on_app_finalizers):
        callback(app)


def _set_task_join_will_block(blocks: bool) -> None:
    global _task_join_will_block
    _task_join_will_block = blocks


def task_join_will_block() -> bool:
    """True where waiting for a result would block a slot of the pool."""
    return _task_join_will_block


def set_default_app(app: Celery | None) -> None:
    """Makes `app` the one for threads that have none."""
    global default_app
    default_app = app


def _set_current_app(app: Celery | None) -> None:
    _tls.current_app = app


def _get_current_app() -> Celery:
    global default_app
    current = _tls.current_app or default_app
    if current is None:
        from celeriac.app.base import Celery

        default_app = current = Celery(
            "default",
            fixups=[],
            set_as_current=False,
            loader=os.environ.get("CELERIAC_LOADER") or os.environ.get("CELERY_LOADER") or "default",
        )
    return current


def _strict_current_app() -> Celery:
    raise RuntimeError("Uses current app")


def _warning_current_app() -> Celery:
    import traceback

    sys.stderr.write("-- USES CURRENT_APP\n")
    traceback.print_stack(file=sys.stderr)
    return _get_current_app()


if os.environ.get("C_STRICT_APP"):
    get_current_app = _strict_current_app
elif os.environ.get("C_WARN_APP"):
    get_current_app = _warning_current_app
else:
    get_current_app = _get_current_app


def get_current_task() -> Task[..., Any] | None:
    """The task that runs in this thread, greenlet or coroutine."""
    task: Task[..., Any] | None = running_task()
    return task


def get_current_worker_task() -> Task[..., Any] | None:
    """The innermost running task that a worker (or `apply`) started, not a plain call."""
    task: Task[..., Any] | None = running_worker_task()
    return task


def app_or_default(app: Celery | None = None) -> Celery:
    """`app`, or the current one. With ``CELERY_TRACE_APP`` in the environment, None is an error."""
    if app is not None:
        return app
    if os.environ.get("CELERIAC_TRACE_APP") or os.environ.get("CELERY_TRACE_APP"):
        raise RuntimeError("an app is needed here: app_or_default() was called without one")
    return get_current_app()


def _register_app(app: Celery) -> None:
    _apps.add(app)


def _deregister_app(app: Celery) -> None:
    _apps.discard(app)


def _get_active_apps() -> Generator[Celery, None, None]:
    yield from list(_apps)


def _after_fork() -> None:
    """In a child process: tells the receivers of each app's `on_after_fork`."""
    for app in list(_apps):
        signal = app.__dict__.get("on_after_fork")
        if signal is not None and signal.receivers:
            signal.send(sender=app)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

current_app: Celery = cast("Celery", Proxy(get_current_app))
current_task: Task[..., Any] = cast("Task[..., Any]", Proxy(get_current_task))
