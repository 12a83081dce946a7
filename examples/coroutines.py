"""Coroutine tasks, and a caller that awaits their results."""

from __future__ import annotations

import asyncio
import time

from celeriac import Celery
from examples._worker import BROKER, worker

app = Celery("examples.coroutines", broker=BROKER, backend=BROKER)


@app.task
async def ask(name: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"{name} answered after {seconds} s"


async def ask_all() -> list[str]:
    asked = [ask.delay(name, 0.3) for name in ("Ada", "Grace", "Barbara", "Frances")]
    return [await result for result in asked]


def main() -> None:
    with worker("examples.coroutines"):
        began = time.monotonic()
        answers = asyncio.run(ask_all())
        print(*answers, f"all within {time.monotonic() - began:.1f} s, worker's start included", sep="\n")
    assert len(answers) == 4


if __name__ == "__main__":
    main()
