"""Lamport's logical clock: orders what happens on several nodes."""

from __future__ import annotations

import threading
from bisect import bisect
from typing import Any

__all__ = ["LamportClock"]


class LamportClock:
    """Counts events; `adjust` takes another node's count into account. Any thread may use it."""

    value: int

    def __init__(self, initial_value: int = 0, Lock: Any = threading.Lock) -> None:  # noqa: N803 - Celery's name
        self.value = initial_value
        self.mutex = Lock()

    def adjust(self, other: int) -> int:
        """After a message that carries `other`."""
        with self.mutex:
            self.value = max(self.value, other) + 1
            return self.value

    def forward(self) -> int:
        """After an event of this node."""
        with self.mutex:
            self.value += 1
            return self.value

    def sort_heap(self, h: list[tuple[int, str]]) -> tuple[int, str]:
        """The first of the events with the same clock value as the oldest one, ordered by node."""
        if h[0][0] == h[1][0]:
            same = sorted(h[: bisect(h, (h[0][0], chr(0x10FFFF)))], key=lambda event: event[1])
            return same[0]
        return h[0]

    def __str__(self) -> str:
        return str(self.value)

    def __repr__(self) -> str:
        return f"<LamportClock: {self.value}>"
