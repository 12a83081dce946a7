"""What must not type-check: each line that ends with `# error: <code>` gives exactly that error."""

from __future__ import annotations

from celeriac import Celery, Task, shared_task

app = Celery("typed", broker="memory://")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(bind=True)
def bound(self: Task[..., int], x: int) -> int:
    return x


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@shared_task
def shared(x: float) -> list[float]:
    return [x]


add.delay()  # error: call-arg
add.delay("1")  # error: arg-type
add.delay(1, z=2)  # error: call-arg
add.delay(1, 2, 3)  # error: call-arg
add.s("1")  # error: arg-type
add.si(1, y="2")  # error: arg-type
add("1")  # error: arg-type
bound.delay()  # error: call-arg
bound.delay(1, 2)  # error: call-arg
fetch.delay(1)  # error: arg-type
shared.delay("x")  # error: arg-type
text: str = add.delay(1).get()  # error: assignment
size: int = fetch("u")  # error: assignment
data: str = fetch.delay("u").get()  # error: assignment
app.task(3)  # error: call-overload
add.no_such_method()  # error: attr-defined
bound.delay(bound, 1)  # error: call-arg, arg-type
