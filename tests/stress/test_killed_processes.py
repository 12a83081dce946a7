"""The prefork pool under SIGKILL and SIGSTOP: of children, of zygotes, of the worker, and of all of them.

With forked children and with spawned ones, whose zygotes are launchers.
What was accepted is done, or waits, or is a dead letter; and no process is left behind.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import family, raw
from tests.support.journal import Journal
from tests.support.waiting import wait_until
from tests.support.worker import Worker

if TYPE_CHECKING:
    from celeriac import Celery

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="the prefork pool needs Linux"),
]

ENDLESS = {"T_CONF": json.dumps({"task_max_crashes": 1_000_000})}
Start = Callable[..., Worker]


@pytest.fixture(params=["fork", "spawn"])
def start_method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start_worker(start_worker: Start, start_method: str) -> Start:
    def start(*broker: str, env: dict[str, str] | None = None, **options: Any) -> Worker:
        env = {**(env or {}), "CELERIAC_WORKER_POOL_START_METHOD": start_method}
        return start_worker(*broker, env=env, **options)

    return start


def drained(app: Celery, timeout: float = 40) -> None:
    wait_until(lambda: raw.waiting(app) == 0, timeout=timeout, what="empty queue", every=0.02)


def gone(pids: list[int]) -> None:
    wait_until(lambda: not any(map(family.is_alive, pids)), timeout=10, what="end of all processes")


def victims(app: Celery, journal: Journal, worker: Worker, start_method: str) -> list[int]:
    """Children that may be killed now: forked ones at any time, also before they are up.

    Of spawned ones the oldest, once a task was done since, and none after the fifteenth: they take long to start, and
    six that are killed at their start end the worker.
    """
    if start_method == "fork":
        return family.pool(worker.pid)
    if worker.output().count("exited prematurely") >= 15:
        return []
    before = len(journal.lines())
    wait_until(lambda: len(journal.lines()) > before or not raw.waiting(app), timeout=40, what="task done", every=0.01)
    return family.pool(worker.pid)[:1]


def test_tasks_survive_children_that_are_killed_again_and_again(
    app: Celery, journal: Journal, start_worker: Start, start_method: str
) -> None:
    late = app.tasks["t.note_late"]
    sent = [late.delay(str(journal), f"{number}", 0.002) for number in range(1500)]
    worker = start_worker(pool="prefork", env=ENDLESS)
    chance, killed = random.Random(11), 0
    while raw.waiting(app):
        pids = victims(app, journal, worker, start_method)
        if pids:
            family.kill(chance.choice(pids))
            killed += 1
        time.sleep(chance.uniform(0, 0.08))  # the moment of death is the experiment
    assert [result.get(timeout=10) for result in sent] == [str(number) for number in range(1500)]
    counts = journal.counts()
    assert set(counts) == {str(number) for number in range(1500)}
    assert counts.total() - len(counts) <= killed
    assert killed > 10
    assert raw.dead(app) == []
    assert worker.stop() == 0


def test_early_acked_tasks_that_die_with_their_process_are_told_as_failures(
    app: Celery, journal: Journal, start_worker: Start, start_method: str
) -> None:
    sent = [app.tasks["t.note_after"].delay(str(journal), f"{number}", 0.004) for number in range(600)]
    worker = start_worker(pool="prefork")
    chance = random.Random(12)
    while raw.waiting(app):
        for pid in victims(app, journal, worker, start_method)[:1]:
            family.kill(pid)
        time.sleep(chance.uniform(0, 0.05))  # as above
    ends = [result.get(timeout=10, propagate=False) for result in sent]
    lost = [end for end in ends if type(end).__name__ == "WorkerLostError"]
    done = [end for end in ends if isinstance(end, str)]
    assert len(lost) + len(done) == 600
    assert 0 < len(lost) < 300
    assert set(done) <= set(journal.counts())
    assert max(journal.counts().values()) == 1
    assert worker.stop() == 0


def test_a_killed_zygote_is_replaced_and_nothing_of_it_is_noticed(
    app: Celery, journal: Journal, start_worker: Start
) -> None:
    """Children of a dead zygote go on, die of it neither at once nor later, and are replaced when they end. Of the
    zygote nothing is left, not even an entry in the table of processes."""
    late = app.tasks["t.note_late"]
    worker = start_worker(pool="prefork", env=ENDLESS, args=["--max-tasks-per-child", "20"])
    first = family.zygotes(worker.pid)[0]
    sent = [late.delay(str(journal), f"{number}", 0.004) for number in range(1000)]
    journal.wait_for(lines=30, timeout=20)
    family.kill(first)
    journal.wait_for(lines=400, timeout=20)
    wait_until(lambda: "took over" in worker.output(), timeout=10, what="word of the other zygote")
    wait_until(lambda: len(family.zygotes(worker.pid)) == 1, timeout=10, what="end of the killed one")
    (second,) = family.zygotes(worker.pid)
    family.kill(second)
    assert [result.get(timeout=20) for result in sent] == [str(number) for number in range(1000)]
    wait_until(lambda: worker.output().count("took over") == 2, timeout=10, what="word of the third zygote")
    assert family.zygotes(worker.pid) == []
    assert raw.dead(app) == []
    assert worker.stop() == 0


def test_a_zygote_that_is_stopped_is_passed_over(app: Celery, start_worker: Start) -> None:
    patience = 3  # a new child must be able to start in that time, on a busy machine, too
    worker = start_worker(pool="prefork", env={"T_CONF": json.dumps({"worker_proc_alive_timeout": patience})})
    first = family.zygotes(worker.pid)[0]
    try:
        family.kill(first, signal.SIGSTOP)
        for pid in family.children(first):
            family.kill(pid)
        sent = [app.tasks["t.add"].delay(number, 1) for number in range(50)]
        assert [result.get(timeout=40) for result in sent] == [number + 1 for number in range(50)]
        assert "does not answer" in worker.output()
        wait_until(lambda: first not in family.zygotes(worker.pid), timeout=10, what="end of the stopped one")
    finally:
        family.kill(first, signal.SIGCONT)
    assert worker.stop() == 0


def test_a_zygote_without_descriptors_says_so_and_goes_on_when_it_has_some(app: Celery, start_worker: Start) -> None:
    """It cannot take those of a new child. The other child goes on, however often that is tried."""
    worker = start_worker(pool="prefork")
    zygote = family.zygotes(worker.pid)[0]
    before = resource.prlimit(zygote, resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    family.kill(family.children(zygote)[0])
    told = "cannot start a child process: Too many open files"
    wait_until(lambda: worker.output().count(told) >= 7, timeout=30, what="seven attempts")
    assert [app.tasks["t.add"].delay(number, 1).get(timeout=10) for number in range(20)] == [*range(1, 21)]
    assert len(family.pool(worker.pid)) == 1
    resource.prlimit(zygote, resource.RLIMIT_NOFILE, before)
    wait_until(lambda: len(family.pool(worker.pid)) == 2, timeout=10, what="second child")
    assert "Traceback" not in worker.output()
    assert worker.stop() == 0


@pytest.mark.parametrize("nested", [False, True])
def test_without_any_zygote_the_worker_ends_and_loses_nothing(
    app: Celery, journal: Journal, start_worker: Start, nested: bool
) -> None:
    """`nested`: the two are one that took over and the one that it forked."""
    late = app.tasks["t.note_late"]
    worker = start_worker(pool="prefork", env=ENDLESS)
    for number in range(300):
        late.delay(str(journal), f"{number}", 0.01)
    journal.wait_for(lines=20, timeout=20)
    if nested:
        family.kill(family.zygotes(worker.pid)[0])
        wait_until(lambda: len(family.zygotes(worker.pid)) == 1, timeout=10, what="end of the first")
        (second,) = family.zygotes(worker.pid)
        # Its first child is the one that stands by; the others are forked when children of the first one end.
        zygotes = [second, wait_until(lambda: family.children(second), timeout=10, what="a third")[0]]
    else:
        zygotes = family.zygotes(worker.pid)
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped, neither can fork another one in between
        for pid in zygotes:
            family.kill(pid, number)
    assert worker.wait(20) == 1
    assert "zygotes" in worker.output()
    start_worker(pool="prefork", env=ENDLESS)
    drained(app)
    counts = journal.counts()
    assert set(counts) == {str(number) for number in range(300)}
    assert max(counts.values()) == 1


@pytest.mark.parametrize("in_c", [False, True])
def test_nothing_survives_the_worker(app: Celery, journal: Journal, start_worker: Start, in_c: bool) -> None:
    """Children that listen to nothing die with it, although it had no time to tell them, even without their zygote."""
    worker = start_worker(pool="prefork")
    for number in range(2):
        app.tasks["t.spin"].delay(str(journal), f"{number}", 60, in_c)
    journal.wait_for(lines=2, timeout=20)
    zygotes = family.zygotes(worker.pid)
    pids = family.pool(worker.pid)
    assert len(pids) == 2
    family.kill(zygotes[0])
    wait_until(lambda: "took over" in worker.output(), timeout=10, what="word of the other zygote")
    assert all(map(family.is_alive, pids))
    pids += zygotes + family.pool(worker.pid)
    worker.kill()
    worker.wait()
    gone(pids)
    assert sorted(journal.lines()) == ["start 0", "start 1"]


def test_tasks_survive_workers_that_are_killed_with_all_their_processes(
    app: Celery, journal: Journal, start_worker: Start
) -> None:
    late = app.tasks["t.note_late"]
    sent = [late.delay(str(journal), f"{number}", 0.002) for number in range(800)]
    chance, seen = random.Random(13), []
    for _ in range(12):
        worker = start_worker(pool="prefork", env=ENDLESS)
        time.sleep(chance.uniform(0, 0.12))  # as above
        seen += family.zygotes(worker.pid) + family.pool(worker.pid)
        worker.kill()
        worker.wait()
    start_worker(pool="prefork", env=ENDLESS)
    drained(app)
    assert [result.get(timeout=10) for result in sent] == [str(number) for number in range(800)]
    assert raw.dead(app) == []
    gone(seen)


@pytest.mark.parametrize("in_c", [False, True])
def test_a_worker_whose_children_all_spin_keeps_leases_and_hears_signals(
    broker_url: str, journal: Journal, start_worker: Start, in_c: bool
) -> None:
    from tests.support.apps.tasks import build

    url = f"{broker_url}?lease=0.5"
    app = build(url, broker_url)
    worker = start_worker(url, pool="prefork")
    other = start_worker(url, pool="prefork", concurrency=1, args=["-Q", "other"])  # it would take what is let go of
    sent = [app.tasks["t.spin"].delay(str(journal), f"{number}", 2.0, in_c) for number in range(2)]
    assert [result.get(timeout=20) for result in sent] == ["0", "1"]
    assert journal.counts().total() == 4
    for number in range(2, 4):
        app.tasks["t.spin"].delay(str(journal), f"{number}", 60, in_c)
    journal.wait_for(lines=6, timeout=20)
    pids = family.pool(worker.pid)
    worker.kill(signal.SIGTERM)
    wait_until(lambda: "Warm shutdown" in worker.output(), timeout=5, what="warm shutdown")
    worker.kill(signal.SIGQUIT)
    worker.wait(8)
    gone(pids)
    assert raw.depths(app)["celery"][0] == 2  # handed back, not only let go of
    assert other.stop() == 0
    app.close()


def test_a_child_that_is_stopped_holds_up_only_its_own_task(app: Celery, journal: Journal, start_worker: Start) -> None:
    worker = start_worker(pool="prefork")
    slow = app.tasks["t.note_late"].delay(str(journal), "slow", 0.3)
    pids = family.pool(worker.pid)
    busy = wait_until(lambda: [pid for pid in pids if _sleeps_in_task(pid)], timeout=10, what="busy child")[0]
    family.kill(busy, signal.SIGSTOP)
    more = [app.tasks["t.add"].delay(number, 1) for number in range(200)]
    assert [result.get(timeout=20) for result in more] == [number + 1 for number in range(200)]
    assert not slow.ready()
    family.kill(busy, signal.SIGCONT)
    assert slow.get(timeout=10) == "slow"
    family.kill(busy, signal.SIGSTOP)
    worker.kill(signal.SIGQUIT)
    assert worker.wait(10) == 1
    gone(pids)


def _sleeps_in_task(pid: int) -> bool:
    """Between tasks a child waits in poll; `time.sleep` is another call."""
    with open(f"/proc/{pid}/wchan") as file:
        return "nanosleep" in file.read()


def test_sigterm_under_load_loses_nothing(app: Celery, journal: Journal, start_worker: Start) -> None:
    note = app.tasks["t.note"]
    numbers = iter(range(1_000_000))
    sent = []
    for _ in range(6):
        sent += [note.delay(str(journal), f"{next(numbers)}") for _ in range(1000)]
        before = len(journal.lines())
        worker = start_worker(pool="prefork")
        journal.wait_for(lines=before + 50, timeout=20)
        pids = family.pool(worker.pid)
        assert worker.stop() == 0
        gone(pids)
    start_worker(pool="prefork")
    assert len([result.get(timeout=20) for result in sent]) == len(sent)
    counts = journal.counts()
    assert len(counts) == len(sent)
    assert max(counts.values()) == 1


def test_a_task_that_kills_its_process_harms_none_of_its_neighbours(
    app: Celery, journal: Journal, start_worker: Start
) -> None:
    """Early acks: a neighbour that were blamed would be told as lost."""
    worker = start_worker(pool="prefork")
    sent = []
    for number in range(600):
        sent.append(app.tasks["t.note"].delay(str(journal), f"{number}"))
        if number % 100 == 50:
            app.tasks["t.die"].delay(str(journal), "die")
    assert [result.get(timeout=20) for result in sent] == [str(number) for number in range(600)]
    wait_until(lambda: len(raw.dead(app)) == 6, timeout=20, what="six dead letters")
    assert {letter.reason for letter in raw.dead(app)} == {"crashed"}
    counts = journal.counts()
    assert counts.pop("die") == 18
    assert set(counts.values()) == {1}
    assert worker.stop() == 0
