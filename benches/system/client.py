"""The client of every peer: `python -m benches.system.client MODULE JOB ...`; one line of JSON out. No dependencies.

MODULE has the peer's tasks and a `Client` under the name `client`; it is imported as the worker does it, since
tasks are named after their module. The environment names the store (BENCH_STORE: a path, or a URL), the counter
(BENCH_COUNTER: a path), and whether results are stored (BENCH_RESULTS).

- `send SECONDS MOST`: no-ops one by one; `bulk SECONDS MOST`: many a call; both until the time is up
- `fill N`: N no-ops the fastest way; `pad N`: as many again behind them that are never to run; `future N`: due in a day
- `load N RATE`: at RATE a second
- `latency N SECONDS`: send, wait for the result, pause; N times or until the time is up
- `check`: what waits in the queue, and which of the results named on stdin are there
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

WARM = 10
"""Sends before the clock starts: they open the store and make its tables."""
_BATCH = 1000
"""Tasks a bulk call."""
_PAUSE_S = 0.002
"""Between two questions of `latency`, so that the worker has gone to sleep."""
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

    def send_many(self, numbers: Sequence[int]) -> list[str]:
        """Submits one batch; returns the keys."""
        return [self.send(number) for number in numbers]

    def send_for(self, seconds: float, numbers: range) -> list[str]:
        """Submits one by one until `seconds` have passed or `numbers` are used up; returns the keys."""
        keys: list[str] = []
        until = time.perf_counter() + seconds
        for number in numbers:
            keys.append(self.send(number))
            if not number % 16 and time.perf_counter() > until:
                break
        return keys

    def send_later(self, numbers: range) -> None:
        """Submits tasks that are due in a day."""
        raise NotImplementedError

    def pad(self, count: int, number: int) -> None:
        """Puts `count` tasks behind those that wait, each as `number`: copies of a message will do, for none is run."""
        for at in range(0, count, _BATCH):
            self.send_many([number] * min(_BATCH, count - at))

    def waiting(self) -> int:
        """Messages in the store that no worker has ended."""
        raise NotImplementedError

    def has_result(self, key: str, number: int) -> bool:
        """Whether the result of a task is stored, and right."""
        raise NotImplementedError


def _timed(work: Callable[[], list[str]]) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    keys = work()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    step = max(1, len(keys) // _SAMPLES)
    sample = {keys[at]: at + WARM for at in range(0, len(keys), step)}
    return {"tasks": len(keys), "seconds": seconds, "cpu_seconds": cpu, "sample": sample}


def _batches(client: Client, numbers: range, seconds: float = float("inf")) -> list[str]:
    keys: list[str] = []
    until = time.perf_counter() + seconds
    for at in range(0, len(numbers), _BATCH):
        keys += client.send_many(numbers[at : at + _BATCH])
        if time.perf_counter() > until:
            break
    return keys


def _latency(client: Client, count: int, seconds: float) -> dict[str, Any]:
    for number in range(WARM):
        client.wait(client.send(number))
    taken: list[float] = []
    until = time.perf_counter() + seconds
    for number in range(WARM, count):
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


def _warm(client: Client) -> None:
    for number in range(WARM):
        client.send(number)


def main() -> None:
    client: Client = importlib.import_module(sys.argv[1]).client
    job, words = sys.argv[2], sys.argv[3:]
    answer: dict[str, Any] = {}
    if job == "send":
        _warm(client)
        seconds, most = float(words[0]), int(words[1])
        answer = _timed(lambda: client.send_for(seconds, range(WARM, most)))
    elif job == "bulk":
        client.send_many(range(WARM))
        seconds, most = float(words[0]), int(words[1])
        answer = _timed(lambda: _batches(client, range(WARM, most), seconds))
    elif job == "fill":
        _warm(client)
        answer = _timed(lambda: _batches(client, range(WARM, int(words[0]))))
    elif job == "pad":
        client.pad(int(words[0]), int(words[1]))
    elif job == "future":
        count = int(words[0])
        began = time.perf_counter()
        for at in range(0, count, _BATCH):
            client.send_later(range(at, min(at + _BATCH, count)))
        answer = {"tasks": count, "seconds": time.perf_counter() - began}
    elif job == "latency":
        answer = _latency(client, int(words[0]), float(words[1]))
    elif job == "load":
        count = int(words[0])
        answer = _load(client, range(count, 2 * count), float(words[1]))
    elif job == "check":
        wanted: dict[str, int] = json.loads(sys.stdin.read() or "{}")
        found = sum(client.has_result(key, number) for key, number in wanted.items())
        answer = {"waiting": client.waiting(), "results_asked": len(wanted), "results_right": found}
    else:
        raise SystemExit(f"no such job: {job}")
    print(json.dumps(answer))


STORE = os.environ.get("BENCH_STORE", "")
COUNTER = os.environ.get("BENCH_COUNTER", "")
RESULTS = bool(os.environ.get("BENCH_RESULTS"))

if __name__ == "__main__":
    main()
