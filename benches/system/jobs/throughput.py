"""How many a second: producer alone, worker alone."""

from __future__ import annotations

import time
from collections.abc import Callable

from benches.system.client import WARM
from benches.system.peers.base import Peer
from benches.system.stage import BenchFailed, Scope, Stage, Worker, stage

MOST = 1_000_000
"""Tasks of a round, whatever the rate."""


def _publish(peer: Peer, scope: Scope, job: str) -> dict[str, float]:
    with stage(peer, scope, MOST, results=False) as here:
        before = scope.store.cpu_seconds()
        told = here.client(job, scope.seconds, MOST)
        store_cpu = scope.store.cpu_seconds() - before
        count = told["tasks"] + WARM
        waiting = here.client("check")["waiting"]
        if waiting != count:
            raise BenchFailed(f"{peer.name}: sent {count}, {waiting} wait")
        return {
            "tasks_per_s": told["tasks"] / told["seconds"],
            "producer_cpu_us": told["cpu_seconds"] / told["tasks"] * 1e6,
            "store_cpu_us": store_cpu / count * 1e6,
            "tasks": told["tasks"],
            "bytes_per_task": here.bytes_per_task(count),
        }


def send(peer: Peer, scope: Scope) -> dict[str, float]:
    """One by one."""
    return _publish(peer, scope, "send")


def bulk(peer: Peer, scope: Scope) -> dict[str, float]:
    """In batches of a thousand."""
    return _publish(peer, scope, "bulk")


def watch(here: Stage, worker: Worker, count: int) -> dict[str, float]:
    """Rate and CPU from the first task seen to the last of `count`: starting the worker is not in it."""
    here.wait_done(1, worker)
    began, first = time.perf_counter(), here.counter.done(0, count)
    before = worker.cpu()
    seen = here.wait_done(count, worker)
    used = worker.cpu().since(before)
    seconds = max(seen[-1][0] - began, 1e-6)
    ran = max(1, count - first)
    return {
        "tasks_per_s": ran / seconds,
        "seconds": seconds,
        "worker_cpu_us": used.worker / ran * 1e6,
        "parent_cpu_us": used.parent / ran * 1e6,
        "children_cpu_us": used.children / ran * 1e6,
        "store_cpu_us": used.store / ran * 1e6,
    }


def paced(peer: Peer, scope: Scope, job: str, run: Callable[[int], dict[str, float]]) -> dict[str, float]:
    """Gives the peer as many tasks as it does in the time, by what it did before; once more if that was far too few."""
    for _ in range(3):
        count = min(MOST, max(200, int(peer.paces[job] * scope.seconds)))
        figures = run(count)
        peer.paces[job] = figures["tasks_per_s"]
        if figures["seconds"] > 0.5 * scope.seconds or count == MOST:
            break
    return figures


def _drain(peer: Peer, scope: Scope, count: int, results: bool) -> dict[str, float]:
    """What ran may be ahead of what is stored by at most what the worker holds; after a warm shutdown it is asked."""
    with stage(peer, scope, count, results=results) as here:
        sent = here.client("fill", count)
        worker = here.worker()
        figures = watch(here, worker, count)
        pss = worker.pss_mib()
        stop_s = worker.stop()
        here.verify(count, sent["sample"] if results else {})
    return {**figures, "pss_mib": pss, "stop_s": stop_s, "tasks": count}


def drain(peer: Peer, scope: Scope) -> dict[str, float]:
    """Results are stored."""
    return paced(peer, scope, "drain", lambda count: _drain(peer, scope, count, results=True))


def drain_bare(peer: Peer, scope: Scope) -> dict[str, float]:
    """No results."""
    return paced(peer, scope, "drain-bare", lambda count: _drain(peer, scope, count, results=False))
