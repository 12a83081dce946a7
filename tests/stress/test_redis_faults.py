"""Redis, its connections and its workers die; nothing accepted is lost. Each test ends with the trial's account."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest
import redis

from tests.support.faults import Trial, redis_trial
from tests.support.journal import Journal
from tests.support.proxy import Proxy
from tests.support.redis_scripts import load_scripts
from tests.support.redis_server import RedisServer
from tests.support.scale import cycles
from tests.support.stock import Stock
from tests.support.waiting import wait_until
from tests.support.worker import Process, Worker, environment

pytestmark = [pytest.mark.stress, pytest.mark.timeout(120)]

TASKS = 400
# A killed worker's tasks come back when its lease has run out.
CONF = {"task_max_crashes": 1_000_000, "broker_transport_options": {"lease": 2}}


@pytest.fixture(params=["threads", "prefork"])
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_killed_workers_tasks_are_done_by_another(trial: Trial) -> None:
    trial.send(TASKS, 0.002)
    worker = trial.worker()
    trial.wait_done(TASKS // 10)
    worker.kill()
    worker.wait()
    trial.account()
    trial.worker()
    trial.settle()
    trial.account()
    assert set(trial.journal.counts()) == set(trial.accepted)


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize(("direction", "after"), [("up", 100), ("down", 0), ("down", 1000)])
def test_a_connection_cut_in_a_message_loses_nothing(
    trial: Trial, proxy: Proxy, how: str, direction: str, after: int
) -> None:
    trial.send(TASKS, 0.002)
    trial.worker()
    trial.wait_done(TASKS // 10)
    cut = proxy.cut(direction, after=after, how=how)  # type: ignore[arg-type]
    cut.wait(30)
    trial.settle()
    trial.account()
    assert set(trial.journal.counts()) == set(trial.accepted)


def test_a_connection_lost_with_tasks_running_ends_them_once_and_stores_their_results(
    trial: Trial, proxy: Proxy, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    begin = trial.app.tasks["t.start_then_end"]
    trial.worker()
    sent = [begin.delay(str(trial.journal), f"{number}", str(gate)) for number in range(2)]
    trial.journal.wait_for(lines=2, timeout=20)
    proxy.refuse()
    proxy.cut_now()
    gate.touch()
    trial.journal.wait_for(lines=4, timeout=20)
    assert trial.stock() == Stock(0, 2, 0, 0)  # ended, and nobody could be told
    proxy.accept()
    assert [result.get(timeout=20) for result in sent] == ["0", "1"]
    assert trial.settle() == Stock(0, 0, 0, 0)
    assert len(trial.journal.lines()) == 4


def test_a_worker_that_was_cut_off_and_given_up_sends_nothing_twice(
    trial: Trial, proxy: Proxy, redis_server: RedisServer
) -> None:
    """The answer to a cycle with a task's next attempt is lost, and so is the worker, until its lease is over and
    others have returned what it held. Then it asks what became of the cycle."""
    worker = trial.worker()
    with redis.Redis(port=redis_server.port) as line:
        load_scripts(line)  # else the answer would be that there is no such script
    cut = proxy.cut("down", marker=b"LPUSH\r\n$4\r\njobs", how="hang")
    trial.send(1, task="t.retry_early")
    cut.wait(20)
    with redis.Redis(port=redis_server.port) as line:
        assert line.llen("jobs") == 1
        other = Worker.start(redis_server.url, folder=trial.folder, pool="threads", name="other", args=["-Q", "other"])
        with other:
            wait_until(lambda: "is gone" in other.output(), timeout=20, what="return of what it held")
            proxy.heal()
            assert trial.app.tasks["t.add"].delay(1, 2).get(timeout=20) == 3
            assert line.llen("jobs") == 1
    assert trial.journal.lines() == ["n0 0"]
    assert worker.stop() == 0


def test_a_server_that_answers_late_is_worked_with(redis_server: RedisServer, proxy: Proxy, tmp_path: Path) -> None:
    """200 ms each way."""
    with redis_trial(redis_server, tmp_path, proxy=proxy, conf=CONF) as trial:
        proxy.delay(up_ms=200, down_ms=200)
        trial.worker()
        trial.send(100, 0.002)
        assert trial.settle() == Stock(0, 0, 0, 0)
        assert trial.account() == 0


def test_twenty_megabytes_pass_as_argument_and_as_result(trial: Trial) -> None:
    value = "x" * 20_000_000
    trial.worker()
    trial.send(2, value, task="t.swallow")
    assert trial.app.tasks["t.echo"].delay(value).get(timeout=40) == value
    assert trial.settle() == Stock(0, 0, 0, 0)
    assert trial.account() == 0
    assert set(trial.journal.counts()) == set(trial.accepted)


def test_a_half_open_connection_is_given_up_and_nothing_is_lost(
    redis_server: RedisServer, proxy: Proxy, tmp_path: Path
) -> None:
    """Connections that were there swallow everything, and the server believes in them; new ones are sound."""
    conf = {**CONF, "broker_transport_options": {"lease": 2, "socket_timeout": 1}}
    with redis_trial(redis_server, tmp_path, proxy=proxy, conf=conf) as trial:
        worker = trial.worker()
        trial.send(TASKS, 0.002)
        trial.wait_done(TASKS // 10)
        assert proxy.cut_now("hang")
        trial.send(TASKS, 0.002)
        assert trial.settle() == Stock(0, 0, 0, 0)
        assert worker.returncode is None
        trial.account()
        assert set(trial.journal.counts()) == set(trial.accepted)


def test_nothing_accepted_from_killed_producers_is_lost_or_doubled(redis_server: RedisServer, tmp_path: Path) -> None:
    """The call in progress may or may not have been stored."""
    with redis_trial(redis_server, tmp_path, conf=CONF) as trial:
        sent, chance = Journal(tmp_path / "sent.txt"), random.Random(41)
        trial.worker()
        for cycle in range(cycles(8, 100)):
            argv = [sys.executable, "-m", "tests.support.sender", str(trial.journal), str(sent), f"p{cycle}"]
            env = environment(redis_server.url, redis_server.url)
            with Process(argv, folder=tmp_path, env=env, name=f"sender{cycle}") as producer:
                started = len(sent.lines())
                sent.wait_for(lines=started + chance.randrange(1, 400), timeout=20)
                producer.kill()
                assert producer.wait() == -9
        words = [line.split(" ", 1) for line in sent.lines()]
        trial.accepted = [line for verb, line in words if verb == "sent"]
        trial.doubtful = [line for verb, line in words if verb == "try"]
        assert len(trial.accepted) > 100
        assert trial.settle() == Stock(0, 0, 0, 0)
        assert trial.account() == 0
        assert set(trial.accepted) <= set(trial.journal.counts())


def test_a_producer_that_has_published_may_fork_and_both_sides_go_on(redis_server: RedisServer, tmp_path: Path) -> None:
    with redis_trial(redis_server, tmp_path, conf=CONF) as trial:
        trial.send(1)
        trial.worker()
        children = []
        for child in range(4):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    note = trial.app.tasks["t.note"]
                    sent = [note.delay(str(trial.journal), f"c{child} {number}") for number in range(50)]
                    for number, result in enumerate(sent):
                        assert result.get(timeout=20) == f"c{child} {number}"
                    status = 0
                finally:
                    os._exit(status)
            children.append(pid)
            trial.send(10)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
        trial.accepted += [f"c{child} {number}" for child in range(4) for number in range(50)]
        assert trial.settle() == Stock(0, 0, 0, 0)
        assert trial.account() == 0
        assert set(trial.journal.counts()) == set(trial.accepted)
