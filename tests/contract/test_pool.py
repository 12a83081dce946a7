"""What every pool must do, tried on each with the real hub and a file of its own."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from celeriac.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celeriac.worker import WorkController, state
from tests.support import family
from tests.support.apps import pool as pool_app
from tests.support.apps.pool import FOLDER, build
from tests.support.journal import Journal
from tests.support.waiting import wait_until

PREFORK = ["prefork-fork", "prefork-spawn"]
PARALLEL = ["threads", *PREFORK]
POOLS = ["solo", *PARALLEL]


class Bench:
    """An app with a worker in this process, and what its tasks tell the test."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.pool, _, start_method = kind.partition("-")
        self.start_method = start_method or None
        self.folder = folder
        os.environ[FOLDER] = str(folder)
        self.app = pool_app.app = build(folder)
        self.journal = Journal(folder / "journal.txt")
        self.gate = folder / "gate"
        self._running: list[tuple[WorkController, threading.Thread]] = []

    def began(self, count: int) -> None:
        """Waits until so many tasks `wait` have begun."""
        wait_until(lambda: self.lines("start") >= count, timeout=10, what=f"{count} tasks that run")

    def lines(self, word: str) -> int:
        return sum(line.startswith(word) for line in self.journal.lines())

    def start(self, concurrency: int = 2, **options: Any) -> WorkController:
        worker, thread = self.begin(concurrency=concurrency, **options)
        self._running.append((worker, thread))
        assert worker.is_ready.wait(10), worker.failure
        return worker

    def begin(self, **options: Any) -> tuple[WorkController, threading.Thread]:
        """A worker that starts in a thread; whether it comes to it is the caller's to see."""
        how = {"pool": self.pool, "pool_start_method": self.start_method}
        worker = WorkController(app=self.app, hostname="w@pool", **how, **options)
        thread = threading.Thread(target=worker.start, daemon=True)
        thread.start()
        return worker, thread

    def send(self, name: str, *args: Any, **options: Any) -> Any:
        return self.app.send_task(name, args=args, **options)

    def ready(self) -> int:
        return sum(row[1] for row in self.app.broker.depths())

    def close(self) -> None:
        self.gate.touch()
        for worker, thread in self._running:
            worker.stop(in_sighandler=True)
            thread.join(10)
            assert not thread.is_alive()
        self.app.close()
        del os.environ[FOLDER]
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
    parallel.began(1)
    sent = [parallel.send("add", number, 1) for number in range(50)]
    assert [result.get(timeout=10) for result in sent] == [number + 1 for number in range(50)]
    parallel.gate.touch()
    assert long.get(timeout=10) == "long"


def test_as_many_tasks_run_at_once_as_the_pool_is_wide(parallel: Bench) -> None:
    worker = parallel.start(concurrency=3)
    sent = [parallel.send("wait", str(number)) for number in range(4)]
    parallel.began(3)
    time.sleep(0.05)  # for the fourth to begin, which it must not
    assert parallel.lines("start") == 3
    assert worker.pool is not None
    assert len(worker.pool.running_jobs()) == 3
    parallel.gate.touch()
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
    bench.began(1)
    waiting = [bench.send("add", 1, number) for number in range(10)]
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    bench.gate.touch()
    stopper.join(10)
    assert not stopper.is_alive()
    assert (worker.exitcode, bench.journal.lines()) == (0, ["start a", "end a"])
    assert running.get(timeout=5) == "a"
    assert bench.ready() == len(waiting)


def test_a_cold_stop_hands_back_what_runs(parallel: Bench) -> None:
    worker = parallel.start(concurrency=1)
    parallel.send("wait", "a")
    parallel.began(1)
    began = time.monotonic()
    worker.terminate()
    assert time.monotonic() - began < 4
    assert (worker.exitcode, parallel.ready()) == (1, 1)
    parallel.gate.touch()


def test_children_are_told_of_their_process(bench: Bench) -> None:
    (bench.folder / "tell").touch()
    worker = bench.start(concurrency=1)
    bench.journal.wait_for(lines=1, timeout=10)
    worker.stop()
    first, last = bench.journal.lines()
    pid = first.split()[1]
    assert (first, last) == (f"init {pid}", f"shutdown {pid} 0")
    assert (int(pid) == os.getpid()) is (bench.pool != "prefork")


