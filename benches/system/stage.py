"""Where a run takes place: an empty store, a counter, one worker, clients; seen from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.system.client import WARM
from benches.system.counter import Counter
from benches.system.peers.base import ROOT, Peer
from benches.system.processes import Cpu, cpu_seconds, rollup_mib, tree
from benches.system.stores import Store


@dataclass(frozen=True)
class Scope:
    """What a round is given: `seconds` for a rate, `scale` for counts that are fixed, and where tasks are kept."""

    store: Store
    seconds: float = 2.0
    scale: float = 1.0


class BenchFailed(Exception):
    """A peer did not do what it was asked; the text has the end of its log."""


class Worker:
    """A worker process (with its children), seen through /proc."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._log = stage.folder / "worker.log"
        self.began = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(stage.peer.worker(), cwd=ROOT, env=stage.env, stdout=log, stderr=log)

    def cpu(self) -> Cpu:
        """CPU time so far, by where it went."""
        parent, *children = tree(self._process.pid) or [0]
        below = sum(cpu_seconds(pid) for pid in children)
        return Cpu(cpu_seconds(parent), below, self._stage.scope.store.cpu_seconds())

    def pss_mib(self) -> float:
        """Proportional set size of the worker and its children, MiB. Moves with who else has its libraries open."""
        return rollup_mib(tree(self._process.pid), "Pss:")

    def anonymous_mib(self) -> float:
        """Memory of its own, without files: what a leak would make grow. MiB."""
        return rollup_mib(tree(self._process.pid), "Anonymous:")

    def check(self) -> None:
        """Raises BenchFailed if it has gone."""
        if self._process.poll() is not None:
            raise BenchFailed(f"{self._stage.peer.name}: worker ended with {self._process.returncode}\n{self.log()}")

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]

    def stop(self) -> float:
        """A warm shutdown; returns how long it took, in seconds."""
        began = time.perf_counter()
        if self._process.poll() is None:
            self._process.send_signal(getattr(signal, f"SIG{self._stage.peer.graceful}"))
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise BenchFailed(f"{self._stage.peer.name}: no end within 30 s\n{self.log()}") from None
        return time.perf_counter() - began


class Stage:
    """One peer, one empty store, one counter of `size` tasks."""

    def __init__(self, peer: Peer, scope: Scope, folder: Path, size: int, results: bool) -> None:
        self.peer = peer
        self.scope = scope
        self.folder = folder
        self.counter = Counter(folder / "counter", size)
        scope.store.clear()
        self._empty_mib = self.store_mib()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CELERY_", "CELERIAC_"))}
        self.env = {
            **clean,
            **peer.extra_env,
            "BENCH_STORE": scope.store.address(folder, beside=peer.beside),
            "BENCH_COUNTER": str(folder / "counter"),
            "BENCH_RESULTS": "1" if results else "",
            "PYTHONPATH": str(ROOT),
        }
        self.workers: list[Worker] = []

    def worker(self) -> Worker:
        self.workers.append(Worker(self))
        return self.workers[-1]

    def client(self, *words: object) -> dict[str, Any]:
        """Runs one client command to its end."""
        return self._answer(self.begin(*words), None)

    def begin(self, *words: object) -> subprocess.Popen[str]:
        """Starts a client command; `finish` waits for it."""
        return subprocess.Popen(
            self.peer.client(*map(str, words)),
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        return self._answer(process, None)

    def _answer(self, process: subprocess.Popen[str], told: str | None) -> dict[str, Any]:
        out, err = process.communicate(told, timeout=1200)
        if process.returncode:
            raise BenchFailed(f"{self.peer.name}: client ended with {process.returncode}\n{err[-3000:]}")
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        return answer

    def wait_done(self, count: int, worker: Worker, stall_s: float = 20) -> list[tuple[float, int]]:
        """Watches the counter until `count` tasks ran: `(monotonic seconds, tasks done)` about every 10 ms.

        Raises BenchFailed when the worker ends, or nothing more runs for `stall_s`.
        """
        seen: list[tuple[float, int]] = []
        moved = time.perf_counter()
        while not seen or seen[-1][1] < count:
            now = time.perf_counter()
            done = self.counter.done(0, count)
            if not seen or done != seen[-1][1]:
                moved = now
            seen.append((now, done))
            if now - moved > stall_s:
                raise BenchFailed(f"{self.peer.name}: {done} of {count}, no more in {stall_s} s\n{worker.log()}")
            if len(seen) % 50 == 0:
                worker.check()
            # Looking costs as much as the counter is long; it must not take the cores from what is watched.
            looked = time.perf_counter() - now
            time.sleep(max(0.01, 50 * looked) if done else max(0.0005, 10 * looked))
        return seen

    def verify(self, count: int, sample: dict[str, int]) -> dict[str, Any]:
        """Each of `count` tasks ran once, nothing waits in the store, the sampled results are there and right."""
        checked = self._answer(self.begin("check"), json.dumps(sample))
        once = self.counter.done(0, count) - self.counter.twice(0, count)
        if checked["waiting"] or once != count or checked["results_right"] != len(sample):
            raise BenchFailed(f"{self.peer.name}: {once} of {count} ran once; {checked}")
        return {"ran_once": once, **checked}

    def store_mib(self) -> float:
        """Size of the store."""
        return self.scope.store.mib(self.folder)

    def bytes_per_task(self, count: int) -> float:
        """What the store has grown by since the stage began, for each of `count` tasks."""
        return (self.store_mib() - self._empty_mib) * 2**20 / count


@contextlib.contextmanager
def stage(peer: Peer, scope: Scope, size: int, *, results: bool = True) -> Iterator[Stage]:
    """A stage that is cleared whatever happens."""
    with tempfile.TemporaryDirectory(prefix="celeriac-bench-") as folder:
        made = Stage(peer, scope, Path(folder), size, results)
        try:
            yield made
        finally:
            for worker in made.workers:
                with contextlib.suppress(BenchFailed):
                    worker.stop()


def try_out(peer: Peer, scope: Scope) -> None:
    """One task there and its result back. Raises BenchFailed when the peer cannot do that here."""
    count = WARM + 1
    with stage(peer, scope, count) as here:
        sent = here.client("fill", count)
        worker = here.worker()
        here.wait_done(count, worker)
        worker.stop()
        here.verify(count, sent["sample"])
