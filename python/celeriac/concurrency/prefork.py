"""The prefork pool: every child is a process, forked from a zygote that has imported the application, or spawned.

The hub starts, watches and replaces children by itself (docs/adr/0009-process-pool.md); here are the zygotes that it
asks, and what the main process knows of the children.
"""

from __future__ import annotations

import gc
import os
import signal as _signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac.concurrency import _zygote, get_start_method
from celeriac.concurrency._child import Child
from celeriac.concurrency.base import BasePool, Execute, logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from celeriac._bridge.hub import Hub
    from celeriac.concurrency.base import RunningJob

__all__ = ["TaskPool"]

_ASK_MS = 1000
_COLD_MS = 5000
_ZYGOTE_ENDS_S = 2.0
_IMPORT_S = 60.0
"""A spawned child imports the application before it takes tasks; it gets this long if nobody has set a time."""


class TaskPool(BasePool):
    """Runs up to `limit` tasks at once, each in a process of its own.

    It alone keeps time limits, replaces children after so many tasks or so much memory, and can end a task that runs.
    """

    has_processes = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = self.options
        self.hostname: str = options.get("hostname") or ""
        self.loglevel: Any = options.get("loglevel")
        self.logfile: Any = options.get("logfile")
        self.max_tasks: int | None = options.get("max_tasks_per_child") or None
        self.max_memory: int | None = options.get("max_memory_per_child") or None
        self.start_method = get_start_method(options.get("start_method"))
        self.proc_alive_timeout: float = options.get("proc_alive_timeout") or 4.0
        self._recipe: IO[bytes] | None = None
        self._hub: Hub | None = None
        self._zygotes: list[_zygote.Zygote] = []
        self._pids: dict[int, int] = {}

    @property
    def measures_memory(self) -> bool:
        """Whether children measure their memory, which only Linux tells them."""
        return self.max_memory is not None and sys.platform == "linux"

    def prepare(self, execute: Execute, child_ends: Callable[[], Any]) -> None:
        """Makes the zygotes. Nothing of the core may have a thread yet."""
        self.run_by(execute, child_ends)
        signals.worker_before_create_process.send(sender=self)
        if self.start_method == "spawn":
            self._launch()
            return
        _warn_of_threads()
        # What is there now stays: children must not copy pages only because a collection counts references.
        gc.collect()
        gc.freeze()
        for _ in range(2):
            self._zygotes.append(_zygote.fork(lambda kit: Child(self, kit).run(), self._zygotes))

    def run_by(self, execute: Execute, child_ends: Callable[[], Any]) -> None:
        """What runs a job, and what a child does at its end; as for `connect`."""
        self._execute, self._child_ends = execute, child_ends
        self._running = [None]

    def _launch(self) -> None:
        from celeriac.concurrency import _launcher, _recipe

        self._recipe = _recipe.write(self)
        try:
            for _ in range(2):
                self._zygotes.append(_launcher.launch(self._recipe.fileno()))
        except BaseException:
            self._ended()
            raise

    def hub_options(self) -> dict[str, Any] | None:
        return {
            "zygotes": [one.control.detach() for one in self._zygotes],
            "max_tasks": self.max_tasks,
            "max_memory_kib": self.max_memory,
            "patience_ms": int(self.proc_alive_timeout * 1000),
            "start_patience_ms": int(self._start_timeout * 1000),
        }

    @property
    def _start_timeout(self) -> float:
        """Seconds that a child may take until it takes tasks."""
        if self.start_method == "fork" or self.options.get("proc_alive_timeout"):
            return self.proc_alive_timeout
        return _IMPORT_S

    def attach(self, hub: Hub) -> None:
        self._hub = hub

    def start(self) -> None:
        """The hub starts the children."""
        self._state = self.RUN

    def on_stop(self) -> None:
        """Waits for the hub, which waits for the children; signal handlers of the main thread run meanwhile."""
        while self._hub is not None and self._state != self.TERMINATE and not self._hub.join(200):
            pass

    def on_terminate(self) -> None:
        if self._hub is not None:
            self._hub.stop(True)
            self._hub.join(_COLD_MS)

    def on_child(self, child: int, pid: int, up: bool, status: int | None) -> None:
        """A child came or went."""
        if up:
            self._pids[child] = pid
        elif self._pids.get(child) == pid:
            del self._pids[child]

    def _ended(self) -> None:
        """The hub has ended its children, or its end is theirs; zygotes end when its sockets are closed."""
        self._pids.clear()
        deadline = time.monotonic() + _ZYGOTE_ENDS_S
        for one in self._zygotes if self._hub is None else ():  # nobody else will close the sockets
            one.close()
        for one in self._zygotes:
            _await_end(one, deadline)
            one.close()
        self._zygotes.clear()
        if self._recipe is not None:
            self._recipe.close()

    def grow(self, n: int = 1) -> None:
        """So many processes more."""
        self._resize(self.limit + n)

    def shrink(self, n: int = 1) -> None:
        """So many processes less, each as soon as it runs nothing."""
        self._resize(max(1, self.limit - n))

    def _resize(self, limit: int) -> None:
        self.limit = limit
        if self._hub is not None:
            self._hub.resize(limit)

    def restart(self) -> None:
        """New processes in the place of all, each when its task has ended."""
        if self._hub is not None:
            self._hub.restart_children()

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Sends `signal` (default: TERM) to a child, whatever it runs. Others are left alone."""
        if pid in self._pids.values():
            os.kill(pid, signal or _signal.SIGTERM)

    def did_start_ok(self) -> bool:
        return bool(self._pids)

    def running_jobs(self) -> list[RunningJob]:
        if self._hub is None:
            return []
        return [_Running(message, pid, seconds) for _, pid, message, seconds in self._hub.running(_ASK_MS)]

    def _get_info(self) -> dict[str, Any]:
        return {
            **super()._get_info(),
            "processes": sorted(self._pids.values()),
            "start-method": self.start_method,
            "max-tasks-per-child": self.max_tasks or "N/A",
            "put-guarded-by-semaphore": self.putlocks,
            "timeouts": (self.options.get("soft_time_limit") or 0, self.options.get("time_limit") or 0),
        }


def _warn_of_threads() -> None:
    """A fork copies what other threads hold, locks above all, but not the threads that would let go of it."""
    own = (threading.main_thread(), threading.current_thread())
    others = sorted(thread.name for thread in threading.enumerate() if thread not in own)
    if others:
        logger.warning(
            "The application has started threads before the pool's processes are forked: %s. They do not exist in "
            "those processes, and a lock that one of them holds now is held there for ever. Start them in a receiver "
            "of worker_process_init, or use --pool-start-method spawn, or -P threads",
            ", ".join(others),
        )


class _Running:
    """A task that runs in a child."""

    def __init__(self, message: Any, pid: int | None, seconds: float) -> None:
        self.message = message
        self.pid = pid
        self.time_start = time.time() - seconds


def _await_end(zygote: _zygote.Zygote, deadline: float) -> None:
    """Reaps a zygote; one that goes on after its time is killed."""
    while not zygote.has_ended():
        if time.monotonic() > deadline:
            os.kill(zygote.pid, _signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.002)