def test_each_child_is_where_its_pool_has_it(bench: Bench) -> None:
    bench.start()
    pid, thread = bench.send("place").get(timeout=10)
    assert (pid == os.getpid()) is (bench.pool != "prefork")
    assert thread.startswith("celeriac-pool-") is (bench.pool == "threads")
    if bench.pool == "prefork":
        assert thread == "MainThread"


def test_large_arguments_and_results_pass(bench: Bench) -> None:
    bench.start()
    large = "x" * 20_000_000
    assert bench.send("echo", large).get(timeout=30) == large
    sent = [bench.send("echo", large[:size]) for size in (1, 15_000, 17_000, 200_000) * 5]
    assert [len(one.get(timeout=20)) for one in sent] == [1, 15_000, 17_000, 200_000] * 5


def test_states_of_a_task_that_goes_on_come_before_its_end(bench: Bench) -> None:
    bench.start()
    assert bench.send("steps", 3000).get(timeout=20) == "done"


def test_a_task_may_send_tasks_and_wait_for_them(parallel: Bench) -> None:
    """What the worker had open is opened anew in another process."""
    assert parallel.send("add", 1, 1).state == "PENDING"
    parallel.start()
    assert [parallel.send("ask", number).get(timeout=10) for number in range(5)] == [1, 2, 3, 4, 5]


def test_its_info_names_it(bench: Bench) -> None:
    worker = bench.start()
    assert worker.pool is not None
    info: Callable[[], Any] = worker.stats
    assert bench.pool.rstrip("s") in info()["pool"]["implementation"]
    assert info()["pool"].get("start-method") == bench.start_method
    assert worker.pool.did_start_ok()


# --- what only processes can do


