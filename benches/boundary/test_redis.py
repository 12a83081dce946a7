"""On Redis: publishing, claiming and settling, beside a client on redis-py. The server runs on the same cores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import pytest

from benches.boundary.drains import config, drain
from benches.boundary.messages import QUEUE, envelope, publication
from benches.boundary.pure import FORMS
from benches.boundary.pure_redis import PureRedis
from celeriac import _core
from celeriac.exceptions import ImproperlyConfigured
from tests.support.redis_server import HOST, RedisServer, command

_BATCH = 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path_factory.mktemp("redis")) as made:
        yield made


@pytest.fixture
def redis_url(server: RedisServer) -> str:
    """The server, empty."""
    command(HOST, server.port, "FLUSHALL")
    return server.url


@pytest.fixture(params=list(FORMS))
def pure(request: pytest.FixtureRequest, redis_url: str) -> Iterator[PureRedis]:
    made = PureRedis(redis_url, request.param)
    yield made
    made.close()


@pytest.fixture
def broker(redis_url: str) -> Iterator[_core.Broker]:
    try:
        made = _core.Broker(redis_url, {}, 10_000)
        made.publish("", QUEUE, 0, None, envelope())  # opens the connection
    except ImproperlyConfigured as error:
        pytest.skip(f"the core has no Redis yet: {error}")
    yield made
    made.close()


@contextlib.contextmanager
def _hub(url: str, *, results: bool = True, prefetch: int | None = None) -> Iterator[_core.Port]:
    """A running hub's port, after a first job: its connections are open."""
    try:
        hub = _core.Hub(config(url, results=results, prefetch=prefetch))
    except ImproperlyConfigured as error:
        pytest.skip(f"the hub has no Redis yet: {error}")
    hub.start()
    try:
        port = hub.port(0)
        drain(port, 1, results=results)
        yield port
    finally:
        hub.stop(True)
        hub.join(10_000)


def test_redis_publish_one(benchmark, broker: _core.Broker) -> None:
    """Ready bytes, a round trip."""
    ready = envelope()
    benchmark(broker.publish, "", QUEUE, 0, None, ready)


def test_redis_encode_and_publish_one(benchmark, broker: _core.Broker) -> None:
    """From Python values."""
    benchmark(lambda: broker.publish(*publication()))


def test_redis_pure_publish_one(benchmark, pure: PureRedis) -> None:
    """The same in pure Python, with a third of the headers."""
    benchmark(pure.publish, (2, 2))


def test_redis_publish_thousand(benchmark, broker: _core.Broker) -> None:
    """Ready bytes, one step."""
    benchmark.extra_info["items"] = _BATCH
    batch = [publication() for _ in range(_BATCH)]
    benchmark.pedantic(broker.publish_many, (batch,), rounds=40, warmup_rounds=2)


def test_redis_encode_and_publish_thousand(benchmark, broker: _core.Broker) -> None:
    """From Python values, one step."""
    benchmark.extra_info["items"] = _BATCH
    benchmark.pedantic(lambda: broker.publish_many([publication() for _ in range(_BATCH)]), rounds=40, warmup_rounds=2)


def test_redis_pure_publish_thousand(benchmark, pure: PureRedis) -> None:
    """The same in pure Python, with a third of the headers; one LPUSH."""
    benchmark.extra_info["items"] = _BATCH
    calls = [(2, 2)] * _BATCH
    benchmark.pedantic(pure.publish_many, (calls,), rounds=40, warmup_rounds=2)


@pytest.mark.parametrize("results", [False, True], ids=["bare", "results"])
@pytest.mark.parametrize("prefetch", [1, 64, 512])
def test_redis_hub_drain_thousand(
    benchmark, broker: _core.Broker, redis_url: str, prefetch: int, results: bool
) -> None:
    """Claimed, decoded, settled through a hub that holds so many at most."""
    benchmark.extra_info["items"] = _BATCH

    def fill() -> None:
        broker.publish_many([publication() for _ in range(_BATCH)])

    with _hub(redis_url, results=results, prefetch=prefetch) as port:
        run = partial(drain, port, _BATCH, results=results)
        assert benchmark.pedantic(run, setup=fill, rounds=20, warmup_rounds=2) == _BATCH


def test_redis_hub_one_at_a_time(benchmark, broker: _core.Broker, redis_url: str) -> None:
    """Publish one, be woken, run it."""
    with _hub(redis_url) as port:

        def one() -> None:
            broker.publish(*publication())
            drain(port, 1)

        benchmark.pedantic(one, rounds=500, warmup_rounds=20)


@pytest.mark.parametrize("results", [False, True], ids=["bare", "results"])
@pytest.mark.parametrize("batch", [1, 64, 512])
def test_redis_pure_drain_thousand(benchmark, pure: PureRedis, batch: int, results: bool) -> None:
    """Claim, decode, end in pure Python: three round trips a batch."""
    benchmark.extra_info["items"] = _BATCH

    def run() -> int:
        done = 0
        while done < _BATCH:
            claimed = pure.claim(batch)
            pure.end([(tag, key, 4) for tag, key, _ in claimed], results=results)
            done += len(claimed)
        return done

    def fill() -> None:
        pure.publish_many([(2, 2)] * _BATCH)

    assert benchmark.pedantic(run, setup=fill, rounds=10, warmup_rounds=1) == _BATCH


def test_redis_pure_one_at_a_time(benchmark, pure: PureRedis) -> None:
    """Publish one, take it, run it; no waking up in it."""

    def one() -> None:
        pure.publish((2, 2))
        pure.end([(tag, key, 4) for tag, key, _ in pure.claim(1)])

    benchmark.pedantic(one, rounds=500, warmup_rounds=20)
