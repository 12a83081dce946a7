"""A message that no worker can run is kept, with the reason, and can be run later."""

from __future__ import annotations

import os
import time

from celeriac import Celery
from examples._worker import BROKER, worker

app = Celery("examples.dead_letters", broker=BROKER, backend=BROKER)

if os.environ.get("EXAMPLE_RELEASE") == "2":  # the release that brings the task

    @app.task(name="dead_letters.greet")
    def greet(name: str) -> str:
        return f"hello {name}"


def main() -> None:
    sent = app.send_task("dead_letters.greet", ("you",))
    with worker("examples.dead_letters"):  # a worker of release 1 does not know it
        while not (letters := app.broker.dead_list(10)):
            time.sleep(0.02)
    print(f"dead letter: {letters[0].reason}: {letters[0].detail}")
    os.environ["EXAMPLE_RELEASE"] = "2"
    with worker("examples.dead_letters"):
        print(f"replayed: {app.broker.dead_replay(None)}")  # or: celeriac -A … dead replay
        # A handle remembers an end that it has seen (here the failure), so each look takes a new one.
        while (again := app.AsyncResult(sent.id)).state != "SUCCESS":
            time.sleep(0.02)
    print(again.result)
    assert again.result == "hello you"


if __name__ == "__main__":
    main()
