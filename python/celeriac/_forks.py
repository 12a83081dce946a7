"""What must not cross a fork: who counts compares `forks.count`, who has locks or threads asks to be told."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "forks"]


class Forkable(Protocol):
    """What has a lock, which another thread of the parent may have held, or a thread, which the child has not."""

    def after_fork(self) -> None:
        """In the child: begins anew. No lock that it had is ever released."""


class _Forks:
    """How often this process and its ancestors have forked; asking for the pid would be a system call a message."""

    __slots__ = ("_told", "count")

    def __init__(self) -> None:
        self.count = 0
        self._told: weakref.WeakSet[Forkable] = weakref.WeakSet()

    def tell(self, each: Forkable) -> None:
        """Calls `each.after_fork()` in children, as long as it exists."""
        self._told.add(each)

    def forked(self) -> None:
        """In the child, after a fork."""
        self.count += 1
        for each in list(self._told):
            each.after_fork()


forks = _Forks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forks.forked)
