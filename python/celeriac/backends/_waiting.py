"""Waiting for results without losing a wake-up.

The order is what makes it safe: read the store's generation, then the result, then wait for the generation to move. A
result written between the two reads has moved the generation already, so the wait returns at once.
"""

from __future__ import annotations

import math
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac.exceptions import ImproperlyConfigured, TimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_LONG_S = 3600.0


class Waiting:
    """Waiting in terms of `generation`, `wait_change` and the reading methods of a backend."""

    polling: bool = True
    """True if `wait_change` cannot be woken and sleeps instead."""

    if TYPE_CHECKING:

        def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]: ...
        def get_task_metas(self, task_ids: list[str]) -> dict[str, dict[str, Any]]: ...

    def generation(self) -> int:
        """A number that changes with every change of the store."""
        return 0

    def wait_change(self, seen: int, timeout: float) -> int:
        """Waits until `generation()` is no longer `seen`, at most `timeout` seconds; returns it."""
        del seen
        time.sleep(timeout)
        return 0

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> dict[str, Any]:
        """The meta of the final state.

        Args:
            task_id: the task.
            timeout: seconds; 0 looks once; None waits for ever.
            interval: seconds between calls of `on_interval`, and between looks at a store that cannot wake us.
            no_ack: accepted for Celery's sake.
            on_interval: called between looks.

        Raises:
            TimeoutError: not final in time.
        """
        del no_ack
        turns = Turns(timeout, interval, on_interval, polling=self.polling)
        while True:
            seen = self.generation()
            meta = self.get_task_meta(task_id)
            if meta["status"] in states.READY_STATES:
                return meta
            self.wait_change(seen, turns.next())

    def get_many(
        self,
        task_ids: Iterable[str],
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        max_iterations: int | None = None,
        READY_STATES: frozenset[str] = states.READY_STATES,  # noqa: N803 - Celery's name
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """`(id, meta)` of each task as it becomes ready. `timeout` is for all of them. Raises TimeoutError."""
        del no_ack
        left = dict.fromkeys(task_ids)
        turns = Turns(timeout, interval, on_interval, polling=self.polling)
        looks = _Looks()
        rounds = 0
        while True:
            seen = self.generation()
            ids = looks.begin(left)
            found = False
            for task_id, meta in self.get_task_metas(ids).items():
                if meta["status"] in READY_STATES:
                    found = True
                    del left[task_id]
                    if on_message is not None:
                        on_message(meta)
                    yield task_id, meta
            rounds += 1
            if not left:
                return
            if max_iterations is not None and rounds >= max_iterations:
                raise TimeoutError(f"{len(left)} results were not ready after {rounds} looks")
            patience = turns.next()
            if not (found and looks.partial):
                self.wait_change(seen, min(patience, looks.end()))

    def wait_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        callback: Callable[[str, Any], Any] | None = None,
        propagate: bool = True,
    ) -> Any:
        """The value of an `AsyncResult`, once it is there."""
        self.ensure_no_on_message(on_message)
        meta = self.wait_for(result.id, timeout, interval, no_ack, on_interval)
        result._maybe_set_cache(meta)
        return result.maybe_throw(propagate=propagate, callback=callback)

    def iter_native(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """`(id, meta)` of the members of a `ResultSet` as they become ready."""
        self.ensure_no_on_message(on_message)
        ids = list(dict.fromkeys(each.id for each in result.results))
        if not ids:
            return iter(())
        return self.get_many(ids, timeout=timeout, interval=interval, no_ack=no_ack, on_interval=on_interval)

    @staticmethod
    def ensure_no_on_message(on_message: object) -> None:
        """Refuses `on_message`: this store keeps the last state of a task, not every one."""
        if on_message is not None:
            raise ImproperlyConfigured("Backend does not support on_message callback")

    def add_pending_result(self, result: Any, weak: bool = False) -> Any:
        """Nothing to register: every wait looks at the store first."""
        del weak
        return result

    def remove_pending_result(self, result: Any) -> Any:
        """Nothing to remove."""
        return result


class _Looks:
    """Which of many results to look at when the store has changed.

    Each change may be any of them, but reading all of a thousand for each is what a join would then mostly do. Results
    come roughly in the order their tasks were sent: the first few are looked at every time, all of them only when that
    takes a tenth of the time at most.
    """

    _FEW = 64
    _SHARE = 9.0

    def __init__(self) -> None:
        self.partial = False
        self._all_due = 0.0
        self._began = 0.0

    def begin(self, left: dict[str, None]) -> list[str]:
        """The ids to look at now."""
        self._began = time.monotonic()
        self.partial = len(left) > self._FEW and self._began < self._all_due
        return list(islice(left, self._FEW)) if self.partial else list(left)

    def end(self) -> float:
        """Seconds to wait at most until those that were not looked at have their turn."""
        now = time.monotonic()
        if self.partial:
            return max(self._all_due - now, 0.0)
        self._all_due = now + self._SHARE * (now - self._began)
        return math.inf


class Turns:
    """How long each turn of a wait may take, and when `on_interval` is due."""

    def __init__(
        self, timeout: float | None, interval: float, on_interval: Callable[[], Any] | None, *, polling: bool
    ) -> None:
        now = time.monotonic()
        self._timeout = timeout
        self._deadline = math.inf if timeout is None else now + timeout
        self._interval = max(interval, 0.001)
        self._on_interval = on_interval
        self._due = now if on_interval is not None else math.inf
        self._longest = self._interval if polling else _LONG_S

    def next(self) -> float:
        """Seconds to wait now. Raises TimeoutError when the time is up."""
        now = time.monotonic()
        if now >= self._due and self._on_interval is not None:
            self._on_interval()
            now = time.monotonic()
            self._due = now + self._interval
        left = self._deadline - now
        if left <= 0:
            raise TimeoutError("The operation timed out.")
        return min(left, self._longest, self._due - now)
