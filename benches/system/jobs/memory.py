"""What the worker weighs: over a million tasks, and with a million that are due tomorrow."""

from __future__ import annotations

import time

from benches.system.peers import Peer
from benches.system.stage import Stage, Worker, stage
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


def memory(peer: Peer, scale: float) -> dict[str, float]:
    """Sampled after every wave. `slope_kib_per_100k`: of memory without files, less the first tenth (caches fill)."""
    total = int(_MILLION * scale)
    wave = min(_WAVE, total // 20)
    with stage(peer, wave) as here:
        worker = here.worker()
        points: list[tuple[float, float]] = []
        own: list[tuple[float, float]] = []
        done = 0
        began = time.perf_counter()
        while done < total:
            here.counter.clear()
            here.client("bulk", wave)
            here.wait_done(wave, worker)
            done += wave
            points.append((done / 100_000, worker.pss_mib()))
            own.append((done / 100_000, worker.anonymous_mib()))
        seconds = time.perf_counter() - began
        cpu = worker.cpu_seconds()
        settled = _settled_mib(worker)
        worker.stop()
        here.verify(wave, {})
        file_mib = here.file_mib()
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
        "file_mib": file_mib,
        "tasks": done,
        **tenths,
    }


def _drain(here: Stage, worker: Worker, count: int) -> tuple[float, float]:
    """Tasks a second, sent and run at the same time, and the worker's CPU, µs a task."""
    here.counter.clear()
    cpu, began = worker.cpu_seconds(), time.perf_counter()
    here.client("bulk", count)
    here.wait_done(count, worker)
    return count / (time.perf_counter() - began), (worker.cpu_seconds() - cpu) / count * 1e6


def future(peer: Peer, scale: float) -> dict[str, float]:
    """The worker's weight and a drain's rate with and without them; how long the first task takes with them there."""
    total = int(_MILLION * scale)
    count = int(peer.drain_count * min(scale, 0.5))
    with stage(peer, count) as here:
        empty = here.worker()
        empty_rate, empty_cpu = _drain(here, empty, count)
        empty_mib = _settled_mib(empty)
        empty.stop()
        sent = here.client("future", total)
        file_mib = here.file_mib()
        here.counter.clear()
        here.client("bulk", count)
        worker = here.worker()
        here.wait_done(1, worker)
        first_ms = (time.perf_counter() - worker.began) * 1e3
        here.wait_done(count, worker)
        full_mib = _settled_mib(worker)
        idle_from, cpu = time.perf_counter(), worker.cpu_seconds()
        time.sleep(2)
        idle_cpu = (worker.cpu_seconds() - cpu) / (time.perf_counter() - idle_from)
        full_rate, full_cpu = _drain(here, worker, count)
        worker.stop()
        waiting = here.client("check")["waiting"]
    return {
        "future_tasks": waiting,
        "publish_per_s": sent["tasks"] / sent["seconds"],
        "pss_without_mib": empty_mib,
        "pss_with_mib": full_mib,
        "rate_without_per_s": empty_rate,
        "rate_with_per_s": full_rate,
        "worker_cpu_without_us": empty_cpu,
        "worker_cpu_with_us": full_cpu,
        "first_task_ms": first_ms,
        "idle_cpu_percent": idle_cpu * 100,
        "file_mib": file_mib,
    }
