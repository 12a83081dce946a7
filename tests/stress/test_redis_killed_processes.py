"""Prefork and threads on Redis under SIGKILL, SIGSTOP and SIGTERM: of children, zygotes and workers, also by a task."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import family
from tests.support.faults import Trial, redis_trial
from tests.support.redis_server import RedisServer
from tests.support.scale import cycles, scaled
from tests.support.stock import Stock
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform != "linux", reason="the prefork pool needs Linux"),
]

LEASE = {"broker_transport_options": {"lease": 1}}
ENDLESS = {"task_max_crashes": 1_000_000, **LEASE}
KILLS = (60, 1000)


@pytest.fixture
def endless(redis_server: RedisServer, tmp_path: Path) -> Iterator[Trial]:
    """Crashes are not limited: every task must end up done."""
    with redis_trial(redis_server, tmp_path, conf=ENDLESS) as made:
        yield made


@pytest.mark.timeout(scaled(120, *KILLS))
def test_tasks_survive_the_death_of_any_process_at_any_moment(endless: Trial) -> None:
    trial, chance = endless, random.Random(21)
    worker = trial.worker()
    killed = {"child": 0, "zygote": 0, "worker": 0}
    for _ in range(cycles(*KILLS)):
        if trial.stock().ready < 200:
            trial.send(200, 0.002)
        time.sleep(chance.uniform(0, 0.15))  # the moment of death is the experiment
        kind = chance.choices(list(killed), [75, 15, 10])[0]
        zygotes = family.zygotes(worker.pid)
        assert len(zygotes) <= 2
        pids = {"child": family.pool(worker.pid), "zygote": zygotes, "worker": [worker.pid]}[kind]
        if pids:
            family.kill(chance.choice(pids))
            killed[kind] += 1
        if kind == "worker":
            worker.wait()
        if worker.returncode is not None:
            # With both zygotes gone it ends by itself, when what runs has ended, be it just before it is to be killed.
            ends = {1} if "none stands by" in worker.output() else set()
            assert worker.returncode in ends | ({-9} if kind == "worker" else set()), worker.output()[-2000:]
            worker = trial.worker()
    if worker.returncode is not None:
        worker = trial.worker()
    assert trial.settle() == Stock(0, 0, 0, 0)
    repeats = trial.account()
    assert set(trial.journal.counts()) == set(trial.accepted)
    # A child's death repeats the task it ran; a worker's, what its two children had run and not yet reported.
    assert repeats <= killed["child"] + 2 * 64 * killed["worker"], killed
    assert worker.stop() == 0
    assert trial.stock() == Stock(0, 0, 0, 0)
    print(f"killed: {killed}; {len(trial.accepted)} tasks, {repeats} runs more than one each")


def test_sigterm_under_load_loses_nothing_and_repeats_nothing(endless: Trial) -> None:
    for _ in range(4):
        trial = endless
        trial.send(400)
        before = len(trial.journal.counts())
        worker = trial.worker()
        trial.wait_done(before + 50)
        assert worker.stop() == 0
        assert trial.stock().held == 0
        assert trial.account() == 0
    endless.worker()
    endless.settle()
    assert endless.account() == 0
    assert set(endless.journal.counts()) == set(endless.accepted)


def test_children_that_all_spin_keep_their_leases_and_are_handed_back_at_a_cold_stop(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """One in C code, one in Python's; an idle worker beside them would take what is let go of."""
    conf = {"broker_transport_options": {"lease": 0.5}}
    with redis_trial(redis_server, tmp_path, conf=conf) as trial:
        spin, lines = trial.app.tasks["t.spin"], trial.journal
        worker = trial.worker()
        other = trial.worker(args=["-Q", "other"])
        sent = [spin.delay(str(lines), f"{in_c}", 3.0, in_c) for in_c in (True, False)]
        assert [result.get(timeout=20) for result in sent] == ["True", "False"]
        assert sorted(lines.lines()) == ["end False", "end True", "start False", "start True"]
        for in_c in (True, False):
            spin.delay(str(lines), f"{in_c}", 60, in_c)
        lines.wait_for(lines=6, timeout=20)
        pids = family.pool(worker.pid)
        worker.kill(signal.SIGTERM)
        wait_until(lambda: "Warm shutdown" in worker.output(), timeout=5, what="warm shutdown")
        worker.kill(signal.SIGQUIT)
        worker.wait(8)
        wait_until(lambda: not any(map(family.is_alive, pids)), timeout=10, what="end of all children")
        assert trial.stock() == Stock(2, 0, 0, 0)
        assert other.stop() == 0


def test_a_frozen_workers_result_is_refused_and_the_other_ones_is_kept(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Only the worker is frozen: its child ends the task meanwhile, so the stale result is there when it wakes up."""
    conf = {"worker_prefetch_multiplier": 1, **LEASE}  # who is busy takes nothing
    with redis_trial(redis_server, tmp_path, conf=conf, concurrency=1) as trial:
        gates = tmp_path / "gate"
        frozen = trial.worker()
        sent = trial.app.tasks["t.whose"].delay(str(trial.journal), str(gates))
        (first,) = trial.journal.wait_for(lines=1, timeout=20)
        frozen.kill(signal.SIGSTOP)
        trial.worker()
        _, second = trial.journal.wait_for(lines=2, timeout=20)
        Path(f"{gates}{first}").touch()
        frozen.kill(signal.SIGCONT)
        # Only the one that was frozen is free to do this, and it reports in order.
        assert trial.app.tasks["t.add"].delay(1, 2).get(timeout=20) == 3
        assert not sent.ready()
        Path(f"{gates}{second}").touch()
        assert sent.get(timeout=20) == int(second) != int(first)
        assert trial.settle() == Stock(0, 0, 0, 0)
        assert trial.journal.lines() == [first, second]
        assert frozen.returncode is None


def deaths_until_dead_letter(trial: Trial) -> int:
    """Starts workers until one has emptied the queue; how many died before it."""
    for deaths in range(9):
        worker = trial.worker(concurrency=1, wait=False)
        wait_until(
            lambda worker=worker: worker.returncode is not None or trial.stock().waiting == 0,  # type: ignore[misc]
            timeout=20,
            what="death or empty queue",
        )
        if worker.returncode is None:
            return deaths
        assert worker.returncode == -9
    raise AssertionError("nine workers died")


@pytest.mark.parametrize(
    ("pool", "task", "deaths"),
    [("prefork", "t.die", 0), ("prefork", "t.die_with_worker", 3), ("threads", "t.die", 3)],
)
def test_a_task_that_kills_each_time_becomes_a_dead_letter_and_its_neighbours_are_done(
    redis_server: RedisServer, tmp_path: Path, pool: str, task: str, deaths: int
) -> None:
    with redis_trial(redis_server, tmp_path, conf=LEASE, pool=pool) as trial:
        trial.send(10)
        trial.send(1, task=task)
        trial.send(10)
        assert deaths_until_dead_letter(trial) == deaths
        assert trial.settle() == Stock(0, 0, 0, 1)
        trial.account()
        counts = trial.journal.counts()
        assert set(counts) == set(trial.accepted)
        assert counts["n10"] == 3
        (letter,) = trial.app.broker.dead_list()
        assert letter.reason == "crashed"
