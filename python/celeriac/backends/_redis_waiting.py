"""Waiting where the store says what has changed: a record that is published is used as it came."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac.backends._waiting import Turns
from celeriac.backends._watch import LINGER_S, Watcher
from celeriac.exceptions import TimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from celeriac.backends._subscription import Subscription, Waiter

__all__ = ["PushedWaiting", "PushedWatcher"]

_FIRST_LOOK_S = 1.0


class PushedWaiting:
    """Replaces the waiting methods of a key-value backend that has a `Subscription`."""

    polling = False
    is_async = True

    if TYPE_CHECKING:
        _cache: Any
        _watcher: Watcher | None

        @property
        def subscription(self) -> Subscription: ...
        def get_key_for_task(self, task_id: str, key: str = "") -> str: ...
        def _decoded(self, task_id: str, value: Any) -> dict[str, Any]: ...

    @property
    def watcher(self) -> Watcher:
        """Who waits for results that are awaited, and calls back."""
        if self._watcher is None:
            self._watcher = PushedWatcher(self)
        return self._watcher

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], Any] | None = None,
        on_message: Callable[[Any], Any] | None = None,
    ) -> dict[str, Any]:
        """The meta of the final state. Raises TimeoutError.

        Args:
            task_id: the task.
            timeout: seconds; 0 looks once; None waits for ever.
            interval: seconds between calls of `on_interval`.
            no_ack: accepted for Celery's sake.
            on_interval: called between looks.
            on_message: called with the meta of each state that is seen.
        """
        for _, meta in self.get_many((task_id,), timeout, interval, no_ack, on_message, on_interval):
            return meta
        raise TimeoutError("The operation timed out.")

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
        left: dict[bytes, str] = {}
        for task_id in dict.fromkeys(task_ids):
            meta = self._cache.get(task_id)
            if meta is None:
                left[self.get_key_for_task(task_id).encode()] = task_id
                continue
            if on_message is not None:
                on_message(meta)
            yield task_id, meta
        if not left:
            return
        turns = Turns(timeout, interval, on_interval, polling=False)
        rounds = 0
        look = _FirstLook(left, timeout)
        waiter = self.subscription.waiter(left)
        try:
            while True:
                for key, value in waiter.take(look.left() or turns.next(), first=bool(look.unseen)):
                    look.unseen.discard(key)
                    if value is None or key not in left:
                        continue
                    meta = self._decoded(left[key], value)
                    ready = meta["status"] in READY_STATES
                    if ready:
                        waiter.drop((key,))
                        task_id = left.pop(key)
                        if meta["status"] == states.SUCCESS:
                            self._cache.put(task_id, meta)
                    if on_message is not None:
                        on_message(meta)
                    if ready:
                        if not left:
                            waiter.close()  # before the last one is told: who asked for one may never come back
                        yield task_id, meta
                if not left:
                    return
                rounds += 1
                if max_iterations is not None and rounds >= max_iterations:
                    raise TimeoutError(f"{len(left)} results were not ready after {rounds} looks")
        except GeneratorExit:
            if left:
                waiter.abandon()
            raise
        except BaseException:
            waiter.close()
            raise

    @staticmethod
    def ensure_no_on_message(on_message: object) -> None:
        """Every state is published here, so `on_message` is welcome."""
        del on_message

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
        result._maybe_set_cache(self.wait_for(result.id, timeout, interval, no_ack, on_interval, on_message))
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
        ids = [each.id for each in result.results]
        return self.get_many(ids, timeout, interval, no_ack, on_message, on_interval)


class _FirstLook:
    """What is stored already must be found by `get(timeout=0)`, too: the first look at each key may take this long."""

    def __init__(self, keys: Iterable[bytes], timeout: float | None) -> None:
        self.unseen = set() if timeout is None or timeout >= _FIRST_LOOK_S else set(keys)
        self._until = time.monotonic() + _FIRST_LOOK_S

    def left(self) -> float:
        """Seconds that it may still take; 0 once every key was looked at."""
        return max(self._until - time.monotonic(), 0.0) if self.unseen else 0.0


class PushedWatcher(Watcher):
    """Waits with one waiter for all keys; its thread leads only while no other thread waits."""

    reads_first = True

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self._waiter: Waiter | None = None
        self._ids: dict[bytes, str] = {}

    def _watch(self, task_id: str) -> None:
        key = self._backend.get_key_for_task(task_id).encode()
        if self._thread is None or self._waiter is None:
            self._waiter, self._ids = self._backend.subscription.waiter(()), {}
        if key not in self._ids:
            self._ids[key] = task_id
            self._waiter.add((key,))

    def _unwatch(self, task_id: str) -> None:
        key = self._backend.get_key_for_task(task_id).encode()
        if self._ids.pop(key, None) is not None and self._waiter is not None:
            self._waiter.drop((key,), silent=False)

    def _run(self) -> None:
        waiter = self._waiter
        if waiter is None:
            return
        try:
            idle_until = time.monotonic() + LINGER_S
            while True:
                records = waiter.take(LINGER_S)
                for key, value in records:
                    self._came(waiter, key, value)
                with self._lock:
                    if self._ids:
                        idle_until = time.monotonic() + LINGER_S
                    elif time.monotonic() >= idle_until:
                        self._thread = self._waiter = None
                        return
        except Exception as exc:
            self._fail(exc)
        finally:
            waiter.close()

    def _unwatch_all(self) -> None:
        if self._waiter is not None:
            self._waiter.close()
        self._waiter, self._ids = None, {}

    def _came(self, waiter: Waiter, key: bytes, value: bytes | None) -> None:
        task_id = self._ids.get(key)
        if task_id is None or value is None:
            return
        told: Any
        try:
            told = self._backend._decoded(task_id, value)
        except Exception as exc:  # one damaged record must not fail those beside it
            told = exc
        if isinstance(told, Exception) or told["status"] in states.READY_STATES:
            with self._lock:
                self._ids.pop(key, None)
                waiter.drop((key,))
                callbacks = self._waiting.pop(task_id, [])
            self._call(callbacks, told)
