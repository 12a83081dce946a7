"""Pools: what runs the tasks of a worker. Prefork has processes; threads and solo run tasks in the worker's own."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from celeriac.concurrency.base import BasePool

ALIASES = {
    "prefork": "celeriac.concurrency.prefork:TaskPool",
    "processes": "celeriac.concurrency.prefork:TaskPool",
    "solo": "celeriac.concurrency.solo:TaskPool",
    "threads": "celeriac.concurrency.thread:TaskPool",
}
DEFAULT_POOL = "prefork" if sys.platform == "linux" else "threads"
"""As in Celery, where it is tested (docs/adr/0010-spawned-children.md)."""

START_METHODS = ("fork", "spawn")
"""How the processes of a pool come about: values of `worker_pool_start_method`, with the names of `multiprocessing`."""
DEFAULT_START_METHOD = "fork" if sys.platform == "linux" else "spawn"

_OF_PROCESSES = {"prefork", "processes"}
_NOT_YET = {"eventlet", "gevent"}


def get_available_pool_names() -> tuple[str, ...]:
    """Names that `get_implementation` takes."""
    return (*ALIASES, *(("custom",) if os.environ.get("CELERY_CUSTOM_WORKER_POOL") else ()))


def get_implementation(pool: str | type[BasePool] | None) -> type[BasePool]:
    """The pool class for a name, a path `module:Class`, or a class; None is the default pool.

    Raises:
        ImproperlyConfigured: no such pool, or one that this version does not have.
    """
    if isinstance(pool, type):
        return pool
    name = pool or DEFAULT_POOL
    if name in _NOT_YET:
        raise ImproperlyConfigured(
            f"the pool {name!r} is not available in this version of celeriac: use -P prefork, -P threads or -P solo"
        )
    if name in _OF_PROCESSES and sys.platform == "win32":
        raise ImproperlyConfigured(f"the pool {name!r} needs a Unix: use -P threads or -P solo")
    path = os.environ.get("CELERY_CUSTOM_WORKER_POOL", name) if name == "custom" else ALIASES.get(name, name)
    module, found, attribute = path.replace(":", ".").rpartition(".")
    if not found:
        names = ", ".join(get_available_pool_names())
        raise ImproperlyConfigured(f"no pool is named {name!r}: expected one of {names}, or a path to a class")
    try:
        implementation: type[BasePool] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as exc:
        raise ImproperlyConfigured(f"cannot load the pool {path!r}: {exc}") from exc
    return implementation


def get_start_method(name: str | None) -> str:
    """The start method for a name; None is the default.

    Raises:
        ImproperlyConfigured: no such method, or none of this system.
    """
    method = name or DEFAULT_START_METHOD
    if method not in START_METHODS:
        raise ImproperlyConfigured(
            f"worker_pool_start_method: expected 'fork' (from a process without threads, as multiprocessing's "
            f"'forkserver') or 'spawn', got {method!r}"
        )
    if method == "fork" and sys.platform != "linux":
        raise ImproperlyConfigured("worker_pool_start_method: 'fork' needs Linux; use 'spawn'")
    return method


def refuse_in_a_starting_child() -> None:
    """Called by a worker before it does anything.

    Raises:
        RuntimeError: this is a spawned process that is still importing its parent's modules.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is not None and getattr(process.current_process(), "_inheriting", False):
        raise RuntimeError(
            "a child process is importing the application, and its main module starts a worker: do that only under "
            "if __name__ == '__main__':"
        )
