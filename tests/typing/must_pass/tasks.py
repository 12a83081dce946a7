"""What must type-check: `make typecheck` reads this file. Never imported."""

from __future__ import annotations

import datetime as dt
from typing import Any

from typing_extensions import assert_type

from celeriac import Celeriac, Celery, Task, shared_task
from celeriac.result import AsyncResult

app = Celery("typed")
also = Celeriac("typed too", broker="memory://", backend="memory://")


@app.task
def bare(x: int, y: str = "") -> list[str]:
    return [y] * x


@app.task(acks_late=True, max_retries=None, rate_limit="10/m")
def with_options(x: int) -> float:
    return x / 2


@app.task(bind=True)
def bound(self: Task[..., Any], x: int) -> str:
    raise self.retry(countdown=x)


@app.task
async def coroutine(x: int) -> bytes:
    return bytes(x)


@shared_task
def shared(x: int) -> int:
    return x


def parameters_are_kept() -> None:
    assert_type(bare.delay(1, y="a"), AsyncResult[list[str]])
    assert_type(with_options.delay(3), AsyncResult[float])
    assert_type(bound.delay(3), AsyncResult[str])  # `self` is not a parameter of the call
    assert_type(coroutine.delay(3), AsyncResult[bytes])
    assert_type(shared.delay(3), AsyncResult[int])


def results_are_kept() -> None:
    assert_type(bare.delay(1).get(timeout=1.5), list[str])
    assert_type(bare.apply_async((1,), {"y": "a"}, countdown=2).get(), list[str])
    assert_type(bare(1), list[str])


def options_are_known() -> None:
    bare.apply_async((1,), eta=dt.datetime.now(dt.timezone.utc), expires=60, queue="q", priority=3, ignore_result=True)
    bare.apply_many([(1,), (2,)])
    bare.s(1)
    bare.si(1, "a")


async def results_can_be_awaited() -> None:
    assert_type(await bare.delay(1), list[str])
