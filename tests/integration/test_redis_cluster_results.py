"""Results in a Redis Cluster: where they are, who is told, and what a fail-over or a move does to those who wait."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery
from celeriac._bridge.broker import open_broker
from celeriac.exceptions import BrokerRefused, BrokerUnavailable, ImproperlyConfigured, OperationalError, TimeoutError
from tests.support.apps.tasks import build
from tests.support.certificate import certificate
from tests.support.getting import Waiting
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_server import HOST, RedisServer
from tests.support.waiting import wait_until
from tests.support.worker import Worker

Start = Callable[..., Worker]
KEY = "{celeriac}"
OPTIONS = {"broker_transport_options": {"lease": 2}}


@pytest.fixture
def app(redis_cluster: RedisCluster) -> Iterator[Celery]:
    made = build(redis_cluster.url, redis_cluster.url, OPTIONS)
    yield made
    made.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """Three masters with a replica each, to be broken."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with RedisCluster(folder, replicas=True) as made:
        yield made


def subscribed(cluster: RedisCluster, *task_ids: str) -> bool:
    channels = [f"{{celeriac}}_celery-task-meta-{each}" for each in task_ids]
    counts = cluster.ask(cluster.owner(KEY), "PUBSUB SHARDNUMSUB", *channels)
    return all(counts[1::2])


def busses(cluster: RedisCluster) -> int:
    """Messages that nodes have sent each other because somebody published."""
    sent = [cluster.ask(node, "CLUSTER INFO").get("cluster_stats_messages_publish_sent", 0) for node in cluster.nodes]
    return sum(map(int, sent))


# --- what a worker stores ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_results_of_a_worker_are_in_the_slot_of_its_queues(
    app: Celery, redis_cluster: RedisCluster, start_worker: Start, pool: str
) -> None:
    before = busses(redis_cluster)
    start_worker(redis_cluster.url, pool=pool)
    results = [app.send_task("t.add", (number, 1)) for number in range(50)]
    assert [result.get(timeout=30) for result in results] == list(range(1, 51))
    with pytest.raises(ValueError, match="on purpose"):
        app.send_task("t.fail", ("on purpose",)).get(timeout=30)
    node = redis_cluster.owner(KEY)
    names = redis_cluster.ask(node, "KEYS", "*celery-task-meta-*")
    assert len(names) == 51
    assert all(name.startswith("{celeriac}_celery-task-meta-") for name in names)
    assert 86_000 < redis_cluster.ask(node, "TTL", names[0]) <= 86_400
    assert busses(redis_cluster) == before


def test_results_can_be_awaited_and_forgotten(app: Celery, redis_cluster: RedisCluster, start_worker: Start) -> None:
    start_worker(redis_cluster.url)

    async def main() -> list[Any]:
        results = [app.send_task("t.add", (number, 1)) for number in range(20)]
        return await asyncio.gather(*results)

    assert asyncio.run(main()) == list(range(1, 21))
    told = threading.Event()
    result = app.send_task("t.add", (1, 1))
    result.then(lambda _: told.set())
    assert told.wait(20)
    result.forget()
    assert app.AsyncResult(result.id).state == "PENDING"


def stores(cluster: RedisCluster, server: RedisServer, kind: str) -> tuple[str, str]:
    """Broker and result backend that are apart."""
    return {
        "another prefix": (cluster.url, f"{cluster.url}?global_keyprefix=other:"),
        "another server": (cluster.url, server.url),
        "another broker": (server.url, cluster.url),
        "other seeds": (cluster.url, f"redis+cluster://{HOST}:{cluster.nodes[0].port}/"),
    }[kind]


@pytest.mark.parametrize("kind", ["another prefix", "another server", "another broker", "other seeds"])
def test_results_may_be_elsewhere_than_the_queues(
    redis_cluster: RedisCluster, redis_server: RedisServer, start_worker: Start, kind: str
) -> None:
    broker, backend = stores(redis_cluster, redis_server, kind)
    app = build(broker, backend)
    start_worker(broker, backend=backend)
    results = [app.send_task("t.add", (number, 1)) for number in range(20)]
    assert [result.get(timeout=30) for result in results] == list(range(1, 21))
    if kind == "another prefix":
        node = redis_cluster.owner("{other:}")
        assert len(redis_cluster.ask(node, "KEYS", "{other:}_celery-task-meta-*")) == 20
    app.close()


