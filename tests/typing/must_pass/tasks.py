"""What must type-check: tasks keep their parameters, results know their type."""

from __future__ import annotations

from typing_extensions import assert_type

from celeriac import Celeriac, Celery, Signature, Task, current_app, shared_task
from celeriac.result import AsyncResult, EagerResult

app = Celery("typed", broker="memory://", task_acks_late=True)
same: type[Celery] = Celeriac
assert_type(current_app, Celery)


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(max_retries=3, queue="slow", autoretry_for=(OSError,))
def render(name: str, *, size: tuple[int, int] = (1, 1)) -> bytes:
    return name.encode() * size[0]


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
assert_type(add.apply((1,)), EagerResult[int])
assert_type(add.apply_many([(1, 2), (3, 4)]), list[AsyncResult[int]])
assert_type(render.delay("a", size=(2, 2)).get(timeout=1), bytes)
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


class Base(Task[[int], str]):
    def run(self, x: int) -> str:
        return str(x)

    def on_failure(self, exc: BaseException, task_id: str, args: object, kwargs: object, einfo: object) -> None:
        assert self.name


assert_type(Base().delay(1).get(), str)