@pytest.fixture(params=PREFORK)
def prefork(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(request.param, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("task", ["die", "die_late"])
def test_a_child_that_is_killed_takes_only_its_task_along(prefork: Bench, task: str) -> None:
    prefork.start(concurrency=2)
    assert prefork.send("add", 1, 1).get(timeout=10) == 2  # its run time is known: it is sent in batches
    before = [prefork.send("add", number, 0) for number in range(100)]
    killed = prefork.send(task, signal.SIGKILL)
    after = [prefork.send("add", number, 0) for number in range(100)]
    assert [one.get(timeout=10) for one in before + after] == [*range(100), *range(100)]
    with pytest.raises(WorkerLostError, match=r"signal 9 \(SIGKILL\)"):
        killed.get(timeout=10)


def test_a_task_that_ends_its_process_again_and_again_is_a_dead_letter(prefork: Bench) -> None:
    prefork.start(concurrency=1)
    killer = prefork.send("die_again", "x")
    quiet = [prefork.send("add", number, 0) for number in range(50)]
    assert [one.get(timeout=10) for one in quiet] == list(range(50))
    with pytest.raises(WorkerLostError, match="3 worker processes"):
        killer.get(timeout=10)
    assert prefork.lines("die") == 3
    wait_until(lambda: len(prefork.app.broker.dead_list()) == 1, timeout=10, what="dead letter")
    assert prefork.app.broker.dead_list()[0].reason == "crashed"


def test_a_soft_limit_interrupts_the_task_and_nothing_else(prefork: Bench) -> None:
    prefork.start(concurrency=1)
    assert prefork.send("limited").get(timeout=5) == "interrupted"
    with pytest.raises(SoftTimeLimitExceeded):
        prefork.send("spin", soft_time_limit=0.1).get(timeout=5)
    with pytest.raises(SoftTimeLimitExceeded):
        prefork.send("limited_coroutine").get(timeout=5)
    assert prefork.send("coroutine", 1).get(timeout=5) == 2
    pid = prefork.send("place").get(timeout=5)[0]
    assert pid == prefork.send("place").get(timeout=5)[0]


def test_a_hard_limit_ends_the_task_with_its_process(prefork: Bench) -> None:
    prefork.start(concurrency=1, time_limit=30)
    pid = prefork.send("place").get(timeout=5)[0]
    with pytest.raises(TimeLimitExceeded, match="0.1"):
        prefork.send("spin", time_limit=0.1).get(timeout=5)
    assert prefork.send("place").get(timeout=5)[0] != pid
    worker = prefork._running[0][0]
    worker.stop()
    prefork.start(concurrency=1, time_limit=0.1)
    with pytest.raises(TimeLimitExceeded):
        prefork.send("spin").get(timeout=5)


def test_a_hard_limit_ends_what_the_task_has_started(prefork: Bench) -> None:
    prefork.start(concurrency=1)
    sent = prefork.send("spawn", time_limit=0.3)
    (line,) = prefork.journal.wait_for(lines=1, timeout=10)
    with pytest.raises(TimeLimitExceeded):
        sent.get(timeout=5)
    wait_until(lambda: not family.is_alive(int(line.split()[1])), timeout=5, what="end of the task's process")


def test_a_task_may_have_processes_of_its_own(prefork: Bench) -> None:
    prefork.start(concurrency=1)
    assert prefork.send("children").get(timeout=10) == [1, 2, 3]
    assert prefork.send("add", 1, 1).get(timeout=10) == 2


@pytest.mark.parametrize("way", ["return", "raise", "exit", "state"])
def test_a_task_that_forks_and_returns_in_both_processes_has_one_end(
    prefork: Bench, way: str, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    """The one of the process that was given the task; the copy harms neither that nor its neighbours."""
    handler = logging.StreamHandler()  # a forked child has what there is here, a spawned one writes to stderr anyway
    logger = logging.getLogger("celeriac.app.trace")
    logger.addHandler(handler)
    request.addfinalizer(lambda: logger.removeHandler(handler))
    prefork.start(1)
    pid, _ = prefork.send("place").get(timeout=10)
    sent = [prefork.send(name, value) for _ in range(10) for name, value in (("fork", way), ("echo", "neighbour"))]
    assert [result.get(timeout=10) for result in sent] == ["original", "neighbour"] * 10
    assert [result.state for result in sent] == ["SUCCESS"] * 20
    assert prefork.send("place").get(timeout=10)[0] == pid
    told = capfd.readouterr().err.count(f"belongs to process {pid}")
    assert told == (0 if way == "exit" else 10)


def test_a_late_acked_task_beyond_its_limit_runs_again_if_it_says_so(prefork: Bench) -> None:
    prefork.start(concurrency=1)
    sent = prefork.send("spin_late", "x")
    with pytest.raises(WorkerLostError):
        sent.get(timeout=10)
    assert prefork.lines("spin") == 3


def test_what_waits_behind_a_long_task_goes_to_another_child(prefork: Bench) -> None:
    prefork.start(concurrency=2, prefetch_multiplier=50)
    for number in range(20):
        prefork.send("add", number, number).get(timeout=10)
    long = prefork.send("wait", "long")
    sent = [prefork.send("add", number, 1) for number in range(80)]
    assert [one.get(timeout=10) for one in sent] == [number + 1 for number in range(80)]
    assert not long.ready()
    prefork.gate.touch()
    assert long.get(timeout=10) == "long"


@pytest.mark.parametrize("most", [1, 7])
def test_a_child_is_replaced_after_so_many_tasks(prefork: Bench, most: int) -> None:
    prefork.start(concurrency=1, max_tasks_per_child=most)
    pids = [one.get(timeout=10)[0] for one in [prefork.send("place") for _ in range(21)]]
    assert sorted(pids.count(pid) for pid in set(pids)) == [most] * (21 // most)


def test_a_child_is_replaced_when_it_has_grown_too_large(prefork: Bench) -> None:
    have_kib = psutil.Process().memory_info().rss // 1024  # a child begins with what its parent has
    prefork.start(concurrency=1, max_memory_per_child=have_kib + 150_000)
    first = prefork.send("grow", 1).get(timeout=10)
    assert prefork.send("grow", 300).get(timeout=10) == first
    wait_until(lambda: prefork.send("grow", 1).get(timeout=10) != first, timeout=10, what="another process")


def test_children_that_are_too_large_from_the_start_run_one_task_each(prefork: Bench) -> None:
    prefork.start(concurrency=1, max_memory_per_child=1)
    seen = [prefork.send("grow", 0).get(timeout=10) for _ in range(4)]
    wait_until(lambda: prefork.send("grow", 0).get(timeout=10) not in seen, timeout=10, what="another process")


def test_children_that_cannot_start_end_the_worker(prefork: Bench) -> None:
    (prefork.folder / "refuse").touch()
    worker, thread = prefork.begin(concurrency=2)
    thread.join(20)
    assert not thread.is_alive()
    assert worker.exitcode == 1
    assert not worker.is_ready.is_set()


def test_the_pool_grows_and_shrinks_and_starts_anew(prefork: Bench) -> None:
    worker = prefork.start(concurrency=1)
    assert worker.pool is not None
    pool = worker.pool

    def processes() -> list[int]:
        return list(pool.info["processes"])

    wait_until(lambda: len(processes()) == 1, timeout=10, what="one process")
    pool.grow(2)
    wait_until(lambda: len(processes()) == 3, timeout=10, what="three processes")
    pool.shrink(1)
    wait_until(lambda: len(processes()) == 2, timeout=10, what="two processes")
    before = set(processes())
    pool.restart()
    wait_until(lambda: len(processes()) == 2 and not before & set(processes()), timeout=10, what="other processes")
    assert prefork.send("add", 1, 1).get(timeout=10) == 2


def test_a_task_can_be_ended_from_outside(prefork: Bench) -> None:
    worker = prefork.start(concurrency=1)
    sent = prefork.send("wait", "x")
    prefork.began(1)
    assert worker.pool is not None
    (job,) = worker.pool.running_jobs()
    assert job.message.id == sent.id
    worker.pool.terminate_job(worker.pool.info["processes"][0], signal.SIGTERM)
    with pytest.raises(WorkerLostError, match="SIGTERM"):
        sent.get(timeout=10)


def _begin_warm_stop(prefork: Bench, name: str, *args: Any, **options: Any) -> tuple[Any, threading.Thread, list[int]]:
    """Has one of two children run a task while the worker stops; the other has ended. With the pids that are left."""
    worker = prefork.start(concurrency=2)
    assert worker.pool is not None
    pool = worker.pool
    sent = prefork.send(name, *args, **options)
    wait_until(lambda: len(pool.running_jobs()) == 1, timeout=10, what="one that runs")
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    wait_until(lambda: len(pool.info["processes"]) == 1, timeout=10, what="end of the idle child")
    assert not sent.ready()
    return sent, stopper, pool.info["processes"]


@pytest.mark.parametrize("name", ["wait", "wait_early"])
def test_a_task_whose_process_dies_in_a_warm_stop_has_failed(prefork: Bench, name: str) -> None:
    sent, stopper, (pid,) = _begin_warm_stop(prefork, name, "x")
    os.kill(pid, signal.SIGKILL)
    stopper.join(10)
    assert not stopper.is_alive()
    with pytest.raises(WorkerLostError, match=r"signal 9 \(SIGKILL\)"):
        sent.get(timeout=5)
    assert prefork.ready() == 0
    assert prefork.lines("start") == 1


def test_a_hard_limit_in_a_warm_stop_is_told_as_ever(prefork: Bench) -> None:
    sent, stopper, _ = _begin_warm_stop(prefork, "spin", time_limit=2)
    stopper.join(10)
    assert not stopper.is_alive()
    with pytest.raises(TimeLimitExceeded, match="2"):
        sent.get(timeout=5)
    assert prefork.ready() == 0


def test_a_warm_stop_ends_although_no_child_can_be_started_to_tell_of_a_dead_one(
    prefork: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    sent, stopper, (pid,) = _begin_warm_stop(prefork, "wait", "x")
    (prefork.folder / "refuse").touch()
    os.kill(pid, signal.SIGKILL)
    stopper.join(15)
    assert not stopper.is_alive()
    assert f"wait[{sent.id}] was lost with its child" in caplog.text
    assert (prefork.ready(), sent.state) == (0, "PENDING")


def test_a_cold_stop_ends_children_that_listen_to_nothing(prefork: Bench) -> None:
    worker = prefork.start(concurrency=2)
    for _ in range(2):
        prefork.send("spin")
    assert worker.pool is not None
    pool = worker.pool
    wait_until(lambda: len(pool.running_jobs()) == 2, timeout=10, what="two that spin")
    pids = pool.info["processes"]
    worker.terminate()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
