"""How a worker comes to its end, or starts anew: the half of `WorkController` for other threads and signal handlers."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac.platforms import EX_FAILURE, EX_OK
from celeriac.worker._shutdown import Plan, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from celeriac._bridge.hub import Hub
    from celeriac.app.base import Celery
    from celeriac.concurrency.base import BasePool, RunningJob

logger = logging.getLogger("celeriac.worker")

COLD_LIMIT_S = 5.0
"""A cold shutdown waits no longer than this for the hub to hand back what it holds."""


class Stoppable:
    """The stage of a worker's life, and what leads to the next one."""

    app: Celery
    hostname: str
    hub: Hub | None = None
    pool: BasePool | None = None
    exitcode: int | None = None
    plan: Plan

    def __init__(self) -> None:
        self.stage = Stage.RUNNING
        self.is_ready = threading.Event()
        self._ended = threading.Event()
        self._reload = threading.Event()
        self._thread: threading.Thread | None = None
        self._cold_at: float | None = None
        self._hub_stopped = False

    def _to(self, stage: Stage, exitcode: int) -> None:
        """Goes on to `stage` if it is further; the first cause of the end gives the exit code, cold overrules."""
        if stage <= self.stage:
            return
        if self.exitcode is None or stage >= Stage.COLD:
            self.exitcode = exitcode
        self.stage = stage
        if stage is Stage.SOFT:
            self._cold_at = time.monotonic() + self.plan.soft_timeout
        elif stage is Stage.COLD:
            self._cold_at = time.monotonic() + COLD_LIMIT_S
        given_up = self.pool.running_jobs() if stage is Stage.COLD and self.pool is not None else ()
        if self.hub is not None:
            self.hub.stop(stage >= Stage.COLD)
        self._tell_cancelled(given_up)

    def on_soft_timeout(self) -> None:
        """The time of a soft shutdown is up."""
        logger.warning("Soft shutdown: %.1f s are over, giving up running tasks", self.plan.soft_timeout)
        self._to(Stage.COLD, EX_FAILURE)

    def on_hub_stopped(self, why: str | None) -> None:
        """The hub has ended; unless it was told to, that is a failure."""
        self._hub_stopped = True
        if why and self.stage is Stage.RUNNING:
            logger.critical("The worker cannot go on: %s", why)
            self.exitcode = EX_FAILURE
            self.stage = Stage.COLD

    @property
    def busy(self) -> bool:
        """Whether a task runs."""
        return self.pool is not None and bool(self.pool.running_jobs())

    def _tell_cancelled(self, given_up: Sequence[RunningJob]) -> None:
        """Stores RETRY for tasks that are given up and were acked before they ran: nobody else will report them.

        Late-acked ones go back to their queue and report by themselves when they run again.
        """
        from celeriac.app.context import Context
        from celeriac.exceptions import Retry

        for job in given_up:
            task = self.app.tasks.get(job.message.task)
            if task is None or task.acks_late:
                continue
            ignored = job.message.ignore_result
            if task.ignore_result if ignored is None else ignored:
                continue
            request = Context({"id": job.message.id, "task": job.message.task, "hostname": self.hostname})
            try:
                task.backend.mark_as_retry(job.message.id, Retry("cancelled by celeriac"), "", request=request)
            except Exception:
                logger.exception("Task %s[%s]: could not store that it was cancelled", task.name, job.message.id)
            signals.task_retry.send(sender=task, request=request, einfo=None)

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        """Warm: no more fetches, running tasks end. Called by another thread it returns when the worker has ended."""
        self._to(Stage.WARM, EX_OK if exitcode is None else exitcode)
        self._await_end(in_sighandler)

    def reload(self, modules: Iterable[str] | None = None, reload: bool = False, reloader: Any = None) -> None:
        """Makes the worker know of tasks that were declared since it started; running ones end first.

        `modules` are imported before; with `reload` anew, by `reloader` (default: `importlib.reload`).
        """
        for name in modules or ():
            if reload and name in sys.modules:
                (reloader or importlib.reload)(sys.modules[name])
            else:
                self.app.loader.import_from_cwd(name)
        if self.hub is None or self.stage > Stage.RUNNING:
            return
        self.is_ready.clear()
        self._reload.set()
        self.hub.stop(False)
        if self._thread is not threading.current_thread():
            self.wait_ready()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Returns when the worker consumes: True; False if it ended instead, or after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.is_ready.wait(0.02):
            if self._ended.is_set() or (deadline is not None and time.monotonic() > deadline):
                return False
        return True

    def terminate(self, in_sighandler: bool = False) -> None:
        """Cold: running tasks are given up, their messages go back if they were not acked."""
        self._to(Stage.COLD, EX_FAILURE)
        self._await_end(in_sighandler)

    def _await_end(self, in_sighandler: bool) -> None:
        if not in_sighandler and self._thread not in (None, threading.current_thread()):
            self._ended.wait()
