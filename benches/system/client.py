"""The client of every peer: `python -m benches.system.client MODULE JOB ...`; one line of JSON out. No dependencies.

MODULE has the peer's tasks and a `Client` under the name `client`; it is imported as the worker does it, since
tasks are named after their module. The environment names the store and the counter (BENCH_STORE, BENCH_COUNTER: paths).

- `send N`: N no-ops one by one; `bulk N`: many a call; `future N`: due in a day; `load N RATE`: at RATE a second
- `latency N`: N times send, wait for the result, pause
- `check`: what waits in the queue, and which of the results named on stdin are there
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

_WARM = 10
"""Sends before the clock starts: they open the store and make its tables."""
_PAUSE_S = 0.002
"""Between two questions of `latency`, so that the worker has gone to sleep."""
_LATENCY_LIMIT_S = 12.0
_SAMPLES = 200
"""Results that `check` is asked for."""


class Client:
    """What a peer's client can do. A peer fills in what it has."""

    def send(self, number: int) -> str:
        """Submits task `number`; returns the key of its result."""
        raise NotImplementedError

    def wait(self, key: str) -> object:
        """Waits for a result and returns it."""
        raise NotImplementedError

    def send_many(self, numbers: range) -> list[str]:
        """Submits one batch; returns the keys."""
        return [self.send(number) for number in numbers]

    def send_later(self, numbers: range) -> None:
        """Submits tasks that are due in a day."""
        raise NotImplementedError

    def waiting(self) -> int:
        """Messages in the store that no worker has ended."""
        raise NotImplementedError

    def has_result(self, key: str, number: int) -> bool:
        """Whether the result of a task is stored, and right."""
        raise NotImplementedError


def _timed(work: Callable[[], list[str]], count: int) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    keys = work()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    step = max(1, len(keys) // _SAMPLES)
    sample = {keys[n]: n + _WARM for n in range(0, len(keys), step)}
    return {"tasks": count, "seconds": seconds, "cpu_seconds": cpu, "sample": sample}


def _batches(client: Client, numbers: range, batch: int) -> list[str]:
    keys: list[str] = []
    for at in range(0, len(numbers), batch):
        keys += client.send_many(numbers[at : at + batch])
    return keys


def _latency(client: Client, count: int) -> dict[str, Any]:
    for number in range(_WARM):
        client.wait(client.send(number))
    taken: list[float] = []
    until = time.perf_counter() + _LATENCY_LIMIT_S
    for number in range(_WARM, count):
        began = time.perf_counter()
        if began > until:
            break
        client.wait(client.send(number))
        taken.append(time.perf_counter() - began)
        time.sleep(_PAUSE_S)
    return {"seconds": taken}


def _load(client: Client, numbers: range, rate: float) -> dict[str, Any]:
    began = time.perf_counter()
    for sent, number in enumerate(numbers):
        ahead = began + sent / rate - time.perf_counter()
        if ahead > 0:
            time.sleep(ahead)
        client.send(number)
    return {"seconds": time.perf_counter() - began}


_BATCH = 1000
"""Tasks a bulk call."""


def main() -> None:
    client: Client = importlib.import_module(sys.argv[1]).client
    job = sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    answer: dict[str, Any]
    if job == "send":
        for number in range(_WARM):
            client.send(number)
        answer = _timed(lambda: [client.send(number) for number in range(_WARM, count)], count - _WARM)
    elif job == "bulk":
        client.send_many(range(_WARM))
        answer = _timed(lambda: _batches(client, range(_WARM, count), _BATCH), count - _WARM)
    elif job == "future":
        began = time.perf_counter()
        for at in range(0, count, _BATCH):
            client.send_later(range(at, min(at + _BATCH, count)))
        answer = {"tasks": count, "seconds": time.perf_counter() - began}
    elif job == "latency":
        answer = _latency(client, count)
    elif job == "load":
        answer = _load(client, range(count, 2 * count), float(sys.argv[4]))
    elif job == "check":
        wanted: dict[str, int] = json.loads(sys.stdin.read() or "{}")
        found = sum(client.has_result(key, number) for key, number in wanted.items())
        answer = {"waiting": client.waiting(), "results_asked": len(wanted), "results_right": found}
    else:
        raise SystemExit(f"no such job: {job}")
    print(json.dumps(answer))


STORE = os.environ.get("BENCH_STORE", "")
COUNTER = os.environ.get("BENCH_COUNTER", "")

if __name__ == "__main__":
    main()
