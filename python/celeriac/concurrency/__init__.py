"""Pools: what runs the tasks of a worker. Threads and solo run them in the worker's own process."""

from __future__ import annotations

import importlib
import os
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
DEFAULT_POOL = "threads"

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
            f"the pool {name!r} is not available in this version of celeriac: use -P threads (the default) or -P solo"
        )
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
