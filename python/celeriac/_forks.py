"""How often this process and its ancestors have forked: what must not cross a fork compares `forks.count`."""

from __future__ import annotations

import os

__all__ = ["forks"]


class _Forks:
    """A number that an attribute read tells; asking for the pid would be a system call a message."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def forked(self) -> None:
        """In the child, after a fork."""
        self.count += 1


forks = _Forks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forks.forked)
