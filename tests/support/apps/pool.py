"""The application of tests/contract/test_pool.py: in the worker's process, and imported by children that are spawned.

What its tasks tell goes into files of one folder, as they may run in another process.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from celeriac import Celery, signals
from celeriac.exceptions import Reject, SoftTimeLimitExceeded, WorkerTerminate
from tests.support.journal import note
from tests.support.waiting import wait_until

FOLDER = "T_POOL_FOLDER"
"""The variable that names the folder."""

kept: list[bytes] = []


def __getattr__(name: str) -> Any:
    """`app`, in a process that has not made one."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = build(Path(os.environ[FOLDER]))
    return globals()["app"]


@signals.worker_process_init.connect
def init(**_: Any) -> None:
    """Notes the start of a process if there is a file `tell`; ends it if there is a file `refuse`."""
    folder = Path(os.environ[FOLDER])
    if (folder / "tell").exists():
        note(folder / "journal.txt", f"init {os.getpid()}")
    if (folder / "refuse").exists():
        os._exit(9)


@signals.worker_process_shutdown.connect
def shutdown(pid: int, exitcode: int, **_: Any) -> None:
    """Notes the end of a process if there is a file `tell`."""
    folder = Path(os.environ[FOLDER])
    if (folder / "tell").exists():
        note(folder / "journal.txt", f"shutdown {pid} {exitcode}")


def build(folder: Path) -> Celery:
    """Broker, results and journal are in `folder`; tasks `wait` until there is a file `gate`."""
    url = f"sqlite:///{folder / 'pool.db'}"
    app = Celery("pool", broker=url, backend=url, set_as_current=False)
    app.conf.worker_hijack_root_logger = False
    journal, gate = folder / "journal.txt", folder / "gate"

    @app.task(name="add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="wait", shared=False, acks_late=True)
    def wait(label: str) -> str:
        note(journal, f"start {label}")
        wait_until(gate.exists, timeout=20, what="open gate")
        note(journal, f"end {label}")
        return label

    @app.task(name="wait_early", shared=False)
    def wait_early(label: str) -> str:
        return str(wait(label))

    @app.task(name="fail", shared=False)
    def fail() -> None:
        raise ValueError("as planned")

    @app.task(name="leave", shared=False)
    def leave() -> None:
        raise SystemExit(3)

    @app.task(name="terminate", shared=False)
    def terminate() -> None:
        raise WorkerTerminate(1)

    @app.task(name="reject", shared=False, acks_late=True)
    def reject() -> None:
        raise Reject("not for me")

    @app.task(name="place", shared=False)
    def place() -> tuple[int, str]:
        return os.getpid(), threading.current_thread().name

    @app.task(name="coroutine", shared=False)
    async def coroutine(x: int) -> int:
        await asyncio.sleep(0)
        return x * 2

    @app.task(name="retry", shared=False, bind=True, max_retries=2)
    def retry(self: Any) -> int:
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    @app.task(name="echo", shared=False)
    def echo(value: Any) -> Any:
        return value

    @app.task(name="steps", shared=False, bind=True)
    def steps(self: Any, count: int) -> str:
        for number in range(count):
            self.update_state(state="STEP", meta={"number": number})
        return "done"

    @app.task(name="ask", shared=False)
    def ask(x: int) -> int:
        return int(add.delay(x, 1).get(timeout=10, disable_sync_subtasks=False))

    @app.task(name="die", shared=False)
    def die(number: int) -> None:
        os.kill(os.getpid(), number)

    @app.task(name="die_late", shared=False, acks_late=True)
    def die_late(number: int) -> None:
        os.kill(os.getpid(), number)

    @app.task(name="die_again", shared=False, acks_late=True, reject_on_worker_lost=True)
    def die_again(label: str) -> None:
        note(journal, f"die {label}")
        os._exit(7)

    @app.task(name="limited", shared=False, soft_time_limit=0.1)
    def limited() -> str:
        try:
            time.sleep(10)
        except SoftTimeLimitExceeded:
            return "interrupted"
        return "not interrupted"

    @app.task(name="limited_coroutine", shared=False, soft_time_limit=0.1)
    async def limited_coroutine() -> None:
        await asyncio.sleep(10)

    @app.task(name="children", shared=False)
    def children() -> list[int]:
        with multiprocessing.get_context("fork").Pool(2) as inner:
            return inner.map(abs, [-1, -2, -3])

    @app.task(name="fork", shared=False, bind=True)
    def fork(self: Any, way: str) -> str:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)  # the copy has done all that it will
            return "original"
        if way == "state":
            self.update_state(state="COPY")
        if way == "exit":
            raise SystemExit(0)
        if way == "raise":
            raise ValueError("in the copy")
        return "copy"

    @app.task(name="spawn", shared=False)
    def spawn() -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            note(journal, f"pid {process.pid}")

    @app.task(name="spin", shared=False)
    def spin() -> None:
        while True:
            pass

    @app.task(name="spin_late", shared=False, acks_late=True, acks_on_failure_or_timeout=False, time_limit=0.1)
    def spin_late(label: str) -> None:
        note(journal, f"spin {label}")
        while True:
            pass

    @app.task(name="grow", shared=False)
    def grow(mebibytes: int) -> int:
        kept.append(b"x" * (mebibytes << 20))
        return os.getpid()

    return app
