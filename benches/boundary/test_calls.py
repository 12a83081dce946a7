"""What a call costs in Python: `delay()` up to the broker, with a broker that takes everything at once.

Budget (docs/performance.md): at most 12 µs above the calls into the core that it makes (`core`).
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Celery
from celeriac._bridge import codec


class Swallow:
    """A broker that takes no time."""

    def publish(self, *publication: Any) -> int:
        return 1

    def publish_many(self, batch: Any) -> int:
        return len(batch)

    def declare(self, *queue: str) -> None:
        pass


@pytest.fixture
def add() -> Any:
    app: Any = Celery("bench", set_as_current=False, broker="memory://", backend="disabled://")
    app._broker = Swallow()
    task = app.task(name="bench.add", shared=False)(lambda x, y=0: x + y)
    task.delay(1, 2)
    return task


def test_delay(benchmark: Any, add: Any) -> None:
    assert benchmark(add.delay, 1, 2).id


def test_apply_async_with_options(benchmark: Any, add: Any) -> None:
    assert benchmark(add.apply_async, (1,), {"y": 2}, countdown=10, queue="q", priority=3, headers={"a": 1}).id


def test_apply_many_of_100(benchmark: Any, add: Any) -> None:
    assert len(benchmark(add.apply_many, [(1, 2)] * 100)) == 100


def test_core(benchmark: Any, add: Any) -> None:
    """The calls into the core that `delay` makes: two ids, a repr, a body, an envelope."""
    out = add.app.amqp.message("bench.add", "id", (1, 2), {}, {})

    def core() -> bytes:
        codec.new_id()
        codec.new_id()
        codec.bounded_repr(out.args, 1024)
        kind, encoding, body = codec.dumps(out.body, "json")
        return codec.encode_envelope(out.headers, out.properties, body, kind, encoding)

    assert benchmark(core)


def test_argument_check(benchmark: Any, add: Any) -> None:
    benchmark(add._checker, 1, y=2)