def test_prefix_of_the_settings_and_of_the_url_are_one(redis_cluster: RedisCluster) -> None:
    by_setting = build(
        redis_cluster.url, redis_cluster.url, {"result_backend_transport_options": {"global_keyprefix": "shop"}}
    )
    by_url = build(redis_cluster.url, f"{redis_cluster.url}?global_keyprefix=%7Bshop%7D")
    by_setting.backend.mark_as_done("id", 1)
    assert by_url.AsyncResult("id").get(timeout=10) == 1
    for made in (by_setting, by_url):
        made.close()


# --- nodes that die, slots that move --------------------------------------------------------------------------------


def test_who_waits_and_who_works_outlive_moves_of_the_slot(
    app: Celery, redis_cluster: RedisCluster, start_worker: Start
) -> None:
    start_worker(redis_cluster.url, env={"T_CONF": json.dumps(OPTIONS)})
    app.backend.mark_as_done("before", 0)
    for number in range(4):
        late = Waiting(app, f"late-{number}", 40)
        wait_until(lambda: subscribed(redis_cluster, f"late-{number}"), timeout=10, what="subscription")
        node = redis_cluster.owner(KEY)
        results = [app.send_task("t.add", (each, number)) for each in range(20)]
        redis_cluster.move(KEY, next(each for each in redis_cluster.nodes if each is not node))
        assert [result.get(timeout=30) for result in results] == [each + number for each in range(20)]
        app.backend.mark_as_done(f"late-{number}", number)
        assert late.end() == number
        assert app.AsyncResult("before").state == "SUCCESS"


def test_silent_wait_is_told_that_the_slot_has_moved(app: Celery, redis_cluster: RedisCluster) -> None:
    waiting = Waiting(app, "id", 40)
    wait_until(lambda: subscribed(redis_cluster, "id"), timeout=10, what="subscription")
    node = redis_cluster.owner(KEY)
    redis_cluster.move(KEY, next(each for each in redis_cluster.nodes if each is not node))
    app.backend.mark_as_done("id", 7)  # nothing else is asked on the connection that waits
    assert waiting.end() == 7


def test_slot_on_its_way_is_waited_for(app: Celery, redis_cluster: RedisCluster) -> None:
    for name in ("known", "a", "b", "other"):
        app.backend.mark_as_done(name, 1)
    waiting: list[Waiting] = []
    writer = threading.Thread(target=app.backend.mark_as_done, args=("id", 7))

    def on_the_way() -> None:
        redis_cluster.ask(node, "CONFIG RESETSTAT")
        with pytest.raises(TimeoutError):
            app.AsyncResult("id").get(timeout=2)
        # A server that says "not now" is not asked as fast as it answers.
        assert 1 <= redis_cluster.ask(node, "INFO", "commandstats")["cmdstat_get"]["rejected_calls"] <= 6
        waiting.append(Waiting(app, "id", 40))
        writer.start()
        assert app.AsyncResult("known").get(timeout=5) == 1
        some = app.backend.get_many(("a", "id", "b"), timeout=10)
        assert {next(some)[0], next(some)[0]} == {"a", "b"}
        some.close()

    node = redis_cluster.owner(KEY)
    redis_cluster.move(KEY, next(each for each in redis_cluster.nodes if each is not node), on_the_way)
    assert waiting[0].end() == 7
    writer.join(20)
    assert app.AsyncResult("other").get(timeout=5) == 1


def test_replica_takes_over_while_results_are_waited_for(cluster: RedisCluster, start_worker: Start) -> None:
    app = build(cluster.url, cluster.url, OPTIONS)
    start_worker(cluster.url, env={"T_CONF": json.dumps(OPTIONS)})
    assert app.send_task("t.add", (1, 1)).get(timeout=20) == 2
    app.backend.mark_as_done("kept", 1)
    wait_until(lambda: cluster.replicated(KEY), timeout=10, what="replica that has all")
    waiting = Waiting(app, "id", 40)
    wait_until(lambda: subscribed(cluster, "id"), timeout=10, what="subscription")
    cluster.owner(KEY).kill()
    assert app.AsyncResult("kept").state == "SUCCESS"  # as soon as the replica is asked
    app.backend.mark_as_done("id", 7)
    assert waiting.end() == 7
    assert app.send_task("t.add", (2, 2)).get(timeout=40) == 4
    app.close()


