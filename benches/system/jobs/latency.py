"""Submit → result between two processes."""

from __future__ import annotations

from benches.system.peers.base import Peer
from benches.system.stage import Scope, stage
from benches.system.stats import percentile

_COUNT = 3_000
_SECONDS = 2
"""Of a round, in units of the scope's: enough for 3,000 questions to a peer that answers within some milliseconds."""
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


def latency(peer: Peer, scope: Scope) -> dict[str, float]:
    """The worker has slept for 2 ms or so before each question."""
    with stage(peer, scope, _COUNT) as here:
        here.worker()
        return _figures(here.client("latency", _COUNT, _SECONDS * scope.seconds)["seconds"])


def loaded_latency(peer: Peer, scope: Scope) -> dict[str, float]:
    """The other client starts first and is stopped after; what it sent is left in the store."""
    load = int((_SECONDS * scope.seconds + 10) * _RATE)
    with stage(peer, scope, 2 * load) as here:
        here.worker()
        other = here.begin("load", load, _RATE)
        try:
            while not here.counter.ran(load):  # the first of the other client's tasks
                here.workers[0].check()
            return _figures(here.client("latency", _COUNT, _SECONDS * scope.seconds)["seconds"])
        finally:
            other.kill()
            other.communicate()
