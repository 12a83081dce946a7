"""A task, a call, a result."""

from __future__ import annotations

from celeriac import Celery
from examples._worker import BROKER, worker

app = Celery("examples.hello", broker=BROKER, backend=BROKER)


@app.task
def add(x: int, y: int) -> int:
    return x + y


def main() -> None:
    result = add.delay(2, 3)  # stored; nobody works yet
    with worker("examples.hello"):
        print(f"2 + 3 = {result.get(timeout=20)}")
    assert result.get() == 5


if __name__ == "__main__":
    main()
