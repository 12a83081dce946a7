"""The count of what Redis holds, on keys as Kombu writes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.support.redis_server import RedisServer
from tests.support.stock import RedisStock, Stock


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as made:
        yield made


@pytest.fixture
def stock(redis_server: RedisServer) -> Iterator[RedisStock]:
    made = RedisStock(redis_server.url)
    yield made
    made.close()


def test_counts_every_place_a_message_can_be(client: redis.Redis, stock: RedisStock) -> None:
    assert stock() == Stock(0, 0, 0, 0)
    client.lpush("celery", "a", "b")
    client.lpush("celery\x06\x163", "c")
    client.lpush("other", "x")
    client.hset("unacked", "tag", "d")
    client.lpush("celeriac.inflight.worker.0", "e")
    client.zadd("celeriac.parked.celery", {"f": 1, "g": 2, "h": 3})
    client.zadd("celeriac.dead", {"1": 1})
    client.hset("celeriac.dead.1", mapping={"payload": "i", "reason": "crashed", "queue": "celery"})
    assert stock() == Stock(ready=3, held=2, parked=3, dead=1)
    assert stock().waiting == 8


def test_entries_that_no_sweep_would_find(client: redis.Redis, stock: RedisStock) -> None:
    client.hset("unacked", mapping={"both": "m", "held": "m"})
    client.zadd("unacked_index", {"both": 1, "indexed": 1})
    assert stock.unindexed() == {b"held", b"indexed"}
