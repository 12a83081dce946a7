"""Redis Cluster as a broker: who dies, what moves, and what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac._bridge.broker import open_broker
from celeriac.exceptions import ImproperlyConfigured, OperationalError
from tests.support.apps.tasks import build
from tests.support.journal import Journal
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_server import HOST, RedisServer
from tests.support.waiting import wait_until
from tests.support.worker import Worker

Start = Callable[..., Worker]
OPTIONS = {"broker_transport_options": {"lease": 2}}
SHORT = {"T_CONF": json.dumps(OPTIONS)}
KEY = "{celeriac}jobs"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """Three masters with a replica each, to be broken."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with RedisCluster(folder, replicas=True) as made:
        yield made


def standing(cluster: RedisCluster) -> tuple[int, int]:
    """Messages that wait or are held, and dead letters."""
    broker = open_broker(cluster.url)
    return sum(sum(depth[1:]) for depth in broker.depths()), len(broker.dead_list())


def test_task_of_a_killed_worker_runs_again(redis_cluster: RedisCluster, start_worker: Start, journal: Journal) -> None:
    app = build(redis_cluster.url, None, OPTIONS)
    first = start_worker(redis_cluster.url, backend=None, env=SHORT)
    app.tasks["t.note_late"].delay(str(journal.path), "one")
    wait_until(lambda: journal.lines() == ["one"], timeout=10, what="first line")
    first.kill()
    app.tasks["t.note_late"].delay(str(journal.path), "two")
    start_worker(redis_cluster.url, backend=None, env=SHORT)
    wait_until(lambda: "two" in journal.lines(), timeout=20, what="line of the second worker")


def test_kill_in_mid_task_loses_nothing(
    redis_cluster: RedisCluster, start_worker: Start, journal: Journal, tmp_path: Path
) -> None:
    app, gate = build(redis_cluster.url, None, OPTIONS), tmp_path / "gate"
    first = start_worker(redis_cluster.url, backend=None, env=SHORT, pool="prefork")
    for number in range(2):
        app.tasks["t.start_then_end"].delay(str(journal.path), str(number), str(gate))
    wait_until(lambda: len(journal.lines()) == 2, timeout=10, what="both starts")
    for number in range(100):
        app.tasks["t.note_late"].delay(str(journal.path), str(number))
    first.kill()
    gate.touch()
    start_worker(redis_cluster.url, backend=None, env=SHORT, pool="prefork")
    wait_until(lambda: len(journal.lines()) >= 106, timeout=30, what="all lines")
    wait_until(lambda: standing(redis_cluster) == (0, 0), timeout=10, what="end of all claims")
    # The children of the killed worker may have come to an end, too: what is late may run twice, nothing is missing.
    assert set(journal.lines()) == {*map(str, range(100)), "start 0", "start 1", "end 0", "end 1"}


def test_master_that_is_killed_under_load_loses_nothing_that_its_replica_has(
    cluster: RedisCluster, start_worker: Start, journal: Journal
) -> None:
    app = build(cluster.url, None, OPTIONS)
    for number in range(300):
        app.tasks["t.note_late"].delay(str(journal.path), str(number), 0.01)
    wait_until(lambda: cluster.replicated(KEY), timeout=10, what="replica that has all tasks")
    for name in ("one", "two"):
        start_worker(cluster.url, backend=None, env=SHORT, name=name)
    journal.wait_for(lines=50, timeout=20)
    cluster.owner(KEY).kill()
    wait_until(lambda: set(journal.lines()) == set(map(str, range(300))), timeout=40, what="all lines")
    wait_until(lambda: standing(cluster) == (0, 0), timeout=20, what="end of all claims")


def test_replica_takes_the_place_of_a_killed_master(
    cluster: RedisCluster, start_worker: Start, journal: Journal
) -> None:
    app = build(cluster.url, None, OPTIONS)
    start_worker(cluster.url, backend=None, env=SHORT)
    app.tasks["t.note_late"].delay(str(journal.path), "before")
    wait_until(lambda: journal.lines() == ["before"], timeout=10, what="first line")
    cluster.owner(KEY).kill()
    app.tasks["t.note_late"].delay(str(journal.path), "after")
    wait_until(lambda: "after" in journal.lines(), timeout=30, what="line after the fail-over")


def test_slot_that_moves_under_load_loses_and_doubles_nothing(
    redis_cluster: RedisCluster, start_worker: Start, journal: Journal
) -> None:
    app = build(redis_cluster.url, None, OPTIONS)
    start_worker(redis_cluster.url, backend=None, env=SHORT)
    moved = threading.Event()
    sent: list[str] = []

    def send() -> None:
        while not moved.is_set() or len(sent) < 50:
            app.tasks["t.note_late"].delay(str(journal.path), str(len(sent)))
            sent.append(str(len(sent)))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for _ in range(4):
            here = redis_cluster.owner(KEY)
            there = next(node for node in redis_cluster.nodes if node is not here)
            redis_cluster.move(KEY, there)
            journal.wait_for(lines=len(journal.lines()) + 1, timeout=20)
    finally:
        moved.set()
        sender.join(60)
    wait_until(lambda: len(journal.lines()) >= len(sent), timeout=30, what="all lines")
    assert sorted(journal.lines()) == sorted(sent)


def test_applications_of_other_prefixes_are_apart(redis_cluster: RedisCluster) -> None:
    one, two = (open_broker(redis_cluster.url, {"global_keyprefix": name}) for name in ("one", "eu-{two}:"))
    assert one.publish("", "jobs", 0, None, b"x") == 1
    assert (len(one.depths()), len(two.depths())) == (1, 0)
    assert redis_cluster.ask(redis_cluster.owner("{one}jobs"), "LLEN", "{one}jobs") == 1


def test_plain_url_is_refused_with_what_to_write(redis_cluster: RedisCluster) -> None:
    other = next(node for node in redis_cluster.nodes if node is not redis_cluster.owner("jobs"))
    with pytest.raises((ImproperlyConfigured, OperationalError), match=r"redis\+cluster://"):
        open_broker(f"redis://{HOST}:{other.port}").publish("", "jobs", 0, None, b"x")


def test_one_server_is_no_cluster(redis_server: RedisServer) -> None:
    port = redis_server.port
    with pytest.raises(ImproperlyConfigured, match="is no cluster"):
        open_broker(f"redis+cluster://{HOST}:{port}/").publish("", "jobs", 0, None, b"x")
