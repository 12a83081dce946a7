"""What must type-check: tasks keep their parameters, results know their type."""

from __future__ import annotations

import datetime as dt
from typing import Any

from typing_extensions import assert_type

from celeriac import Celeriac, Celery, Signature, Task, current_app, shared_task
from celeriac.result import AsyncResult, EagerResult

app = Celery("typed", broker="memory://", task_acks_late=True)
same: type[Celery] = Celeriac
assert_type(current_app, Celery)
also = Celeriac("typed too", broker="memory://", backend="memory://", include=["proj.tasks"], timezone="UTC")
also.conf.update(task_acks_late=True)
also.autodiscover_tasks(["proj"])


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(max_retries=3, queue="slow", autoretry_for=(OSError,))
def render(name: str, *, size: tuple[int, int] = (1, 1)) -> bytes:
    return name.encode() * size[0]


@app.task(acks_late=True, max_retries=None, rate_limit="10/m", retry_kwargs={"countdown": 1}, throws=(KeyError,))
def half(x: int) -> float:
    return x / 2


@app.task(bind=True)
def bound_to_any(self: Task[..., Any], x: int) -> str:
    raise self.retry(countdown=x)


@app.task(bind=True, name="bound")
def bound(self: Task[..., int], x: int) -> int:
    if self.request.retries < 2:
        raise self.retry(countdown=1)
    return x


@app.task(bind=True)
async def bound_coroutine(self: Task[..., str], x: int) -> str:
    return str(x)


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@shared_task
def shared(x: float) -> list[float]:
    return [x]


@shared_task(bind=True, ignore_result=True)
def shared_bound(self: Task[..., None], x: float) -> None:
    self.update_state(state="PROGRESS", meta={"done": x})


assert_type(add.delay(1, y=2), AsyncResult[int])
assert_type(add.delay(1).get(), int)
assert_type(add(1, 2), int)
assert_type(add.s(1, 2), Signature[int])
assert_type(add.si(1).delay().get(), int)
assert_type(add.apply_async((1,), countdown=3, queue="q", priority=5).get(), int)
assert_type(add.apply_async((1,), {"y": 2}, countdown=2).get(), int)
now = dt.datetime.now(dt.timezone.utc)
add.apply_async((1,), eta=now, expires=60, queue="q", priority=3, ignore_result=True, retry_policy={"max_retries": 1})
add.apply_async((1,), expires=now, task_id="one", link=add.s(2), link_error=[add.si(1, 2)], headers={"a": 1})
add.apply_async(kwargs={"x": 1})
add.apply_many([(1,), (2,)])
assert_type(add.apply((1,)), EagerResult[int])
assert_type(add.apply_many([(1, 2), (3, 4)]), list[AsyncResult[int]])
assert_type(render.delay("a", size=(2, 2)).get(timeout=1), bytes)
assert_type(half.delay(3), AsyncResult[float])
assert_type(bound_to_any.delay(3), AsyncResult[str])  # `self` is not a parameter of the call
assert_type(bound.delay(3).get(), int)
assert_type(bound(3), int)
assert_type(bound_coroutine.delay(3).get(), str)
assert_type(fetch.delay("u").get(), bytes)
assert_type(shared.delay(1.5).get(), list[float])
assert_type(shared_bound.delay(1).get(), None)
assert_type(app.send_task("by.name", (1,)).id, str)


async def use() -> None:
    assert_type(await fetch("u"), bytes)
    assert_type(await add.delay(1), int)
    assert_type(await bound_coroutine.delay(1), str)


class Base(Task[[int], str]):
    def run(self, x: int) -> str:
        return str(x)

    def on_failure(self, exc: BaseException, task_id: str, args: object, kwargs: object, einfo: object) -> None:
        assert self.name


assert_type(Base().delay(1).get(), str)
