"""The proxy in front of a real Redis: whole commands pass, and a broken one is an error that redis-py knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy.start(redis_server.port) as made:
        yield made


@pytest.fixture
def client(redis_server: RedisServer, proxy: Proxy) -> Iterator[redis.Redis]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    made = redis.Redis.from_url(proxy.url_of(redis_server.url), socket_timeout=1, retry=Retry(NoBackoff(), 0))
    yield made
    made.close()


@pytest.fixture
def direct(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as made:
        yield made


def test_a_megabyte_passes_whole(client: redis.Redis) -> None:
    value = bytes(range(256)) * 4096
    assert client.set("k", value)
    assert client.get("k") == value


def test_a_cut_request_is_not_run(client: redis.Redis, direct: redis.Redis, proxy: Proxy) -> None:
    client.ping()
    cut = proxy.cut("up", after=20)
    with pytest.raises(redis.ConnectionError):
        client.rpush("list", "a")
    cut.wait(5)
    assert direct.exists("list") == 0
    assert client.rpush("list", "a") == 1


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_cut_reply_leaves_the_command_done(client: redis.Redis, direct: redis.Redis, proxy: Proxy, how: str) -> None:
    client.ping()
    cut = proxy.cut("down", marker=b"RPUSH", how=how)  # type: ignore[arg-type]
    with pytest.raises(redis.ConnectionError):
        client.rpush("list", "a")
    cut.wait(5)
    assert direct.lrange("list", 0, -1) == [b"a"]


def test_a_pipeline_is_cut_between_its_replies(client: redis.Redis, direct: redis.Redis, proxy: Proxy) -> None:
    client.ping()
    cut = proxy.cut("down", after=6)  # ":1\r\n" and half of the next
    with pytest.raises(redis.ConnectionError):
        pipe = client.pipeline(transaction=False)
        for value in "abc":
            pipe.rpush("list", value)
        pipe.execute()
    cut.wait(5)
    assert direct.llen("list") == 3


def test_silence_is_a_timeout_and_heals(client: redis.Redis, proxy: Proxy) -> None:
    client.ping()
    proxy.silence()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    proxy.heal()
    assert client.ping()


def test_refused_connection_is_an_error_until_it_accepts(client: redis.Redis, proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    proxy.accept()
    assert client.ping()


def test_a_connection_that_hangs_stays_open_and_others_go_on(
    client: redis.Redis, direct: redis.Redis, proxy: Proxy
) -> None:
    client.ping()
    cut = proxy.cut("down", marker=b"RPUSH", how="hang")
    with pytest.raises(redis.TimeoutError):
        client.rpush("list", "a")
    cut.wait(5)
    assert direct.lrange("list", 0, -1) == [b"a"]
    assert client.rpush("list", "b") == 2
