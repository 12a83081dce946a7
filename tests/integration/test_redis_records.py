"""What a worker records in Redis beside the messages: with unusual names, in full servers, when an end is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from celeriac._bridge.broker import open_broker
from tests.support.node import Node, Row, envelope
from tests.support.redis_server import HOST, RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def line(redis_server: RedisServer) -> Iterator[Any]:
    """A client. Any: the library's types leave open whether replies are bytes."""
    with redis.Redis(host=HOST, port=redis_server.port) as made:
        yield made


@pytest.fixture
def node(redis_server: RedisServer) -> Iterator[Callable[..., Node]]:
    """`node(*queues, prefetch=…, query=…)`; each is stopped at the end."""
    made: list[Node] = []

    def make(*queues: Row, prefetch: int = 0, query: str = "") -> Node:
        made.append(Node(redis_server.url + query, *queues, prefetch=prefetch))
        return made[-1]

    yield make
    for one in made:
        one.stop(cold=True)


def direct(name: str) -> Row:
    return (name, "", "direct", name)


@pytest.mark.parametrize("queue", ["tenant:3", "tenant:4", 'a b"\n{ü}:', ":9:9"])
def test_what_a_worker_gives_back_is_whole_whatever_its_queue_is_called(
    redis_server: RedisServer, line: Any, node: Callable[..., Node], queue: str
) -> None:
    """With Celery's documented `sep`, a queue may be called as another's list of a priority."""
    query = "?sep=:"
    with open_broker(redis_server.url + query) as broker:
        broker.publish("", queue, 0, None, envelope("a"))
    worker = node(direct(queue), query=query)
    worker.jobs(1)
    worker.stop(cold=True)
    (raw,) = line.lrange(queue, 0, -1)
    message = json.loads(raw)
    assert message["headers"] == {"id": "a", "task": "t", "redelivered": True}


def test_batches_that_went_back_are_forgotten(redis_server: RedisServer, line: Any, node: Callable[..., Node]) -> None:
    """More waiters than credit: what they bring beyond it goes back."""
    names = [f"q{number}" for number in range(6)]
    worker = node(*map(direct, names), prefetch=1)
    with open_broker(redis_server.url) as broker:
        for _ in range(20):
            broker.publish_many([("", name, 0, None, envelope(name)) for name in names])
            for _ in names:
                worker.run(worker.jobs(1)[0])
    wait_until(lambda: line.hlen("unacked") == 0, timeout=10, what="end of all claims")
    (held,) = line.keys("celeriac.held.*")
    batches = [field for field in line.hkeys(held) if not field.startswith(b"waiter")]
    assert len(batches) <= 32, batches  # they are forgotten in company, of 120 and more
