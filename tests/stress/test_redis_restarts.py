"""Redis restarts again and again, or is out of memory, while workers and producers are at it; nothing is lost."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.faults import Trial
from tests.support.proxy import Proxy
from tests.support.redis_scripts import load_scripts
from tests.support.redis_server import RedisServer
from tests.support.scale import cycles, scaled
from tests.support.stock import Stock
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform != "linux", reason="the prefork pool needs Linux"),
]

CONF = {"task_max_crashes": 1_000_000, "broker_transport_options": {"lease": 5}}
RESTARTS = (8, 200)
PROGRESS_S = 5.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may kill; it has on disk what it has answered for."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer.start(folder, args=["--appendonly", "yes", "--appendfsync", "always"]) as started:
        yield started


@contextlib.contextmanager
def producing(trial: Trial, seconds: float = 0.002) -> Iterator[None]:
    """A thread that publishes in the block; what it could not publish for sure is in doubt."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def publish() -> None:
        try:
            while not stop.is_set():
                trial.send(1, seconds, retry=False)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(40)
    assert errors == []
    assert not thread.is_alive()


@pytest.mark.timeout(scaled(90, *RESTARTS))
def test_a_server_that_restarts_at_any_moment_is_gone_on_with(trial: Trial, server: RedisServer, proxy: Proxy) -> None:
    """Killed while the worker waits, while it is published to, in a claim and in the step that ends tasks."""
    with redis.Redis(port=server.port) as line:
        scripts = load_scripts(line)
    chance, slowest = random.Random(31), 0.0
    worker = trial.worker()
    for cycle in range(cycles(*RESTARTS)):
        when = ("idle", "publishing", "claim", "ends")[cycle % 4]
        if when == "idle":
            trial.settle()
            server.kill()
            server.resume()
            since, before = time.monotonic(), len(trial.journal.counts())
            trial.send(1)
            trial.wait_done(before + 1)
        else:
            with producing(trial):
                trial.wait_done(len(trial.journal.counts()) + 20)
                if when == "publishing":
                    time.sleep(chance.uniform(0, 0.05))  # the moment of death is the experiment
                else:
                    cut = proxy.cut("down", marker=scripts[when].encode(), how="hang")
                    cut.wait(20)
                server.kill()
                time.sleep(chance.choice([0, 0, 0.5]))  # how long it is away, too
                before = len(trial.journal.counts())
                server.resume()
                since = time.monotonic()
                # What the children had in hand may have ended without the server.
                trial.wait_done(before + 20)
        slowest = max(slowest, time.monotonic() - since)
        assert slowest < PROGRESS_S, f"cycle {cycle}, {when}: {slowest:.1f} s from the server's return to progress"
    assert trial.settle() == Stock(0, 0, 0, 0)
    # A claim that was refused is a repeat: none here, for no lease ran out.
    assert trial.account() == 0, f"slowest {slowest:.2f} s"
    assert set(trial.accepted) <= set(trial.journal.counts())
    assert worker.returncode is None
    print(f"slowest return to progress: {slowest:.2f} s")


def test_a_server_out_of_memory_under_load_refuses_and_goes_on_when_there_is_room(
    trial: Trial, server: RedisServer
) -> None:
    worker = trial.worker()
    with redis.Redis(port=server.port) as line, producing(trial):
        for _ in range(3):
            trial.wait_done(len(trial.journal.counts()) + 100)
            line.config_set("maxmemory", "1mb")
            refused = len(trial.doubtful)
            wait_until(lambda seen=refused: len(trial.doubtful) > seen + 5, timeout=20, what="refusals")  # type: ignore[misc]
            line.config_set("maxmemory", "0")
    assert trial.settle() == Stock(0, 0, 0, 0)
    assert trial.account() == 0
    assert set(trial.journal.counts()) == set(trial.accepted)  # nothing of what was refused
    assert worker.returncode is None


def test_scripts_that_are_forgotten_under_load_are_told_again(trial: Trial, server: RedisServer) -> None:
    trial.worker()
    with redis.Redis(port=server.port) as line, producing(trial, 0.0):
        for _ in range(100):
            line.script_flush()
            trial.wait_done(len(trial.journal.counts()) + 2)
    assert trial.settle() == Stock(0, 0, 0, 0)
    assert trial.account() == 0
    assert trial.doubtful == []
    assert set(trial.journal.counts()) == set(trial.accepted)
