"""The worker's side: from a queued message to a settled delivery with its result, no task in between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from benches.boundary.drains import config, drain
from benches.boundary.messages import publication
from benches.boundary.pure import PureBroker
from celeriac import _core

_BATCH = 1000
_number = itertools.count()


@pytest.fixture(params=["memory", "file"])
def running(request: pytest.FixtureRequest, url: str) -> Iterator[tuple[_core.Broker, _core.Port]]:
    where = url if request.param == "file" else f"memory://bench-{next(_number)}"
    broker = _core.Broker(where, {}, 10_000)
    hub = _core.Hub(config(where))
    hub.start()
    yield broker, hub.port(0)
    hub.stop(True)
    hub.join(10_000)
    broker.close()


def test_hub_drain_thousand(benchmark, running: tuple[_core.Broker, _core.Port]) -> None:
    """`next_batch`, `start`, `finish`; the hub claims and settles meanwhile."""
    broker, port = running
    benchmark.extra_info["items"] = _BATCH

    def fill() -> None:
        broker.publish_many([publication() for _ in range(_BATCH)])

    done = benchmark.pedantic(lambda: drain(port, _BATCH), setup=fill, rounds=40, warmup_rounds=2)
    assert done == _BATCH


def test_hub_one_at_a_time(benchmark, running: tuple[_core.Broker, _core.Port]) -> None:
    """Publish one, be woken, run it."""
    broker, port = running

    def one() -> None:
        broker.publish(*publication())
        drain(port, 1)

    benchmark.pedantic(one, rounds=500, warmup_rounds=20)


@pytest.mark.parametrize("batch", [1, 64])
def test_pure_drain_thousand(benchmark, pure: PureBroker, batch: int) -> None:
    """Claim, decode, end in pure Python, one by one and 64 at a time."""
    benchmark.extra_info["items"] = _BATCH

    def drained() -> int:
        done = 0
        while done < _BATCH:
            claimed = pure.claim(batch)
            pure.end([(number, key, 4) for number, key, _ in claimed])
            done += len(claimed)
        return done

    def fill() -> None:
        pure.publish_many([(2, 2)] * _BATCH)

    assert benchmark.pedantic(drained, setup=fill, rounds=10, warmup_rounds=1) == _BATCH
