"""The worker as a program: banner, pidfile, log, process signals, restart."""

from __future__ import annotations

import logging
import os
import platform as _platform
import signal
import sys
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celeriac import __version__, signals
from celeriac.app._censor import sanitize_url
from celeriac.app.config import DEFAULT_BROKER_URL, environment
from celeriac.exceptions import WorkerTerminate
from celeriac.platforms import (
    EX_FAILURE,
    EX_OK,
    check_privileges,
    create_pidlock,
    isatty,
    set_process_title,
)
from celeriac.worker import WorkController
from celeriac.worker._options import without_effect
from celeriac.worker._shutdown import Stage, exit_code, next_stage

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Worker", "safe_say"]

logger = logging.getLogger("celeriac.worker")

_SAY = {
    Stage.WARM: "worker: Warm shutdown (MainProcess)",
    Stage.SOFT: "worker: Soft shutdown (MainProcess): cold in {seconds:g} s",
    Stage.COLD: "worker: Cold shutdown (MainProcess)",
}


def safe_say(text: str, stream: Any = None) -> None:
    """Writes a line to the process's own standard output, past all buffers: it may be called by a signal handler."""
    stream = sys.__stdout__ if stream is None else stream
    try:
        os.write(stream.fileno(), f"\n{text}\n".encode())
    except (AttributeError, OSError, ValueError):
        pass  # a closed or replaced stream must not keep the worker from stopping


