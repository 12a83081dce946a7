"""Submit → result between two processes."""

from __future__ import annotations

from benches.system.peers import Peer
from benches.system.stage import Stage, stage
from benches.system.stats import percentile

_COUNT = 3_000
_RATE = 200
"""Tasks a second that another client sends in `loaded-latency`."""


def _figures(seconds: list[float]) -> dict[str, float]:
    return {
        "p50_ms": percentile(seconds, 0.5) * 1e3,
        "p99_ms": percentile(seconds, 0.99) * 1e3,
        "p999_ms": percentile(seconds, 0.999) * 1e3,
        "best_ms": min(seconds) * 1e3,
        "tasks": len(seconds),
    }


def latency(peer: Peer, scale: float) -> dict[str, float]:
    """The worker has slept for 2 ms or so before each question."""
    count = int(_COUNT * scale)
    with stage(peer, count) as here:
        here.worker()
        return _figures(here.client("latency", count)["seconds"])


def loaded_latency(peer: Peer, scale: float) -> dict[str, float]:
    """The other client starts first and is stopped after; what it sent is left in the store."""
    count = int(_COUNT * scale)
    load = 25 * _RATE
    with stage(peer, 2 * load) as here:
        here.worker()
        return _figures(_under_load(here, count, load))


def _under_load(here: Stage, count: int, load: int) -> list[float]:
    other = here.begin("load", load, _RATE)
    try:
        while not here.counter.ran(load):  # the first of the other client's tasks
            here.workers[0].check()
        seconds: list[float] = here.client("latency", count)["seconds"]
    finally:
        other.kill()
        other.communicate()
    return seconds
