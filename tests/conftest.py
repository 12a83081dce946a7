"""Fixtures for all suites: a temporary embedded broker, workers that are always reaped, a journal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.journal import Journal

if TYPE_CHECKING:
    from celeriac import Celery
    from tests.support.redis_cluster import RedisCluster
    from tests.support.redis_server import RedisServer
    from tests.support.worker import Worker

# Settings of the person at the desk must not reach the tests, but for how long the stress tests go on.
for _name in [name for name in os.environ if name.startswith(("CELERY", "CELERIAC"))]:
    if _name != "CELERIAC_STRESS":
        del os.environ[_name]


@pytest.fixture
def broker_url(tmp_path: Path) -> str:
    """The URL of an embedded broker of this test's own."""
    return f"sqlite:///{tmp_path / 'queue.db'}"


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the whole run: for tests that only need some Redis. See `redis_server`."""
    from tests.support.redis_server import RedisServer

    with RedisServer.start(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """The shared server, empty. Tests that stop, restart or configure a server start one of their own."""
    from tests.support.redis_server import HOST, command

    command(HOST, shared_redis.port, "FLUSHALL")
    return shared_redis


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three masters for the whole run. See `redis_cluster`."""
    from tests.support.redis_cluster import RedisCluster

    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def redis_cluster(shared_cluster: RedisCluster) -> RedisCluster:
    """The shared cluster, empty."""
    shared_cluster.flush()
    return shared_cluster


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.txt")


@pytest.fixture
def app(broker_url: str) -> Iterator[Celery]:
    """The test application as a producer in this process, results in the same file."""
    from tests.support.apps.tasks import build

    made = build(broker_url, broker_url)
    yield made
    made.close()


@pytest.fixture
def start_worker(broker_url: str, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """`start_worker(**options of Worker.start)`; every one is killed and reaped at the end of the test."""
    from tests.support.worker import Worker

    started: list[Worker] = []

    def start(broker: str = broker_url, **options: Any) -> Worker:
        options.setdefault("folder", tmp_path)
        options.setdefault("backend", broker)
        options.setdefault("name", f"worker{len(started)}")
        worker = Worker.start(broker, **options)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.reap()