def test_master_that_steps_down_hands_over_who_waits(cluster: RedisCluster) -> None:
    app = build("memory://steps-down", cluster.url)
    waiting = Waiting(app, "id", 40)
    wait_until(lambda: subscribed(cluster, "id"), timeout=10, what="subscription")
    old = cluster.owner(KEY)
    replica = cluster.nodes[cluster.nodes.index(old) + 3]
    wait_until(lambda: cluster.replicated(KEY), timeout=10, what="replica that has all")
    cluster.ask(replica, "CLUSTER", "FAILOVER")
    wait_until(lambda: cluster.owner(KEY) is replica, timeout=20, what="change of the master")
    app.backend.mark_as_done("id", 7)
    assert waiting.end() == 7
    assert app.AsyncResult("id").state == "SUCCESS"
    app.close()


def test_cluster_that_is_gone_is_said(cluster: RedisCluster) -> None:
    policy = {"retry_policy": {"max_retries": 1, "interval_step": 0.01}}
    app = build("memory://gone", cluster.url, {"result_backend_transport_options": policy})
    app.backend.mark_as_done("id", 1)
    for node in cluster.nodes:
        node.kill()
    with pytest.raises(BrokerUnavailable, match="cannot be reached"):
        app.AsyncResult("id").state  # noqa: B018 - asks
    with pytest.raises(RuntimeError, match="Retry limit exceeded"):
        app.AsyncResult("other").get(timeout=20)
    app.close()


# --- who may, and what is refused -----------------------------------------------------------------------------------


def test_tls_and_a_user_of_its_own(tmp_path: Path, start_worker: Start) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    crt, key = certificate(tmp_path)
    with RedisCluster(folder, certificate=(crt, key)) as cluster:
        for node in cluster.nodes:
            cluster.ask(node, "ACL", "SETUSER", "shop", "on", ">p%40ss", "~{celeriac}*", "&*", "+@all")
            cluster.ask(node, "ACL", "SETUSER", "default", "-@write", "-@pubsub", "-@scripting")
        url = f"rediss+cluster://shop:p%2540ss@{cluster.tls_hosts}/?ssl_ca_certs={crt}"
        app = build(url, url)
        start_worker(url, pool="prefork")
        results = [app.send_task("t.add", (number, 1)) for number in range(20)]
        assert [result.get(timeout=30) for result in results] == list(range(1, 21))
        app.close()
        places = {
            "login": url.replace("p%2540ss", "wrong"),
            "forbids": url.replace("shop:p%2540ss@", ""),
            "certificate": url.partition("?")[0],
        }
        for said, place in places.items():
            policy = {"retry_policy": {"max_retries": 0}}
            wrong = build("memory://wrong", place, {"result_backend_transport_options": policy})
            for ask in (lambda: wrong.backend.mark_as_done("id", 1), lambda: wrong.AsyncResult("id").get(timeout=10)):
                with pytest.raises((OperationalError, RuntimeError), match=f"(?i){said}") as caught:
                    ask()
                assert "p%2540ss" not in str(caught.value)
            wrong.close()
        for place in places.values():
            with pytest.raises((ImproperlyConfigured, OperationalError)):
                open_broker(place).publish("", "jobs", 0, None, b"x")


def test_plain_url_of_a_node_and_cluster_url_of_a_server_say_what_to_write(
    redis_cluster: RedisCluster, redis_server: RedisServer
) -> None:
    other = next(node for node in redis_cluster.nodes if node is not redis_cluster.owner("celery-task-meta-id"))
    plain = build("memory://plain", f"redis://{HOST}:{other.port}/0")
    no_cluster = build("memory://plain", f"redis+cluster://{HOST}:{redis_server.port}/")
    for made, said in ((plain, r"redis\+cluster://"), (no_cluster, "is no cluster")):
        with pytest.raises(BrokerRefused, match=said):
            made.backend.mark_as_done("id", 1)
        with pytest.raises(BrokerRefused, match=said):
            made.AsyncResult("id").get(timeout=10)
        made.close()
