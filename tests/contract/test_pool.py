"""What every pool must do, tried on each with the real hub and a file of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery, signals
from celeriac.exceptions import Reject, WorkerLostError, WorkerTerminate
from celeriac.worker import WorkController, state

POOLS = ["solo", "threads"]
PARALLEL = ["threads"]


class Bench:
    """An app with a worker in this process, and what its tasks tell the test."""

    def __init__(self, pool: str, folder: Path) -> None:
        self.pool = pool
        url = f"sqlite:///{folder / 'pool.db'}"
        self.app = Celery("pool", broker=url, backend=url, set_as_current=False)
        self.app.conf.worker_hijack_root_logger = False
        self.gate = threading.Event()
        self.began = threading.Semaphore(0)
        self.ran: list[Any] = []
        self._running: list[tuple[WorkController, threading.Thread]] = []
        app = self.app

        @app.task(name="add", shared=False)
        def add(x: int, y: int) -> int:
            return x + y

        @app.task(name="wait", shared=False, acks_late=True)
        def wait(label: str) -> str:
            self.ran.append(f"start {label}")
            self.began.release()
            self.gate.wait(20)
            self.ran.append(f"end {label}")
            return label

        @app.task(name="fail", shared=False)
        def fail() -> None:
            raise ValueError("as planned")

        @app.task(name="leave", shared=False)
        def leave() -> None:
            raise SystemExit(3)

        @app.task(name="terminate", shared=False)
        def terminate() -> None:
            raise WorkerTerminate(1)

        @app.task(name="reject", shared=False, acks_late=True)
        def reject() -> None:
            raise Reject("not for me")

        @app.task(name="thread", shared=False)
        def thread_name() -> str:
            return threading.current_thread().name

        @app.task(name="coroutine", shared=False)
        async def coroutine(x: int) -> int:
            await asyncio.sleep(0)
            return x * 2

        @app.task(name="retry", shared=False, bind=True, max_retries=2)
        def retry(self: Any) -> int:
            if self.request.retries < 2:
                raise self.retry(countdown=0)
            return int(self.request.retries)

    def start(self, concurrency: int = 2, **options: Any) -> WorkController:
        worker = WorkController(app=self.app, hostname="w@pool", pool=self.pool, concurrency=concurrency, **options)
        thread = threading.Thread(target=worker.start, daemon=True)
        thread.start()
        assert worker.is_ready.wait(10), worker.failure
        self._running.append((worker, thread))
        return worker

    def send(self, name: str, *args: Any, **options: Any) -> Any:
        return self.app.send_task(name, args=args, **options)

    def ready(self) -> int:
        return sum(row[1] for row in self.app.broker.depths())

    def close(self) -> None:
        self.gate.set()
        for worker, thread in self._running:
            worker.stop(in_sighandler=True)
            thread.join(10)
            assert not thread.is_alive()
        self.app.close()
        state.reset_state()


@pytest.fixture(autouse=True)
def _as_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celeriac.worker.worker.check_privileges", lambda _: None)


@pytest.fixture(params=POOLS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=PARALLEL)
def parallel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(request.param, tmp_path)
    yield made
    made.close()


def test_tasks_run_and_their_results_come_back(bench: Bench) -> None:
    bench.start()
    sent = [bench.send("add", number, number) for number in range(200)]
    assert [result.get(timeout=10) for result in sent] == [2 * number for number in range(200)]


def test_a_task_that_fails_leaves_the_pool_as_it_was(bench: Bench) -> None:
    bench.start(concurrency=1)
    failed, left, rejected = bench.send("fail"), bench.send("leave"), bench.send("reject")
    with pytest.raises(ValueError, match="as planned"):
        failed.get(timeout=10)
    with pytest.raises(Exception, match="SystemExit"):
        left.get(timeout=10)
    with pytest.raises(Exception, match="not for me"):
        rejected.get(timeout=10)
    assert bench.send("add", 1, 1).get(timeout=10) == 2


def test_retries_and_coroutines_work(bench: Bench) -> None:
    bench.start()
    assert bench.send("coroutine", 21).get(timeout=10) == 42
    assert bench.send("retry").get(timeout=10) == 2


def test_a_long_task_does_not_hold_up_short_ones(parallel: Bench) -> None:
    parallel.start(concurrency=2)
    long = parallel.send("wait", "long")
    assert parallel.began.acquire(timeout=10)
    sent = [parallel.send("add", number, 1) for number in range(50)]
    assert [result.get(timeout=10) for result in sent] == [number + 1 for number in range(50)]
    parallel.gate.set()
    assert long.get(timeout=10) == "long"


def test_as_many_tasks_run_at_once_as_the_pool_is_wide(parallel: Bench) -> None:
    worker = parallel.start(concurrency=3)
    sent = [parallel.send("wait", str(number)) for number in range(4)]
    for _ in range(3):
        assert parallel.began.acquire(timeout=10)
    assert not parallel.began.acquire(timeout=0.05)
    assert worker.pool is not None
    assert len(worker.pool.running_jobs()) == 3
    parallel.gate.set()
    assert [result.get(timeout=10) for result in sent] == ["0", "1", "2", "3"]


def test_a_child_that_ends_leaves_its_work_to_the_others(parallel: Bench) -> None:
    parallel.start()
    ending = parallel.send("terminate")
    sent = [parallel.send("add", number, number) for number in range(100)]
    assert [one.get(timeout=10) for one in sent] == [2 * number for number in range(100)]
    with pytest.raises(WorkerLostError):
        ending.get(timeout=10)


def test_a_warm_stop_ends_what_runs_and_leaves_the_rest(bench: Bench) -> None:
    worker = bench.start(concurrency=1)
    running = bench.send("wait", "a")
    assert bench.began.acquire(timeout=10)
    waiting = [bench.send("add", 1, number) for number in range(10)]
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    bench.gate.set()
    stopper.join(10)
    assert not stopper.is_alive()
    assert (worker.exitcode, bench.ran) == (0, ["start a", "end a"])
    assert running.get(timeout=5) == "a"
    assert bench.ready() == len(waiting)


def test_a_cold_stop_hands_back_what_runs(parallel: Bench) -> None:
    worker = parallel.start(concurrency=1)
    parallel.send("wait", "a")
    assert parallel.began.acquire(timeout=10)
    began = time.monotonic()
    worker.terminate()
    assert time.monotonic() - began < 4
    assert (worker.exitcode, parallel.ready()) == (1, 1)
    parallel.gate.set()


def test_children_are_told_of_their_process(bench: Bench) -> None:
    seen: list[str] = []

    def init(**_: Any) -> None:
        seen.append("init")

    def shutdown(**_: Any) -> None:
        seen.append("shutdown")

    signals.worker_process_init.connect(init)
    signals.worker_process_shutdown.connect(shutdown)
    try:
        bench.start().stop()
    finally:
        signals.worker_process_init.disconnect(init)
        signals.worker_process_shutdown.disconnect(shutdown)
    assert seen == ["init", "shutdown"]


def test_threads_have_names(parallel: Bench) -> None:
    parallel.start()
    assert parallel.send("thread").get(timeout=10).startswith("celeriac-pool-")


def test_its_info_names_it(bench: Bench) -> None:
    worker = bench.start()
    assert worker.pool is not None
    info: Callable[[], Any] = worker.stats
    assert bench.pool.rstrip("s") in info()["pool"]["implementation"]
    assert worker.pool.did_start_ok()
