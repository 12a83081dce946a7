"""celeriac: a distributed task queue with Celery's API on a Rust core."""

from __future__ import annotations

TYPE_CHECKING = False  # not from `typing`, which takes 8 ms to import
if TYPE_CHECKING:
    from typing import Any

    from celeriac._entity import Broadcast as Broadcast
    from celeriac._entity import Exchange as Exchange
    from celeriac._entity import Queue as Queue
    from celeriac._state import current_app as current_app
    from celeriac._state import current_task as current_task
    from celeriac.app import bugreport as bugreport
    from celeriac.app import shared_task as shared_task
    from celeriac.app.base import Celeriac as Celeriac
    from celeriac.app.base import Celery as Celery
    from celeriac.app.task import Task as Task
    from celeriac.canvas import Signature as Signature
    from celeriac.canvas import chain as chain
    from celeriac.canvas import chord as chord
    from celeriac.canvas import chunks as chunks
    from celeriac.canvas import group as group
    from celeriac.canvas import maybe_signature as maybe_signature
    from celeriac.canvas import signature as signature
    from celeriac.canvas import subtask as subtask
    from celeriac.canvas import xmap as xmap
    from celeriac.canvas import xstarmap as xstarmap
    from celeriac.utils import uuid as uuid

__all__ = [
    "Broadcast",
    "Celeriac",
    "Celery",
    "Exchange",
    "Queue",
    "Task",
    "bugreport",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "maybe_signature",
    "shared_task",
    "signature",
    "uuid",
    "xmap",
    "xstarmap",
]

# Name -> module. Importing celeriac itself costs next to nothing; each name brings what it needs.
_MODULES = {
    "Broadcast": "celeriac._entity",
    "Celeriac": "celeriac.app.base",
    "Celery": "celeriac.app.base",
    "Exchange": "celeriac._entity",
    "Queue": "celeriac._entity",
    "Signature": "celeriac.canvas",
    "Task": "celeriac.app.task",
    "bugreport": "celeriac.app",
    "chain": "celeriac.canvas",
    "chord": "celeriac.canvas",
    "chunks": "celeriac.canvas",
    "current_app": "celeriac._state",
    "current_task": "celeriac._state",
    "group": "celeriac.canvas",
    "maybe_signature": "celeriac.canvas",
    "shared_task": "celeriac.app",
    "signature": "celeriac.canvas",
    "subtask": "celeriac.canvas",
    "uuid": "celeriac.utils",
    "xmap": "celeriac.canvas",
    "xstarmap": "celeriac.canvas",
}

_VERSION_NAMES = ("SERIES", "VERSION", "VERSION_BANNER", "__version__", "version_info", "version_info_t")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    module = _MODULES.get(name) or ("celeriac._version" if name in _VERSION_NAMES else None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_VERSION_NAMES})


def maybe_patch_concurrency(
    argv: Any = None, short_opts: Any = None, long_opts: Any = None, patches: Any = None
) -> None:
    """Does nothing: the green pools, which need the standard library patched early, come with a later version."""
    del argv, short_opts, long_opts, patches
