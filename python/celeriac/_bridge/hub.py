"""The worker's I/O thread of the compiled core: the only Python that touches `_core.Hub`, `_core.Port` and `_core.Job`.

`Port` and `Job` are on the hot path, so they are the core's own classes; their docstrings are in `_core.pyi`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from celeriac import _core
from celeriac._core import (
    OUTCOME_FAILURE,
    OUTCOME_IGNORE,
    OUTCOME_LOST,
    OUTCOME_REJECT,
    OUTCOME_REQUEUE,
    OUTCOME_RETRY,
    OUTCOME_SUCCESS,
    OUTCOME_UNDECODABLE,
    Job,
    Port,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from celeriac._bridge.topology import QueueTable
    from celeriac._core import Message

__all__ = [
    "OUTCOME_FAILURE",
    "OUTCOME_IGNORE",
    "OUTCOME_LOST",
    "OUTCOME_REJECT",
    "OUTCOME_REQUEUE",
    "OUTCOME_RETRY",
    "OUTCOME_SUCCESS",
    "OUTCOME_UNDECODABLE",
    "Hub",
    "Job",
    "Port",
    "ResultWrite",
    "child_port",
]

ResultWrite: TypeAlias = "tuple[str, bytes, int | None, bool]"
"""`(key, value, expires_ms, success)`; `expires_ms` is wall clock, ms since the epoch, None for never."""


def child_port(socket: int, page: int, measure_memory: bool) -> Port:
    """The port of this child process; owns both descriptors from now on. The hub counts the child as up.

    Raises:
        OSError: the descriptors are not what a hub made.
    """
    return _core.child_port(socket, page, measure_memory)


class Hub:
    """Owns the core's hub. One per worker; `start` and `join` once, `stop` as often as one likes.

    Raises:
        ImproperlyConfigured: from the constructor or `start`: a URL, an option or a notice kind cannot be used.
        ForkedProcessError: from any call in a process other than the one that made it.
    """

    def __init__(self, config: Mapping[str, object]) -> None:
        self._core = _core.Hub(config)

    def start(self) -> None:
        """Opens the transport and starts the thread. A broker that is merely away is a notice, not an error."""
        self._core.start()

    def port(self, child: int) -> Port:
        """The end of child `child`, which counts as up from now on and as down when the port is dropped.

        Raises:
            IndexError: there are not so many children.
            RuntimeError: its port is in use.
        """
        return self._core.port(child)

    def notices(self, timeout_ms: int) -> list[tuple[str, Any]]:
        """What happened since the last call; waits for something, and lets signal handlers run meanwhile."""
        return self._core.notices(timeout_ms)

    def revoke(self, task_ids: Iterable[str]) -> None:
        """Tasks that must not start any more here; what runs goes on."""
        self._core.revoke(list(task_ids))

    def set_consuming(self, queue: QueueTable | tuple[str, str, str, str], on: bool) -> None:
        """Consumes one more queue, or one less; what is held of it stays held. A tuple is that of `_core._Queue`."""
        self._core.set_consuming(queue, on)

    def running(self, timeout_ms: int) -> list[tuple[int, int | None, Message, float]]:
        """What runs: `(child, pid, message, seconds)`; empty if the hub does not answer in time."""
        return self._core.running(timeout_ms)

    def resize(self, width: int) -> None:
        """So many child processes from now on."""
        self._core.resize(width)

    def restart_children(self) -> None:
        """New child processes in the place of all, each when its task has ended."""
        self._core.restart_children()

    def stop(self, cold: bool = False) -> None:
        """Begins to stop; `join` waits for the end. A cold stop may follow a warm one."""
        self._core.stop(cold)

    def join(self, timeout_ms: int) -> bool:
        """Waits for the end; False if it has not come within `timeout_ms`."""
        return self._core.join(timeout_ms)

    def stats(self) -> dict[str, int]:
        """Counters since the start (`received`, `ended`, `acked`...), and what is held now (`held`, `ready`...)."""
        return self._core.stats()
