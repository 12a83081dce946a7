"""Processes seen from outside, through /proc: their CPU time and memory, and those of their children."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and all below it, itself first; empty when it has gone."""
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        return [parent.pid, *(child.pid for child in parent.children(recursive=True))]
    return []


def cpu_seconds(pid: int) -> float:
    """User and system time of one process and of the children it has waited for; to 10 ms."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(fields[at]) for at in (11, 12, 13, 14)) / _TICKS
    return 0.0


def rollup_mib(pids: list[int], field: str) -> float:
    """Sum of a field of smaps_rollup, MiB."""
    kib = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(field):
                    kib += int(line.split()[1])
    return kib / 1024


class Cpu(NamedTuple):
    """CPU seconds by where they went. `store`: the server's, when there is one."""

    parent: float
    children: float
    store: float

    def since(self, before: Cpu) -> Cpu:
        return Cpu(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def worker(self) -> float:
        return self.parent + self.children
