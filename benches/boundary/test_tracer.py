"""What Python spends on a task besides its body: decode, request, record. The job is a stand-in, not the hub's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac import Celery
from celeriac._bridge.codec import Message
from celeriac.app.trace import Tracer

ROUNDS = 1000


class Job:
    """Takes what the tracer hands over and drops it."""

    verdict = None
    queue = "celery"
    redelivered = False
    crashes = 0

    def __init__(self, envelope: bytes) -> None:
        self.message = Message.scan(envelope)

    def start(self) -> bool:
        return True

    def finish(self, outcome: int, results: Any, publish: Any, detail: str | None = None) -> None:
        self.ended = outcome


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("bench", broker="memory://bench", backend="memory://bench", set_as_current=False)
    logger = logging.getLogger("celeriac.app.trace")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield made
    logger.setLevel(level)
    made.close()


def run(benchmark: Any, app: Celery, task: Any, **options: Any) -> None:
    tracer = Tracer(app, "w1@bench")
    task_id = "0d06f386-4677-46e3-8a47-5151c06f76ae"
    job: Any = Job(app.amqp.publication(task.name, task_id, (), {}, **options)[4])
    benchmark.pedantic(tracer.execute, args=(job,), rounds=20, iterations=ROUNDS, warmup_rounds=2)
    tracer.close()


def test_execute_no_op(benchmark, app: Celery) -> None:
    """Budget: 8 µs."""

    @app.task(shared=False)
    def noop() -> None: ...

    run(benchmark, app, noop)


def test_execute_no_op_without_result(benchmark, app: Celery) -> None:
    @app.task(shared=False, ignore_result=True)
    def noop() -> None: ...

    run(benchmark, app, noop)


def test_execute_with_parent(benchmark, app: Celery) -> None:
    """Headers are decoded, because the record names the parent."""

    @app.task(shared=False)
    def noop() -> None: ...

    run(benchmark, app, noop, parent_id="the-parent")


def test_execute_coroutine(benchmark, app: Celery) -> None:
    @app.task(shared=False)
    async def noop() -> None: ...

    run(benchmark, app, noop)


def test_execute_failure(benchmark, app: Celery) -> None:
    @app.task(shared=False)
    def boom() -> None:
        raise KeyError("missing")

    run(benchmark, app, boom)
