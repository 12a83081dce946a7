"""Ten thousand calls in a few steps."""

from __future__ import annotations

import time

from celeriac import Celery
from examples._worker import BROKER, worker

app = Celery("examples.bulk", broker=BROKER, backend=BROKER)


@app.task
def square(number: int) -> int:
    return number * number


def main() -> None:
    began = time.monotonic()
    results = square.apply_many((number,) for number in range(10_000))
    print(f"{len(results):,} calls sent in {time.monotonic() - began:.2f} s")
    with worker("examples.bulk"):
        began = time.monotonic()
        total = sum(result.get(timeout=60) for result in results)
        print(f"their sum: {total:,}, in {time.monotonic() - began:.2f} s, worker's start included")
    assert total == sum(number * number for number in range(10_000))


if __name__ == "__main__":
    main()
