"""`app.log`: sets up logging for a worker: formats, colours, log file, redirection of the standard streams.

A receiver of the signal `setup_logging` turns all of this off; `after_setup_logger` and `after_setup_task_logger` let
an application add to it.
"""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import WatchedFileHandler
from typing import IO, TYPE_CHECKING, Any

from celeriac import signals
from celeriac.exceptions import ImproperlyConfigured
from celeriac.platforms import isatty
from celeriac.utils.log import ColorFormatter, LoggingProxy, base_logger, get_logger, mlevel, task_logger
from celeriac.utils.nodenames import node_format

if TYPE_CHECKING:
    from celeriac.app.base import Celery

_UNKNOWN = "???"


class TaskFormatter(ColorFormatter):
    """Adds `task_id` and `task_name` of the task that runs in this thread; `???` outside of a task."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`."""
        from celeriac._state import get_current_task

        task = get_current_task()
        request = getattr(task, "request", None)
        if task is not None and request is not None:
            record.__dict__.update(task_id=request.id, task_name=task.name)
        else:
            record.__dict__.setdefault("task_name", _UNKNOWN)
            record.__dict__.setdefault("task_id", _UNKNOWN)
        return super().format(record)


class Logging:
    """Logging set-up of one app; `app.log`."""

    already_setup = False  # of the class: a process has one logging configuration, however many apps it has
    _how: dict[str, Any] | None = None  # of the class, too

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.loglevel = logging.WARNING
        self.format: str = app.conf.worker_log_format
        self.task_format: str = app.conf.worker_task_log_format
        self.colorize: bool | None = app.conf.worker_log_color

    def setup(
        self,
        loglevel: int | str | None = None,
        logfile: str | IO[str] | None = None,
        redirect_stdouts: bool = False,
        redirect_level: int | str = "WARNING",
        colorize: bool | None = None,
        hostname: str | None = None,
    ) -> bool:
        """Sets up logging once a process, then redirects the standard streams if asked to.

        Returns True if it did; False if logging was set up before, or a receiver of `setup_logging` did it.
        """
        handled = self.setup_logging_subsystem(loglevel, logfile, colorize=colorize, hostname=hostname)
        if not handled and redirect_stdouts:
            self.redirect_stdouts(redirect_level)
        os.environ.update(
            CELERY_LOG_LEVEL=str(mlevel(loglevel or self.loglevel)),
            CELERY_LOG_FILE=logfile if isinstance(logfile, str) else "",
        )
        logging.captureWarnings(True)
        return not handled

    def setup_logging_subsystem(
        self,
        loglevel: int | str | None = None,
        logfile: str | IO[str] | None = None,
        format: str | None = None,
        colorize: bool | None = None,
        hostname: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Handlers on the root logger (taken over if `worker_hijack_root_logger`) and on the task logger.

        Returns what is true if somebody else has done it: earlier, or a receiver of `setup_logging`.
        """
        if self.already_setup:
            return True
        if logfile and isinstance(logfile, str) and hostname:
            logfile = node_format(logfile, hostname)
        Logging.already_setup = True
        level = mlevel(loglevel or self.loglevel)
        line = format or self.format
        colour = self.supports_color(colorize, logfile)
        path = logfile if isinstance(logfile, str) else None
        Logging._how = {"loglevel": level, "logfile": path, "format": line, "colorize": colour}
        answers = signals.setup_logging.send(sender=None, loglevel=level, logfile=logfile, format=line, colorize=colour)
        if answers:
            return answers
        root = logging.getLogger()
        if self.app.conf.worker_hijack_root_logger:
            root.handlers = []
            for name in ("celery", "celery.task", "celeriac", "celeriac.task", "celeriac.redirected"):
                logging.getLogger(name).handlers = []
        self.setup_handlers(root, logfile, line, colour, **kwargs)
        root.setLevel(level)
        signals.after_setup_logger.send(
            sender=None, logger=root, loglevel=level, logfile=logfile, format=line, colorize=colour
        )
        self.setup_task_loggers(level, logfile, colorize=colour, **kwargs)
        return None

    def reopen(self, loglevel: int | str | None, logfile: str, hostname: str, index: int) -> None:
        """Puts handlers for this process of the pool in the place of those that it inherited."""
        for logger in (logging.getLogger(), task_logger):
            for handler in logger.handlers[:]:
                logger.removeHandler(handler)
        Logging.already_setup = False
        self.setup_logging_subsystem(loglevel, node_format(logfile, hostname, index))

    def how(self) -> dict[str, Any] | None:
        """How this process has set logging up, for `setup_again` in another one; None if it has not.

        A stream in place of a log file is standard error there.
        """
        stdout = sys.stdout
        redirect = stdout.loglevel if isinstance(stdout, LoggingProxy) else None
        return None if Logging._how is None else {**Logging._how, "redirect_level": redirect}

    def setup_again(self, redirect_level: int | str | None, **how: Any) -> None:
        """Sets logging up as another process has."""
        if not self.setup_logging_subsystem(**how) and redirect_level is not None:
            self.redirect_stdouts(redirect_level)
        logging.captureWarnings(True)

    def setup_task_loggers(
        self,
        loglevel: int | str | None = None,
        logfile: str | IO[str] | None = None,
        format: str | None = None,
        colorize: bool | None = None,
        propagate: bool = False,
        **kwargs: Any,
    ) -> logging.Logger:
        """A handler with the task format on the logger of tasks; returns that logger."""
        level = mlevel(loglevel or self.loglevel)
        line = format or self.task_format
        colour = self.supports_color(colorize, logfile)
        task_logger.setLevel(level)
        task_logger.propagate = propagate
        self.setup_handlers(task_logger, logfile, line, colour, formatter=TaskFormatter, **kwargs)
        signals.after_setup_task_logger.send(
            sender=None, logger=task_logger, loglevel=level, logfile=logfile, format=line, colorize=colour
        )
        return task_logger

    def redirect_stdouts(self, loglevel: int | str | None = None, name: str = "celeriac.redirected") -> None:
        """What the process prints goes to the logger `name` from now on."""
        self.redirect_stdouts_to_logger(get_logger(name), loglevel=loglevel)
        os.environ.update(CELERY_LOG_REDIRECT="1", CELERY_LOG_REDIRECT_LEVEL=str(loglevel or ""))

    def redirect_stdouts_to_logger(
        self,
        logger: logging.Logger,
        loglevel: int | str | None = None,
        stdout: bool = True,
        stderr: bool = True,
    ) -> LoggingProxy:
        """Puts a proxy in place of the standard streams; returns the proxy."""
        proxy = LoggingProxy(logger, loglevel)
        if stdout:
            sys.stdout = proxy
        if stderr:
            sys.stderr = proxy
        return proxy

    def supports_color(self, colorize: bool | None = None, logfile: str | IO[str] | None = None) -> bool:
        """Whether lines are coloured: as told, else on a terminal without a log file."""
        colorize = self.colorize if colorize is None else colorize
        if colorize is None:
            return not logfile and isatty(sys.__stderr__)
        return bool(colorize)

    def setup_handlers(
        self,
        logger: logging.Logger,
        logfile: str | IO[str] | None,
        format: str,
        colorize: bool,
        formatter: type[ColorFormatter] = ColorFormatter,
        **kwargs: Any,
    ) -> logging.Logger:
        """Adds one handler to `logger`, unless it has one.

        Raises:
            ImproperlyConfigured: `format` is no format.
        """
        if not any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            handler = self._detect_handler(logfile)
            try:
                handler.setFormatter(formatter(format, use_color=colorize))
            except ValueError as exc:
                raise ImproperlyConfigured(
                    f"cannot use the log format {format!r}: {exc}; expected fields such as '%(message)s'"
                ) from exc
            logger.addHandler(handler)
        return logger

    def _detect_handler(self, logfile: str | IO[str] | None = None) -> logging.Handler:
        """A handler for a stream, a file that is re-opened when it is moved away, or standard error."""
        logfile = sys.__stderr__ if logfile is None else logfile
        if isinstance(logfile, str):
            return WatchedFileHandler(logfile, encoding="utf-8")
        return logging.StreamHandler(logfile)

    def get_default_logger(self, name: str = "celeriac", **_: Any) -> logging.Logger:
        """The logger `name`."""
        return base_logger if name in ("celery", "celeriac") else get_logger(name)
