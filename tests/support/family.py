"""The processes of a prefork worker, by what the kernel says of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`; none if it has ended."""
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def zygotes(worker: int) -> list[int]:
    """The zygotes, or launchers, that the worker itself has started: the one that works, and the first to stand by."""
    return children(worker)


def pool(worker: int) -> list[int]:
    """Children of the pool: those of the zygotes. A zygote that took over has its stand-by among them."""
    return [child for zygote in zygotes(worker) for child in children(zygote)]


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Sends a signal to what may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
