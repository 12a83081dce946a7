"""The two sides of an interop test: a worker and a client of either library, each a process in its own environment.

Both run the same application, `tests/compat/peer/interop_tasks.py`. The client is asked in JSON lines, so that nothing
of one library runs in the process of the other.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tests.support.needs import ROOT, celery_python
from tests.support.worker import Worker

Library = Literal["celery", "celeriac"]
PEER = ROOT / "tests/compat/peer"


def python(library: Library) -> Path:
    return celery_python() if library == "celery" else Path(sys.executable)


def environment(library: Library, url: str, conf: Mapping[str, Any], backend: str | None = None) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY", "CELERIAC"))}
    env.update(
        INTEROP_LIBRARY=library,
        INTEROP_BROKER=url,
        INTEROP_BACKEND=backend or url,
        INTEROP_CONF=json.dumps(dict(conf)),
        PYTHONPATH=str(PEER),
        PYTHONUNBUFFERED="1",
        C_FORCE_ROOT="1",  # Celery refuses to run pickle as root
    )
    return env


class Client:
    """Sends tasks and reads results with one of the libraries. `backend`: where those are, if not with the broker."""

    def __init__(
        self, library: Library, url: str, conf: Mapping[str, Any] | None = None, backend: str | None = None
    ) -> None:
        self.library = library
        self._process = subprocess.Popen(
            [str(python(library)), str(PEER / "interop_client.py"), str(PEER)],
            env=environment(library, url, conf or {}, backend),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read(30) == "ready"

    def _read(self, timeout: float) -> Any:
        out = self._process.stdout
        assert out is not None
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise TimeoutError(f"the client of {self.library} did not answer within {timeout} s")
        line = out.readline()
        if not line:
            raise RuntimeError(f"the client of {self.library} has ended: {self._process.wait(5)}")
        return json.loads(line)

    def ask(self, op: str, **arguments: Any) -> Any:
        """The answer to one question. Raises AssertionError with the client's traceback if it failed there."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([op, arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._read(60)
        assert "ok" in answer, answer["error"]
        return answer["ok"]

    def send(self, task: str, *args: Any, kwargs: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Sends one task; its id."""
        (id,) = self.ask("send", task=task, args=args, kwargs=kwargs, options=options)
        return str(id)

    def send_many(self, count: int, task: str, *args: Any, **options: Any) -> list[str]:
        ids: list[str] = self.ask("send", task=task, args=args, options=options, count=count)
        return ids

    def outcome(self, id: str, timeout: float = 30) -> dict[str, Any]:
        """`state` and `value`, or `error` with its parts."""
        answer: dict[str, Any] = self.ask("outcome", id=id, timeout=timeout)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def start_worker(
    library: Library,
    url: str,
    folder: Path,
    *,
    name: str,
    conf: Mapping[str, Any] | None = None,
    backend: str | None = None,
    concurrency: int = 2,
    pool: str = "prefork",
    args: Sequence[str] = (),
    wait: bool = True,
) -> Worker:
    """A worker of either library that has said `worker_ready`."""
    ready = folder / f"{name}.ready"
    ready.unlink(missing_ok=True)
    argv = [str(python(library)), "-m", library, "-A", "interop_tasks", "worker", "-P", pool, "-c", str(concurrency)]
    argv += ["-l", "INFO", "-n", f"{name}@test", *args]
    env = {**environment(library, url, conf or {}, backend), "T_READY": str(ready)}
    worker = Worker(argv, folder=folder, env=env, name=name)
    worker.ready = ready
    if wait:
        worker.wait_ready(30)
    return worker


StartWorker = Callable[..., Worker]
