"""What the worker weighs and how fast it is: over a million tasks, with a million waiting, with a million due later."""

from __future__ import annotations

import time

from benches.system.jobs.throughput import watch
from benches.system.peers.base import Peer
from benches.system.stage import BenchFailed, Scope, Stage, Worker, stage
from benches.system.stats import slope

_MILLION = 1_000_000
_WAVE = 50_000
"""Tasks sent at a time, so that the file stays small and the worker never idles long."""


def _settled_mib(worker: Worker) -> float:
    """PSS once two looks in a row agree within 1 %, or after 3 s."""
    last = worker.pss_mib()
    for _ in range(15):
        time.sleep(0.2)
        now = worker.pss_mib()
        if abs(now - last) < 0.01 * last:
            return now
        last = now
    return last


def memory(peer: Peer, scope: Scope) -> dict[str, float]:
    """Sampled after every wave. `slope_kib_per_100k`: of memory without files, less the first tenth (caches fill)."""
    total = int(_MILLION * scope.scale)
    wave = min(_WAVE, total // 20)
    with stage(peer, scope, wave) as here:
        worker = here.worker()
        points: list[tuple[float, float]] = []
        own: list[tuple[float, float]] = []
        done = 0
        began = time.perf_counter()
        while done < total:
            here.counter.clear()
            here.client("fill", wave)
            here.wait_done(wave, worker)
            done += wave
            points.append((done / 100_000, worker.pss_mib()))
            own.append((done / 100_000, worker.anonymous_mib()))
        seconds = time.perf_counter() - began
        cpu = worker.cpu().worker
        settled = _settled_mib(worker)
        worker.stop()
        here.verify(wave, {})
        store_mib = here.store_mib()
    late = [point for point in own if point[0] > total / 100_000 / 10]
    tenths = {f"own_mib_{tenth}0_percent": own[len(own) * tenth // 10 - 1][1] for tenth in range(1, 11)}
    return {
        "pss_first_mib": points[0][1],
        "pss_last_mib": points[-1][1],
        "pss_settled_mib": settled,
        "pss_most_mib": max(mib for _, mib in points),
        "slope_kib_per_100k": slope(late) * 1024,
        "tasks_per_s": done / seconds,
        "worker_cpu_us": cpu / done * 1e6,
        "store_mib": store_mib,
        "tasks": done,
        **tenths,
    }


def _drain(here: Stage, worker: Worker, count: int) -> dict[str, float]:
    """A drain of `count` tasks sent while the worker runs."""
    here.counter.clear()
    before, began = worker.cpu(), time.perf_counter()
    here.client("fill", count)
    here.wait_done(count, worker)
    return {
        "tasks_per_s": count / (time.perf_counter() - began),
        "worker_cpu_us": worker.cpu().since(before).worker / count * 1e6,
    }


def future(peer: Peer, scope: Scope) -> dict[str, float]:
    """The worker's weight and a drain's rate with and without them; how long the first task takes with them there."""
    total = int(_MILLION * scope.scale)
    count = max(500, int(peer.paces["drain"] * scope.seconds / 2))
    with stage(peer, scope, count) as here:
        empty = here.worker()
        without = _drain(here, empty, count)
        empty_mib = _settled_mib(empty)
        empty.stop()
        sent = here.client("future", total)
        store_mib = here.store_mib()
        here.counter.clear()
        here.client("fill", count)
        worker = here.worker()
        here.wait_done(1, worker)
        first_ms = (time.perf_counter() - worker.began) * 1e3
        here.wait_done(count, worker)
        full_mib = _settled_mib(worker)
        idle_from, cpu = time.perf_counter(), worker.cpu().worker
        time.sleep(2)
        idle_cpu = (worker.cpu().worker - cpu) / (time.perf_counter() - idle_from)
        with_them = _drain(here, worker, count)
        worker.stop()
        waiting = here.client("check")["waiting"]
        if waiting != total:
            raise BenchFailed(f"{peer.name}: sent {total} for tomorrow, {waiting} wait")
    return {
        "future_tasks": waiting,
        "publish_per_s": sent["tasks"] / sent["seconds"],
        "pss_without_mib": empty_mib,
        "pss_with_mib": full_mib,
        "rate_without_per_s": without["tasks_per_s"],
        "rate_with_per_s": with_them["tasks_per_s"],
        "worker_cpu_without_us": without["worker_cpu_us"],
        "worker_cpu_with_us": with_them["worker_cpu_us"],
        "first_task_ms": first_ms,
        "idle_cpu_percent": idle_cpu * 100,
        "store_mib": store_mib,
    }


def _backlog(peer: Peer, scope: Scope, waiting: int) -> dict[str, float]:
    """A drain's first tasks, with `waiting` more behind them; the worker is stopped before it comes to those."""
    count = max(500, int(peer.paces["drain-bare"] * scope.seconds / 2))
    with stage(peer, scope, count + 1, results=False) as here:
        here.client("fill", count)
        here.client("pad", waiting, count)
        worker = here.worker()
        figures = watch(here, worker, count)
        pss = worker.pss_mib()
        twice = here.counter.twice(0, count)
        if twice:
            raise BenchFailed(f"{peer.name}: {twice} of {count} ran twice")
    return {**figures, "pss_mib": pss}


def backlog(peer: Peer, scope: Scope) -> dict[str, float]:
    """10,000 waiting, then 1,000,000."""
    few, many = int(10_000 * scope.scale), int(_MILLION * scope.scale)
    small, large = _backlog(peer, scope, few), _backlog(peer, scope, many)
    return {
        "few": few,
        "many": many,
        "rate_few_per_s": small["tasks_per_s"],
        "rate_many_per_s": large["tasks_per_s"],
        "worker_cpu_few_us": small["worker_cpu_us"],
        "worker_cpu_many_us": large["worker_cpu_us"],
        "pss_few_mib": small["pss_mib"],
        "pss_many_mib": large["pss_mib"],
    }
