"""The tasks of the test application. Tests call `build` for their own side, workers import `main`.

No `from __future__ import annotations`: task signatures are looked at.
"""

import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from celeriac import Celery
from celeriac.exceptions import Ignore, Reject
from tests.support.journal import note


class Unhappy(Exception):
    """Cannot be shown: `str` and `repr` fail."""

    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


class Heavy(Exception):
    """Carries an argument that no serializer takes."""


def build(broker: str, backend: str | None = None, conf: Mapping[str, Any] | None = None) -> Celery:
    """An application on `broker` with the tasks below registered under `t.<name>`."""
    app = Celery("t", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(conf or {})

    @app.task(shared=False, name="t.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(shared=False, name="t.echo")
    def echo(value: object) -> object:
        return value

    @app.task(shared=False, name="t.noop")
    def noop() -> None:
        return None

    @app.task(shared=False, name="t.note")
    def note_line(journal: str, line: str) -> str:
        note(journal, line)
        return line

    @app.task(shared=False, name="t.note_late", acks_late=True, reject_on_worker_lost=True)
    def note_late(journal: str, line: str, seconds: float = 0.0) -> str:
        if seconds:
            time.sleep(seconds)
        note(journal, line)
        return line

    @app.task(shared=False, name="t.note_after")
    def note_after(journal: str, line: str, seconds: float) -> str:
        """Early ack: gone if its worker dies while it runs."""
        time.sleep(seconds)
        note(journal, line)
        return line

    @app.task(shared=False, name="t.start_then_end", acks_late=True, reject_on_worker_lost=True)
    def start_then_end(journal: str, line: str, gate: str) -> str:
        """Notes its start, waits until the file `gate` exists, notes its end."""
        note(journal, f"start {line}")
        deadline = time.monotonic() + 40
        while not os.path.exists(gate) and time.monotonic() < deadline:
            time.sleep(0.005)
        note(journal, f"end {line}")
        return line

    @app.task(shared=False, name="t.fail")
    def fail(text: str) -> None:
        raise ValueError(text)

    @app.task(shared=False, name="t.fail_unhappy")
    def fail_unhappy() -> None:
        raise Unhappy

    @app.task(shared=False, name="t.fail_heavy")
    def fail_heavy() -> None:
        raise Heavy(object(), lambda: None)

    @app.task(shared=False, name="t.return_unserialisable")
    def return_unserialisable() -> object:
        return object()

    @app.task(shared=False, name="t.exit")
    def leave(status: int = 3) -> None:
        sys.exit(status)

    @app.task(shared=False, name="t.interrupt")
    def interrupt() -> None:
        raise KeyboardInterrupt

    @app.task(shared=False, name="t.deep")
    def deep() -> object:
        value: list[object] = []
        for _ in range(100_000):
            value = [value]
        return value

    @app.task(shared=False, name="t.recurse")
    def recurse() -> None:
        recurse()

    @app.task(shared=False, name="t.spin", acks_late=True, reject_on_worker_lost=True)
    def spin(journal: str, line: str, seconds: float, in_c: bool) -> str:
        """Takes all the time of its process; `in_c`: in one call, during which no signal handler of Python runs."""
        note(journal, f"start {line}")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if in_c:
                sum(range(20_000_000))
        note(journal, f"end {line}")
        return line

    @app.task(shared=False, name="t.die", acks_late=True, reject_on_worker_lost=True)
    def die(journal: str, line: str, after_s: float = 0.0) -> None:
        """Kills the process that runs it."""
        note(journal, line)
        time.sleep(after_s)
        os.kill(os.getpid(), 9)

    @app.task(shared=False, name="t.reject", acks_late=True)
    def reject(requeue: bool = False) -> None:
        raise Reject("not for me", requeue=requeue)

    @app.task(shared=False, name="t.ignore")
    def ignore() -> None:
        raise Ignore

    @app.task(shared=False, name="t.retry", bind=True, max_retries=3, acks_late=True)
    def retry(self: Any, journal: str, line: str, times: int, countdown: float = 0.0) -> int:
        note(journal, f"{line} {self.request.retries}")
        if self.request.retries < times:
            raise self.retry(countdown=countdown)
        return int(self.request.retries)

    @app.task(shared=False, name="t.retry_early", bind=True)
    def retry_early(self: Any, journal: str, line: str) -> None:
        """Runs long enough to be acked before it fails once; its second attempt is for the queue "jobs"."""
        note(journal, f"{line} {self.request.retries}")
        time.sleep(0.2)
        if self.request.retries == 0:
            raise self.retry(countdown=0, queue="jobs")

    @app.task(shared=False, name="t.note_retried", bind=True, acks_late=True, reject_on_worker_lost=True)
    def note_retried(self: Any, journal: str, line: str) -> str:
        """Fails once; its second attempt notes its line."""
        if self.request.retries == 0:
            raise self.retry(countdown=0)
        note(journal, line)
        return line

    @app.task(shared=False, name="t.whose", acks_late=True, reject_on_worker_lost=True)
    def whose(journal: str, gates: str) -> int:
        """Notes the number of its process, waits until the file `gates` followed by that number exists, returns it."""
        note(journal, f"{os.getpid()}")
        deadline = time.monotonic() + 40
        while not os.path.exists(f"{gates}{os.getpid()}") and time.monotonic() < deadline:
            time.sleep(0.005)
        return os.getpid()

    @app.task(shared=False, name="t.die_with_worker", acks_late=True, reject_on_worker_lost=True)
    def die_with_worker(journal: str, line: str) -> None:
        """On a child of the prefork pool: kills the worker, which is the parent of the child's zygote."""
        note(journal, line)
        with open(f"/proc/{os.getppid()}/stat") as file:
            os.kill(int(file.read().rpartition(")")[2].split()[1]), 9)
        time.sleep(40)

    @app.task(shared=False, name="t.swallow", acks_late=True, reject_on_worker_lost=True)
    def swallow(journal: str, line: str, value: str) -> str:
        note(journal, line)
        return value

    return app
