"""celeriac and real Celery on one RabbitMQ, results in one Redis: either sends, the other runs. Needs `make venvs`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.interop import Client, Library, StartWorker, start_worker
from tests.support.journal import Journal
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer
from tests.support.worker import Worker

pytestmark = [pytest.mark.celery_peer, pytest.mark.timeout(180)]

OTHER: dict[Library, Library] = {"celery": "celeriac", "celeriac": "celery"}
KINDS = ["classic", "quorum"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    with RabbitServer.start(tmp_path_factory.mktemp("rabbit")) as started:
        yield started


@pytest.fixture(params=KINDS)
def conf(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of both sides: a queue of its own for each test."""
    name = f"jobs-{uuid.uuid4().hex[:8]}"
    # By a topic exchange Celery sends what is for later through RabbitMQ's native delayed delivery.
    topic = {"task_default_exchange": name, "task_default_exchange_type": "topic", "task_default_routing_key": name}
    return {"task_default_queue": name, "task_default_queue_type": request.param, **topic}


@pytest.fixture
def client(server: RabbitServer, redis_server: RedisServer, conf: dict[str, Any]) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(library: Library) -> Client:
        made.append(Client(library, server.url, conf, redis_server.url))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def worker(
    server: RabbitServer, redis_server: RedisServer, conf: dict[str, Any], tmp_path: Path
) -> Iterator[StartWorker]:
    started: list[Worker] = []

    def start(library: Library) -> Worker:
        made = start_worker(library, server.url, tmp_path, name=library, conf=conf, backend=redis_server.url)
        started.append(made)
        return made

    yield start
    for one in started:
        one.reap()


@pytest.mark.parametrize("sender", list(OTHER))
def test_either_runs_what_the_other_sends(
    sender: Library, conf: dict[str, Any], client: Callable[..., Client], worker: StartWorker, journal: Journal
) -> None:
    worker(OTHER[sender])
    sends = client(sender)
    assert sends.outcome(sends.send("i.library"))["value"] == OTHER[sender]
    for serializer in ["json", "msgpack", "pickle"]:
        for compression in [None, "zlib"]:
            id = sends.send("i.echo", 1, "é", kwargs={"k": [None]}, serializer=serializer, compression=compression)
            assert sends.outcome(id)["value"] == {"args": [1, "é"], "kwargs": {"k": [None]}}
    assert sends.outcome(sends.send("i.fail", "key"))["state"] == "FAILURE"
    if (sender, conf["task_default_queue_type"]) == ("celeriac", "quorum"):
        return  # Celery cannot retry within a second by native delayed delivery: "countdown must be a positive number"
    assert sends.outcome(sends.send("i.retry", str(journal), "r", 2))["value"] == 2
    assert journal.lines() == [f"r {number} {OTHER[sender]}" for number in range(3)]


@pytest.mark.parametrize("sender", list(OTHER))
def test_what_is_for_later_runs_at_its_time(
    sender: Library, client: Callable[..., Client], worker: StartWorker, journal: Journal
) -> None:
    worker(OTHER[sender])
    sends = client(sender)
    due = time.time() + 3.5
    assert sends.outcome(sends.send("i.note", str(journal), "later", countdown=3.5))["value"] == "later"
    assert due - 0.01 <= float(journal.lines()[0].split()[1]) < due + 5


def test_workers_of_both_share_a_queue(client: Callable[..., Client], worker: StartWorker, journal: Journal) -> None:
    worker("celery")
    worker("celeriac")
    sends = client("celery")
    ids = sends.send_many(200, "i.library")
    ran = [sends.outcome(id)["value"] for id in ids]
    assert set(ran) == {"celery", "celeriac"}
