"""How much of the machine others used meanwhile: a figure without it says little on a shared machine."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

_TICKS = os.sysconf("SC_CLK_TCK")


def _busy_s() -> float:
    """CPU seconds that all processes of the machine have used; what a hypervisor took counts."""
    user, nice, system, _idle, _wait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _ours_s() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total


class Noise:
    """Around a measurement whose processes all end within it; `cores` is then what others used, on average.

    `store_s` is the CPU time so far of a server that lives on, and is ours.
    """

    cores = 0.0

    def __init__(self, store_s: Callable[[], float]) -> None:
        self._store_s = store_s

    def _used_s(self) -> float:
        return _ours_s() + self._store_s()

    def __enter__(self) -> Noise:
        self._began, self._busy, self._ours = time.perf_counter(), _busy_s(), self._used_s()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._began
        others = (_busy_s() - self._busy) - (self._used_s() - self._ours)
        self.cores = round(max(0.0, others) / seconds, 3)
