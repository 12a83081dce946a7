"""A file that tasks append lines to and tests wait on: an account of what ran that no queue had a hand in."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

_POLL_S = 0.004


def note(path: str | os.PathLike[str], line: str) -> None:
    """Appends `line` with one write to an O_APPEND file: a line is whole or absent."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


class Journal:
    """The reading side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def __str__(self) -> str:
        return str(self.path)

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def counts(self) -> Counter[str]:
        return Counter(self.lines())

    def wait_for(self, *, lines: int, timeout: float) -> list[str]:
        """The lines as soon as there are at least `lines` of them.

        Raises:
            TimeoutError: fewer after `timeout` seconds; the text shows the last ones.
        """
        deadline = time.monotonic() + timeout
        while True:
            seen = self.lines()
            if len(seen) >= lines:
                return seen
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(seen)} of {lines} lines in {self.path} after {timeout} s; last: {seen[-5:]}")
            time.sleep(_POLL_S)
