"""Publishing, to a file. Budget: 4 µs a message in bulk, 40 µs one by one, ready bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benches.boundary.messages import QUEUE, envelope, publication
from benches.boundary.pure import PureBroker
from celeriac import _core

_BATCH = 1000


@pytest.fixture
def broker(url: str) -> Iterator[_core.Broker]:
    made = _core.Broker(url, {}, 10_000)
    made.publish("", QUEUE, 0, None, envelope())  # opens the file and makes its tables
    yield made
    made.close()


def test_publish_one(benchmark, broker: _core.Broker) -> None:
    """Ready bytes into the file."""
    ready = envelope()
    benchmark(broker.publish, "", QUEUE, 0, None, ready)


def test_encode_and_publish_one(benchmark, broker: _core.Broker) -> None:
    """From Python values into the file."""
    benchmark(lambda: broker.publish(*publication()))


def test_pure_publish_one(benchmark, pure: PureBroker) -> None:
    """The same in pure Python, with a third of the headers."""
    benchmark(pure.publish, (2, 2))


def test_publish_thousand(benchmark, broker: _core.Broker) -> None:
    """Ready bytes, one step."""
    benchmark.extra_info["items"] = _BATCH
    batch = [publication() for _ in range(_BATCH)]
    benchmark.pedantic(broker.publish_many, (batch,), rounds=40, warmup_rounds=2)


def test_encode_and_publish_thousand(benchmark, broker: _core.Broker) -> None:
    """From Python values, one step."""
    benchmark.extra_info["items"] = _BATCH
    benchmark.pedantic(lambda: broker.publish_many([publication() for _ in range(_BATCH)]), rounds=40, warmup_rounds=2)


def test_pure_publish_thousand(benchmark, pure: PureBroker) -> None:
    """The same in pure Python, with a third of the headers."""
    benchmark.extra_info["items"] = _BATCH
    calls = [(2, 2)] * _BATCH
    benchmark.pedantic(pure.publish_many, (calls,), rounds=40, warmup_rounds=2)


def test_depths(benchmark, broker: _core.Broker) -> None:
    """Of a file with ten thousand messages."""
    for _ in range(10):
        broker.publish_many([publication() for _ in range(_BATCH)])
    benchmark(broker.depths)
