"""A worker as a process of its own, as an operator starts it: `python -m celeriac -A ... worker`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
APP = "tests.support.apps.main:app"


def environment(broker: str, backend: str | None = None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child that uses `tests.support.apps.main`: repository importable, no CELERY_*."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY", "CELERIAC"))}
    path = [str(ROOT), *filter(None, [env.get("PYTHONPATH")])]
    env.update(PYTHONPATH=os.pathsep.join(path), PYTHONUNBUFFERED="1", T_BROKER=broker)
    if backend is not None:
        env["T_BACKEND"] = backend
    env.update(extra or {})
    return env


class Process:
    """A child process with its output in a file; killed and reaped when the block ends, whatever happened."""

    def __init__(self, argv: Sequence[str], *, folder: Path, env: Mapping[str, str], name: str) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                list(argv), cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal; a process that has ended is left alone."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, timeout: float = 20) -> int:
        """The exit status (negative: the signal).

        Raises:
            TimeoutError: still alive; shows its output.
        """
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} alive after {timeout} s; output:\n{self.output()}") from None

    def reap(self) -> None:
        """Makes sure that it is gone, also when it was stopped by SIGSTOP."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reap()


class Worker(Process):
    """A celeriac worker. `start` returns when it has said `worker_ready`."""

    @classmethod
    def start(
        cls,
        broker: str,
        *,
        folder: Path,
        backend: str | None = None,
        app: str = APP,
        pool: str = "threads",
        concurrency: int = 2,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        name: str = "worker",
        ready_timeout: float = 20,
        wait: bool = True,
    ) -> Worker:
        ready = folder / f"{name}.ready"
        ready.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "celeriac", "-A", app, "worker", "-c", str(concurrency), "-l", "INFO"]
        argv += [] if pool == "default" else ["-P", pool]
        argv += ["-n", f"{name}@test", *args]
        extra = {"T_READY": str(ready), **(env or {})}
        worker = cls(argv, folder=folder, env=environment(broker, backend, extra), name=name)
        worker.ready = ready
        if wait:
            worker.wait_ready(ready_timeout)
        return worker

    ready: Path

    def wait_ready(self, timeout: float = 20) -> None:
        """Returns when the signal `worker_ready` was sent.

        Raises:
            RuntimeError: it ended first; shows its output.
            TimeoutError: neither within `timeout` seconds.
        """
        try:
            wait_until(lambda: self.ready.exists() or self.returncode is not None, timeout=timeout, what="ready worker")
        except TimeoutError as error:
            self.reap()
            raise TimeoutError(f"{error}; output:\n{self.output()}") from None
        if not self.ready.exists():
            raise RuntimeError(f"worker ended with {self.returncode} before it was ready; output:\n{self.output()}")

    def stop(self, timeout: float = 20) -> int:
        """A warm shutdown; the exit status."""
        self.kill(signal.SIGTERM)
        return self.wait(timeout)

    def __enter__(self) -> Worker:
        return self
