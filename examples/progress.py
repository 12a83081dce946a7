"""A task that tells how far it is, in a state of its own."""

from __future__ import annotations

import time
from typing import Any

from celeriac import Celery, Task
from examples._worker import BROKER, worker

app = Celery("examples.progress", broker=BROKER, backend=BROKER)
STEPS = 5


@app.task(bind=True)
def climb(self: Task[..., Any]) -> str:
    for step in range(STEPS):
        self.update_state(state="CLIMBING", meta={"step": step, "of": STEPS})
        time.sleep(0.1)
    return "on top"


def main() -> None:
    seen: list[int] = []
    with worker("examples.progress"):
        result = climb.delay()
        while not result.ready():
            if result.state == "CLIMBING" and isinstance(result.info, dict) and result.info["step"] not in seen:
                seen.append(result.info["step"])
                print(f"step {seen[-1] + 1} of {STEPS}")
            time.sleep(0.01)
        print(result.get())
    assert seen
    assert seen == sorted(seen)


if __name__ == "__main__":
    main()
