"""Helpers; those that Celery has here are importable from here."""

from __future__ import annotations

from functools import cached_property
from typing import Any

__all__ = ["cached_property", "chunks", "gen_task_name", "gen_unique_id", "noop", "uuid", "worker_direct"]


def uuid() -> str:
    """A random UUID4 text."""
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
    if name == "chunks":
        from celeriac.utils.functional import chunks

        return chunks
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