class Worker(WorkController):
    """A worker that owns its process."""

    quiet = False
    no_color: bool | None = None

    def on_before_init(self, quiet: bool = False, **kwargs: Any) -> None:
        self.quiet = quiet
        super().on_before_init(quiet=quiet, **kwargs)

    def check_privileges(self) -> None:
        """What it warns of is logged once there is a log."""
        self._warnings: list[Warning] = []
        check_privileges(self.app.conf.accept_content, self._warnings.append)

    def on_after_init(
        self,
        purge: bool = False,
        no_color: bool | None = None,
        redirect_stdouts: bool | None = None,
        redirect_stdouts_level: Any = None,
        **kwargs: Any,
    ) -> None:
        conf = self.app.conf
        self.no_color = no_color
        self.redirect_stdouts = conf.worker_redirect_stdouts if redirect_stdouts is None else redirect_stdouts
        self.redirect_stdouts_level = redirect_stdouts_level or conf.worker_redirect_stdouts_level
        super().on_after_init(**kwargs)

    def on_init_blueprint(self) -> None:
        self._custom_logging = not self.setup_logging()

    def setup_logging(self) -> bool:
        """Log handlers. The standard streams are redirected later: the banner must not go through the log."""
        colorize = False if self.no_color else None
        return bool(
            self.app.log.setup(
                self.loglevel, self.logfile, redirect_stdouts=False, colorize=colorize, hostname=self.hostname
            )
        )

    def on_start(self) -> None:
        """Takes the pidfile, says what is run, listens to signals."""
        if self.pidfile:
            self.pidlock = create_pidlock(self.pidfile)
        signals.celeryd_after_setup.send(sender=self.hostname, instance=self, conf=self.app.conf)
        if not self.quiet:
            self.emit_banner()
        set_process_title(f"celeryd: {self.hostname}:MainProcess", f"({' '.join(sys.argv[1:])})")
        self.install_platform_tweaks()
        if not self._custom_logging and self.redirect_stdouts:
            self.app.log.redirect_stdouts(self.redirect_stdouts_level)
        for warning in self._warnings:
            logger.warning("%s", warning)
        idle = without_effect(vars(self), self.app)
        if idle:
            logger.warning("No effect in this version of celeriac: %s", ", ".join(idle))
        self.app.conf.maybe_warn_deprecated_settings()

    def on_stopped(self) -> None:
        if self.pidlock is not None:
            self.pidlock.release()

    # --- banner

    def emit_banner(self) -> None:
        """Prints the banner to the real standard output."""
        print(f"\n{self.startup_info()}\n{self.extra_info()}", file=sys.__stdout__, flush=True)

    def extra_info(self) -> str:
        """The tasks: at level INFO without the built-in ones, at DEBUG all."""
        if self.loglevel and self.loglevel <= logging.INFO:
            return self.tasklist(include_builtins=self.loglevel <= logging.DEBUG)
        return ""

    def tasklist(self, include_builtins: bool = True, sep: str = "\n", int_: str = "celery.") -> str:
        """A heading and one line a task."""
        names = sorted(name for name in self.app.tasks if include_builtins or not name.startswith(int_))
        return "[tasks]\n" + sep.join(f"  . {name}" for name in names) + "\n"

    def startup_info(self, artlines: bool = True) -> str:
        """What runs where, with which broker, results and queues."""
        app, conf = self.app, self.app.conf
        broker = self.broker_url
        named = conf.value_set_for("broker_url") or conf.value_set_for("broker_read_url") or environment("BROKER_URL")
        if not named and broker == DEFAULT_BROKER_URL:
            broker += "  (no broker is configured: messages and results are kept in this file)"
        backend = app.backend
        results = getattr(backend, "as_uri", None)
        spawned = ", spawn" if self.pool_cls.has_processes and self.pool_start_method == "spawn" else ""
        concurrency = f"{self.concurrency} ({_pool_name(self.pool_cls)}{spawned})"
        rows = {
            "app": f"{app.main or '__main__'}:{id(app):#x}",
            "transport": broker,
            "results": sanitize_url(str(results() if results else conf.result_backend)),
            "concurrency": concurrency,
            "task events": "ON"
            if getattr(self, "task_events", False)
            else "OFF (enable -E to monitor tasks in this worker)",
        }
        return "\n".join(
            [
                f" -- {self.hostname} -- celeriac v{__version__}",
                f" -- {_platform.platform()} {datetime.now().isoformat(sep=' ', timespec='seconds')}",  # noqa: DTZ005
                "",
                "[config]",
                *(f".> {name + ':':<13}{value}" for name, value in rows.items()),
                "",
                "[queues]",
                app.amqp.queues.format(indent=0),
                "",
            ]
        )

    # --- signals

    def install_platform_tweaks(self) -> None:
        """Signal handlers, where a process may have them: in its main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name in ("SIGTERM", "SIGINT", "SIGQUIT"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._on_shutdown_signal)
        if hasattr(signal, "SIGHUP") and not isatty(sys.__stdin__):
            signal.signal(signal.SIGHUP, self._on_restart_signal)
        if hasattr(signal, "SIGUSR1"):
            import faulthandler

            if sys.__stderr__ is not None:
                try:
                    faulthandler.register(signal.SIGUSR1, file=sys.__stderr__, all_threads=True)
                except (AttributeError, OSError, ValueError):
                    logger.debug("no stack dump on SIGUSR1: standard error has no file descriptor")

    def _on_shutdown_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        name = signal.Signals(number).name
        stage = next_stage(self.stage, name, busy=self.busy, plan=self.plan)
        if stage <= self.stage:
            return
        code = exit_code(stage, name, self.plan)
        if stage is Stage.HARD:
            self._end_hard()
        safe_say(_SAY[stage].format(seconds=self.plan.soft_timeout))
        if name == "SIGINT":
            safe_say(f"worker: Ctrl+C once more {_next_step(stage)}")
        how = "Warm" if stage is Stage.WARM else "Soft" if stage is Stage.SOFT else "Cold"
        signals.worker_shutting_down.send(sender=self.hostname, sig=name, how=how, exitcode=code)
        self._to(stage, code)
        self._interrupt_own_thread(stage)

    def _interrupt_own_thread(self, stage: Stage) -> None:
        """The solo pool's task runs in this very thread: a cold shutdown has to get it out of the task."""
        if self.pool is None or not self.pool.runs_in_main_thread or not self.busy:
            return
        if stage is Stage.SOFT:
            timer = threading.Timer(self.plan.soft_timeout, signal.raise_signal, (signal.SIGQUIT,))
            timer.daemon = True
            timer.start()
        elif stage is Stage.COLD:
            raise WorkerTerminate(EX_FAILURE)

    def _end_hard(self) -> None:
        """Ends the process now. What it holds goes back when its lease is over, or at the next worker's start."""
        safe_say("worker: Hard shutdown (MainProcess)")
        if self.pidlock is not None:
            self.pidlock.release()
        os._exit(EX_FAILURE)

    def _on_restart_signal(self, number: int, frame: FrameType | None) -> None:
        """Warm shutdown, then the same command again."""
        del number, frame
        safe_say("worker: Restarting (MainProcess)")
        self.restarting = True
        self._to(Stage.WARM, EX_OK)

    restarting = False

    def restart(self) -> None:
        """Replaces this process by the same command; for the end of a worker that got SIGHUP."""
        argv = [sys.executable, *sys.orig_argv[1:]]
        os.execv(sys.executable, argv)  # noqa: S606 - the very command that runs now


def _next_step(stage: Stage) -> str:
    return {
        Stage.WARM: "stops without waiting for the tasks that run",
        Stage.SOFT: "does not wait any longer",
    }.get(stage, "ends the process at once")


def _pool_name(pool: Any) -> str:
    return str(getattr(pool, "__module__", "")).rpartition(".")[2].replace("thread", "threads")
