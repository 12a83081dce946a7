"""Three ways to fail: tried again by itself, tried again by hand, and not tried again."""

from __future__ import annotations

from typing import Any

from celeriac import Celery, Task
from examples._worker import BROKER, worker

app = Celery("examples.retries", broker=BROKER, backend=BROKER)


@app.task(bind=True, autoretry_for=(ConnectionError,), default_retry_delay=0.05, max_retries=5)
def fetch(self: Task[..., Any], times: int) -> str:
    """Fails `times` times. With `retry_backoff=True` retries would wait 1 s, 2 s, 4 s…"""
    if self.request.retries < times:
        raise ConnectionError(f"try {self.request.retries} did not get through")
    return f"got through after {self.request.retries} retries"


@app.task(bind=True, max_retries=2)
def poll(self: Task[..., Any]) -> str:
    """Retries by hand, with an argument of its own choice."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return "ready at last"


@app.task
def divide(x: float, y: float) -> float:
    return x / y


def main() -> None:
    with worker("examples.retries"):
        print(fetch.delay(3).get(timeout=20))
        print(poll.delay().get(timeout=20))
        try:
            divide.delay(1, 0).get(timeout=20)
        except ZeroDivisionError as error:
            print(f"the task's own exception, here: {error!r}")
        else:
            raise SystemExit("a division by zero must fail")
        hopeless = fetch.delay(10)
        assert isinstance(hopeless.get(timeout=20, propagate=False), ConnectionError)
        print(f"after 5 retries: {hopeless.state}")


if __name__ == "__main__":
    main()
