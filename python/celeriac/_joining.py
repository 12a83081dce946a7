"""Whether waiting for a result is allowed here.

A task that waits for another one holds a slot of the pool that the other one may need: with enough of them nothing
runs any more. So waiting inside a task is refused unless it is asked for. What is allowed belongs to the execution
context (thread or coroutine), not to the process: one task that lifts the protection does not lift it for the others.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from celeriac._state import task_join_will_block
from celeriac.app.context import in_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["allow_join_result", "assert_will_not_block", "denied_join_result"]

_WOULD_BLOCK = (
    "Never call result.get() within a task! It holds a slot of the pool that the awaited task may need. "
    "hint: chain the tasks, or pass disable_sync_subtasks=False if you know that this cannot happen"
)

_denied: ContextVar[bool | None] = ContextVar("celeriac_join_denied", default=None)


def assert_will_not_block() -> None:
    """Raises RuntimeError where waiting for a result would hold a slot of a worker's pool."""
    denied = _denied.get()
    if denied is None:
        denied = in_worker() or task_join_will_block()
    if denied:
        raise RuntimeError(_WOULD_BLOCK)


@contextmanager
def _set(denied: bool) -> Iterator[None]:
    token = _denied.set(denied)
    try:
        yield
    finally:
        _denied.reset(token)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Waiting for results is allowed inside."""
    with _set(False):
        yield


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Waiting for results is refused inside."""
    with _set(True):
        yield
