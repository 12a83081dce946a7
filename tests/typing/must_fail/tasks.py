"""What must not type-check: each line that ends in `# error: CODE` must give exactly that error. Never imported."""

from __future__ import annotations

from typing import Any

from celeriac import Celery, Task

app = Celery("typed")


@app.task
def bare(x: int, y: str = "") -> list[str]:
    return [y] * x


@app.task(bind=True)
def bound(self: Task[..., Any], x: int) -> str:
    return str(x)


bare.delay("1")  # error: arg-type
bare.delay()  # error: call-arg
bare.delay(1, z=2)  # error: call-arg
bare.s("1")  # error: arg-type
bound.delay(bound, 1)  # error: call-arg, arg-type
number: int = bare.delay(1).get()  # error: assignment
bare.no_such_method()  # error: attr-defined
