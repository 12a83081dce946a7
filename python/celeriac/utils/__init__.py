"""Helpers; those that Celery has here are importable from here."""

from __future__ import annotations

from functools import cached_property
from typing import Any

__all__ = ["cached_property", "chunks", "gen_task_name", "gen_unique_id", "noop", "uuid", "worker_direct"]


_ELSEWHERE = {
    "chunks": "celeriac.utils.functional:chunks",
    "get_cls_by_name": "celeriac.utils.imports:symbol_by_name",
    "get_full_cls_name": "celeriac.utils.imports:qualname",
    "import_from_cwd": "celeriac.utils.imports:import_from_cwd",
    "instantiate": "celeriac.utils.imports:instantiate",
    "memoize": "celeriac.utils.functional:memoize",
    "nodename": "celeriac.utils.nodenames:nodename",
    "nodesplit": "celeriac.utils.nodenames:nodesplit",
}


def uuid() -> str:
    """A new UUID text of version 7: ids sort by the time they were made (Celery makes version 4)."""
    from celeriac._bridge.codec import new_id

    return new_id()


gen_unique_id = uuid


def noop(*args: Any, **kwargs: Any) -> None:
    """Takes anything, does nothing."""


def worker_direct(hostname: Any) -> Any:
    """The `Queue` that only the worker `hostname` consumes (``worker_direct``)."""
    from celeriac._entity import Exchange, Queue

    if isinstance(hostname, Queue):
        return hostname
    return Queue(f"{hostname}.dq2", Exchange("C.dq2"), str(hostname))


def __getattr__(name: str) -> Any:
    if name == "gen_task_name":
        from celeriac.utils.imports import gen_task_name

        return gen_task_name
    path = _ELSEWHERE.get(name)
    if path is not None:
        from importlib import import_module

        module, _, attribute = path.partition(":")
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
