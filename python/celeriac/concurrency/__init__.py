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
"""As in Celery, where there are the means: sealed memory files, and descriptors that kill (docs/adr/0009)."""

_LINUX_ONLY = {"prefork", "processes"}
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
    if name in _LINUX_ONLY and sys.platform != "linux":
        raise ImproperlyConfigured(f"the pool {name!r} needs Linux: use -P threads or -P solo")
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
