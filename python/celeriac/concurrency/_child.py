"""A child process of the prefork pool: takes batches from its port and runs them, one task at a time."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac._bridge.hub import child_port
from celeriac.concurrency._zygote import Kit, die_with
from celeriac.exceptions import SoftTimeLimitExceeded, WorkerTerminate
from celeriac.platforms import EX_FAILURE, EX_OK, set_process_title

if TYPE_CHECKING:
    from types import FrameType

    from celeriac._bridge.hub import Port
    from celeriac.concurrency.prefork import TaskPool

logger = logging.getLogger("celeriac.pool")

WAIT_MS = 60_000
"""A child looks up from waiting this often; batches, signals and the end of the worker wake it at once."""

_DEFAULT = ("SIGTERM", "SIGQUIT", "SIGHUP", "SIGTTIN", "SIGTTOU", "SIGUSR2")


class Child:
    """One process, from its start to its exit code."""

    def __init__(self, pool: TaskPool, kit: Kit) -> None:
        self.pool = pool
        self.kit = kit
        self.name = f"{pool.start_method.capitalize()}PoolWorker-{kit.number}"
        self._port: Port | None = None

    def run(self) -> int:
        """Sets the process up, runs what comes, and returns the exit code."""
        os.setpgid(0, 0)  # signals of the terminal are the worker's; what a task starts can be killed with it
        die_with(self.kit.lifeline)
        self._take_signals()
        self._set_up_log()
        self._name_process()
        gc.enable()
        app: Any = self.pool.app
        app.set_current()
        app.set_default()
        app.loader.init_worker_process()
        signals.worker_process_init.send(sender=None)
        code = self._run_tasks()
        self.pool._child_ends()
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=code)
        return code

    def _run_tasks(self) -> int:
        port = self._port = child_port(self.kit.socket, self.kit.page, self.pool.measures_memory)
        run_batch = self.pool._run_batch
        try:
            while (batch := port.next_batch(WAIT_MS)) is not None:
                run_batch(0, batch)
        except WorkerTerminate:
            logger.warning("A task raised WorkerTerminate: its process ends")
            return EX_FAILURE
        return EX_OK

    def _take_signals(self) -> None:
        """As Celery's children: INT is ignored, TERM ends the process, USR1 says that a soft time limit is over."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for name in _DEFAULT:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, self._on_soft_limit)

    def _on_soft_limit(self, number: int, frame: FrameType | None) -> None:
        """The task that was meant may have ended in the meantime: then nothing happens to the next one."""
        del number, frame
        if self._port is not None and self._port.take_limit():
            raise SoftTimeLimitExceeded

    def _name_process(self) -> None:
        """For `%(processName)s` in logs, and for `ps`."""
        threading.current_thread().name = "MainThread"  # the worker may have been started in another
        multiprocessing = sys.modules.get("multiprocessing")
        if multiprocessing is not None:
            multiprocessing.current_process().name = self.name
        else:  # importing it would cost each child a megabyte, and the worker its start

            def name_of(record: logging.LogRecord) -> bool:
                record.processName = self.name
                return True

            for handler in _handlers():
                handler.addFilter(name_of)
        set_process_title(f"celeryd: {self.pool.hostname}:{self.name}")

    def _set_up_log(self) -> None:
        """A log file of its own, if its name holds the index of the process."""
        logfile = self.pool.logfile
        if isinstance(logfile, str) and ("%i" in logfile or "%I" in logfile):
            app: Any = self.pool.app
            app.log.reopen(self.pool.loglevel, logfile, self.pool.hostname, self.kit.place)


def _handlers() -> list[logging.Handler]:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    return [handler for one in loggers if isinstance(one, logging.Logger) for handler in one.handlers]
