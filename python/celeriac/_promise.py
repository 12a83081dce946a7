"""A value that comes later, and those who want to be told."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Promise"]


class Promise:
    """Fulfilled once, by calling it with the value, or by `throw`. Callbacks added later are called at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Callable[[], Any], Callable[[BaseException], Any] | None]] = []
        self.ready = False
        self.failed = False
        self.value: Any = None
        self.reason: BaseException | None = None

    def then(
        self,
        callback: Callable[..., Any],
        on_error: Callable[[BaseException], Any] | None = None,
        weak: bool = False,
    ) -> Promise:
        """Calls `callback(value)` when fulfilled, or `on_error(exception)`. `weak`: only as long as it exists."""
        entry = (_reference(callback, weak=weak), on_error)
        with self._lock:
            if not self.ready and not self.failed:
                self._waiting.append(entry)
                return self
        self._tell(entry)
        return self

    def __call__(self, value: Any) -> None:
        with self._lock:
            if self.ready or self.failed:
                return
            self.value, self.ready = value, True
            waiting, self._waiting = self._waiting, []
        for entry in waiting:
            self._tell(entry)

    def throw(self, reason: BaseException) -> None:
        """Tells everybody that it will not come."""
        with self._lock:
            if self.ready or self.failed:
                return
            self.reason, self.failed = reason, True
            waiting, self._waiting = self._waiting, []
        for entry in waiting:
            self._tell(entry)

    def _tell(self, entry: tuple[Callable[[], Any], Callable[[BaseException], Any] | None]) -> None:
        reference, on_error = entry
        if self.reason is not None:
            if on_error is not None:
                on_error(self.reason)
            return
        callback = reference()
        if callback is not None:
            callback(self.value)


def _reference(callback: Callable[..., Any], *, weak: bool) -> Callable[[], Any]:
    if not weak:
        return lambda: callback
    if hasattr(callback, "__self__") and hasattr(callback, "__func__"):
        return weakref.WeakMethod(callback)
    return weakref.ref(callback)
