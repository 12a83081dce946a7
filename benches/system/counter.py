"""Counts what ran, independently of the queue under test: one byte a task in a shared file.

A task adds one to its own byte. So the bench sees how many ran, and whether each ran once, whatever the queue believes.
Standard library only: peers import it in their own virtual environments.
"""

from __future__ import annotations

import mmap
from pathlib import Path


class Counter:
    """`size` bytes at `path`, shared by every process that opens it; made when `size` is given."""

    def __init__(self, path: str | Path, size: int | None = None) -> None:
        path = Path(path)
        if size is not None:
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def hit(self, number: int) -> int:
        """Task `number` ran. Races only with another run of the same task, which is what `twice` is to find."""
        self._map[number] = min(255, self._map[number] + 1)
        return number

    def clear(self) -> None:
        """Nothing ran yet. Only while nothing runs."""
        self._map[:] = bytes(len(self._map))

    def ran(self, number: int) -> bool:
        """Whether task `number` ran."""
        return self._map[number] != 0

    def done(self, start: int = 0, stop: int | None = None) -> int:
        """How many of the tasks `start:stop` ran at least once."""
        view = self._map[start:stop]
        return len(view) - view.count(0)

    def twice(self, start: int = 0, stop: int | None = None) -> int:
        """How many of the tasks `start:stop` ran more than once."""
        view = self._map[start:stop]
        return len(view) - view.count(0) - view.count(1)
