"""The contract of a pool, and the loop of a child in the worker's process.

A pool owns children; each has one port of the hub. It asks the port for jobs and lets the tracer run them; it knows
nothing of brokers. A port says by `None` that no more jobs come: unstarted ones went back, running ones have ended.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from celeriac import signals
from celeriac._bridge.hub import OUTCOME_LOST
from celeriac.exceptions import WorkerTerminate

if TYPE_CHECKING:
    from celeriac._bridge.codec import Message
    from celeriac._bridge.hub import Hub, Job, Port
    from celeriac.app.base import Celery

logger = logging.getLogger("celeriac.pool")

WAIT_MS = 1000
"""A child looks up from waiting for jobs this often; what it waits for wakes it at once."""

Execute = Callable[["Job"], Any]


class RunningJob(Protocol):
    """A task that a child runs."""

    @property
    def message(self) -> Message: ...


def _not_connected(job: Job) -> None:
    raise RuntimeError("the pool is not connected to a hub")


def _nothing() -> None: ...


class BasePool:
    """A pool of `limit` children. `connect` comes first, then `start`, then `stop` or `terminate`."""

    RUN = 0x1
    CLOSE = 0x2
    TERMINATE = 0x3

    signal_safe = True
    is_green = False
    uses_semaphore = False
    task_join_will_block = True
    body_can_be_buffer = False
    has_processes = False
    """True: children are processes, which the hub starts; only then `prepare` has something to do."""
    runs_in_main_thread = False
    """True: whoever drives the worker calls `run_once`; there are no children of its own."""

    def __init__(
        self,
        limit: int | None = None,
        putlocks: bool = True,
        forking_enable: bool = True,
        callbacks_propagate: Sequence[Any] = (),
        app: Celery | None = None,
        **options: Any,
    ) -> None:
        self.limit = limit or 1
        self.putlocks = putlocks
        self.forking_enable = forking_enable
        self.callbacks_propagate = callbacks_propagate
        self.app = app
        self.options = options
        self._state: int | None = None
        self._ports: list[Port] = []
        self._started = False
        self._running: list[Job | None] = []
        self._execute: Execute = _not_connected
        self._child_ends: Callable[[], Any] = _nothing

    def prepare(self, execute: Execute, child_ends: Callable[[], Any]) -> None:
        """Called before anything of the core has a thread; `execute` and `child_ends` as for `connect`."""

    def hub_options(self) -> dict[str, Any] | None:
        """What the hub needs to know to have child processes; None: children are of this process."""
        return None

    def attach(self, hub: Hub) -> None:
        """The hub that gives it work."""

    def on_child(self, child: int, pid: int, up: bool, status: int | None) -> None:
        """A child process came, or went with that wait status (None: not known)."""

    def connect(self, ports: Sequence[Port], execute: Execute, child_ends: Callable[[], Any] | None = None) -> None:
        """Gives each child its port, and all of them what runs a job.

        Args:
            ports: one for each child.
            execute: runs and finishes a job; raises only to end the worker.
            child_ends: called by each child before it ends, in its own thread.
        """
        self._ports = list(ports)
        self._execute = execute
        self._child_ends = child_ends or _nothing
        self._running = [None] * len(self._ports)

    def start(self) -> None:
        """Starts the children."""
        self._state = self.RUN
        self._started = True
        signals.worker_process_init.send(sender=None)
        self.on_start()

    def stop(self) -> None:
        """Waits until the children have ended, which they do when their ports say so."""
        if self._state not in (None, self.TERMINATE):
            self._state = self.CLOSE
            self.on_stop()
        self._ended()

    def terminate(self) -> None:
        """Gives the children up: what they run is not waited for."""
        self._state = self.TERMINATE
        self.on_terminate()
        self._ended()

    def close(self) -> None:
        """Marks it as closing."""
        self._state = self.CLOSE
        self.on_close()

    def _ended(self) -> None:
        self._ports = []
        if self._started:
            self._started = False
            signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)

    def on_start(self) -> None: ...
    def on_stop(self) -> None: ...
    def on_terminate(self) -> None: ...
    def on_close(self) -> None: ...

    def did_start_ok(self) -> bool:
        """Whether the children live."""
        return True

    def flush(self) -> None:
        """Nothing is held back."""

    def maintain_pool(self, *_: Any, **__: Any) -> None:
        """Nothing to replace."""

    def grow(self, n: int = 1) -> None:
        raise NotImplementedError(f"{type(self).__name__} has a fixed size")

    def shrink(self, n: int = 1) -> None:
        raise NotImplementedError(f"{type(self).__name__} has a fixed size")

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        raise NotImplementedError(f"{type(self).__name__} cannot end a task that runs")

    def restart(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} cannot be restarted")

    def run_once(self, timeout_ms: int) -> bool:
        """Runs the next batch in this thread, for pools without children. False: no more will come."""
        raise NotImplementedError

    @property
    def active(self) -> bool:
        """Whether it runs."""
        return self._state == self.RUN

    @property
    def num_processes(self) -> int:
        """How many tasks it can run at once."""
        return self.limit

    def running_jobs(self) -> Sequence[RunningJob]:
        """Jobs that run now, one a child at most."""
        return [job for job in self._running if job is not None]

    @property
    def info(self) -> dict[str, Any]:
        """For `inspect stats`."""
        return self._get_info()

    def _get_info(self) -> dict[str, Any]:
        kind = type(self)
        return {"implementation": f"{kind.__module__}:{kind.__qualname__}", "max-concurrency": self.limit}

    def _run_batch(self, index: int, batch: Sequence[Job]) -> None:
        """Runs jobs one after the other. Nothing that a task does ends the child."""
        running, execute = self._running, self._execute
        for job in batch:
            running[index] = job
            try:
                execute(job)
            except WorkerTerminate:
                running[index] = None
                raise  # a cold shutdown: the hub takes the job back
            except BaseException as exc:  # the tracer itself failed; the next job must still run
                self._give_up(job, exc)
        running[index] = None

    def _give_up(self, job: Job, exc: BaseException) -> None:
        logger.critical("Task %s[%s]: the worker failed to run it: %r", job.message.task, job.message.id, exc,
                        exc_info=exc)  # fmt: skip
        try:
            job.finish(OUTCOME_LOST, [], [], repr(exc))
        except Exception:
            logger.exception("Task %s[%s]: could not be given back", job.message.task, job.message.id)
