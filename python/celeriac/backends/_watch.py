"""One thread that waits for many results: what `await result` and `result.then` are told by.

The thread lives while somebody waits, sleeps in the store's own wait, and is a daemon: it holds nothing that would have
to be put away. A waiter registers first and looks at the store afterwards, so a result cannot come between.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac._forks import forks

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LINGER_S", "Watcher"]

logger = logging.getLogger(__name__)

LINGER_S = 1.0
_POLL_S = 0.5


class Watcher:
    """Tells callbacks the final meta of their tasks, from its own thread."""

    reads_first = False
    """True if what was stored before `add` is told, too: the caller need not look."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.after_fork()
        forks.tell(self)

    def after_fork(self) -> None:
        """The thread is the parent's, and so are those who waited."""
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Callable[[Any], Any]]] = {}
        self._thread: threading.Thread | None = None

    def add(self, task_id: str, callback: Callable[[Any], Any]) -> None:
        """Calls `callback(meta)` when the task is ready, or `callback(exception)` if the store fails.

        The caller looks at the store once after this, unless `reads_first`: what was there before is not reported by
        every store.
        """
        with self._lock:
            self._waiting.setdefault(task_id, []).append(callback)
            self._watch(task_id)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="celeriac-results", daemon=True)
                try:
                    thread.start()
                except BaseException:  # no more threads, or the interpreter is about to end
                    self._waiting.clear()
                    self._unwatch_all()
                    raise
                self._thread = thread

    def remove(self, task_id: str, callback: Callable[[Any], Any]) -> None:
        """No error if it has been told already."""
        with self._lock:
            callbacks = self._waiting.get(task_id, [])
            if callback in callbacks:
                callbacks.remove(callback)
            if not callbacks:
                self._waiting.pop(task_id, None)
                self._unwatch(task_id)

    def _watch(self, task_id: str) -> None:
        """Somebody waits for that task. The lock is held."""

    def _unwatch(self, task_id: str) -> None:
        """Nobody waits for it any more. The lock is held."""

    def _unwatch_all(self) -> None:
        """The thread ends. The lock is held."""

    def _run(self) -> None:
        idle_until = time.monotonic() + LINGER_S
        try:
            while True:
                seen = self._backend.generation()
                with self._lock:
                    ids = list(self._waiting)
                    if not ids and time.monotonic() >= idle_until:
                        self._thread = None
                        return
                began = time.monotonic()
                if ids:
                    self._look(ids)
                    idle_until = time.monotonic() + LINGER_S
                    # With many waiters a look takes long; results that come fast must not keep a core busy with looks.
                    time.sleep(min(time.monotonic() - began, 0.05))
                self._backend.wait_change(seen, _POLL_S if self._backend.polling else LINGER_S)
        except Exception as exc:
            self._fail(exc)

    def _fail(self, exc: Exception) -> None:
        """The store cannot be read: everybody who waits is told, and the thread ends."""
        with self._lock:
            waiting, self._waiting, self._thread = self._waiting, {}, None
            self._unwatch_all()
        for callbacks in waiting.values():
            self._call(callbacks, exc)

    def _look(self, ids: list[str]) -> None:
        try:
            metas = self._backend.get_task_metas(ids)
        except Exception:
            metas = {}
            for task_id in ids:  # one damaged record must not fail those beside it
                try:
                    metas[task_id] = self._backend.get_task_meta(task_id)
                except Exception as exc:
                    self._tell(task_id, exc)
        for task_id, meta in metas.items():
            if meta["status"] in states.READY_STATES:
                self._tell(task_id, meta)

    def _tell(self, task_id: str, what: Any) -> None:
        with self._lock:
            callbacks = self._waiting.pop(task_id, [])
        self._call(callbacks, what)

    @staticmethod
    def _call(callbacks: list[Callable[[Any], Any]], what: Any) -> None:
        for callback in callbacks:
            try:
                callback(what)
            except Exception:  # somebody else's: the thread has others to tell
                logger.exception("A callback for a result raised: %r", callback)
