"""Loggers and formatters of celeriac, and a file-like object that writes to a logger.

Loggers are named `celeriac.*`, yet what an application has configured under Celery's names keeps working: the parent of
`celeriac` is the logger `celery`, that of `celeriac.task` is `celery.task`.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

LOG_LEVELS: dict[str | int, int | str] = {
    **{name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")},
    **{getattr(logging, name): name for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")},
}
RESERVED_LOGGER_NAMES = {"celery", "celery.task", "celeriac", "celeriac.task"}

base_logger = logging.getLogger("celeriac")
base_logger.parent = logging.getLogger("celery")
task_logger = logging.getLogger("celeriac.task")
task_logger.parent = logging.getLogger("celery.task")
worker_logger = logging.getLogger("celeriac.worker")

_RESET = "\033[0m"
_COLOURS = {"DEBUG": "\033[1;34m", "WARNING": "\033[1;33m", "ERROR": "\033[1;31m", "CRITICAL": "\033[1;35m"}


def mlevel(level: int | str | None) -> int:
    """A level as a number; a name in any case is looked up, nothing is 0.

    Raises:
        ValueError: no such level.
    """
    if not level or isinstance(level, int):
        return level or 0
    if level.isdigit():
        return int(level)
    found = LOG_LEVELS.get(level.upper())
    if not isinstance(found, int):
        raise ValueError(  # noqa: TRY004 - the text is wrong, not its type
            f"no log level {level!r}: use DEBUG, INFO, WARNING, ERROR, CRITICAL or a number"
        )
    return found


def logger_isa(logger: logging.Logger, ancestor: logging.Logger, max: int = 1000) -> bool:
    """Whether records of `logger` reach `ancestor`."""
    seen: logging.Logger | None = logger
    for _ in range(max):
        if seen is None:
            return False
        if seen is ancestor:
            return True
        seen = seen.parent
    raise RuntimeError(f"the parents of logger {logger.name!r} form a loop")


def _child_of(parent: logging.Logger, logger: logging.Logger) -> logging.Logger:
    if logger is not parent and not logger_isa(logger, parent):
        logger.parent = parent
    return logger


def get_logger(name: str | logging.Logger) -> logging.Logger:
    """The logger `name`, made a descendant of celeriac's own if it stands directly below the root."""
    logger = logging.getLogger(name) if isinstance(name, str) else name
    if logger.parent is logging.root and logger is not base_logger.parent and logger is not base_logger:
        return _child_of(base_logger, logger)
    return logger


def get_task_logger(name: str) -> logging.Logger:
    """A logger for a module of tasks: its format shows the name and id of the task that runs.

    Raises:
        RuntimeError: the name is one of celeriac's own.
    """
    if name in RESERVED_LOGGER_NAMES:
        raise RuntimeError(f"logger name {name!r} is reserved: pass the name of your module")
    logger = logging.getLogger(name)
    if not logger_isa(logger, task_logger):
        logger.parent = task_logger
    return logger


class ColorFormatter(logging.Formatter):
    """Colours a record by its level, and never fails because of what is logged."""

    def __init__(self, fmt: str | None = None, use_color: bool = True) -> None:
        super().__init__(fmt)
        self.use_color = use_color

    def formatException(self, ei: object) -> str:  # noqa: N802 - of the standard library
        """The traceback of a record; a broken one becomes a note."""
        if ei and not isinstance(ei, tuple):
            ei = sys.exc_info()
        try:
            return super().formatException(ei)  # type: ignore[arg-type]
        except Exception as exc:  # an exception whose __str__ raises must not lose the record
            return f"<traceback cannot be shown: {type(exc).__name__}>"

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`."""
        try:
            text = super().format(record)
        except Exception as exc:  # an argument whose __str__ raises must not lose the record
            text = f"<record of {record.name} cannot be shown: {type(record.msg).__name__}, {type(exc).__name__}>"
        colour = _COLOURS.get(record.levelname) if self.use_color else None
        return f"{colour}{text}{_RESET}" if colour else text


class LoggingProxy:
    """A text stream that logs each line written to it; it stands in for `sys.stdout` and `sys.stderr`."""

    mode = "w"
    name: str | None = None
    closed = False
    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, logger: logging.Logger, loglevel: int | str | None = None) -> None:
        self.logger = logger
        self.loglevel = mlevel(loglevel or self.logger.level or logging.WARNING)
        self._thread = threading.local()  # a handler of ours that fails and prints must not log again

    def write(self, data: str | bytes) -> int:
        """Logs `data` without its last newline; blank text is swallowed. Returns how much was taken."""
        text = data.decode(errors="replace") if isinstance(data, bytes) else data
        line = text.rstrip("\n")
        if not line.strip() or self.closed or getattr(self._thread, "busy", False):
            return len(data)
        self._thread.busy = True
        try:
            self.logger.log(self.loglevel, "%s", line)
        finally:
            self._thread.busy = False
        return len(data)

    def writelines(self, sequence: Iterable[str | bytes]) -> None:
        """Logs each line."""
        for part in sequence:
            self.write(part)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What is written from now on is dropped."""
        self.closed = True

    def isatty(self) -> bool:
        """A log is no terminal."""
        return False

    def writable(self) -> bool:
        """True."""
        return True

    def readable(self) -> bool:
        """False."""
        return False

    def seekable(self) -> bool:
        """False."""
        return False


_in_sighandler = False


def set_in_sighandler(value: bool) -> None:
    """Says whether a signal handler runs; kept for code that asks."""
    global _in_sighandler
    _in_sighandler = value


@contextmanager
def in_sighandler() -> Iterator[None]:
    """Marks a block as run by a signal handler."""
    set_in_sighandler(True)
    try:
        yield
    finally:
        set_in_sighandler(False)


def iter_open_logger_fds() -> Iterator[IO[str]]:
    """Streams of all handlers of all loggers."""
    loggers = [logging.root, *(x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger))]
    seen: set[int] = set()
    for logger in loggers:
        for handler in logger.handlers:
            stream: TextIO | None = getattr(handler, "stream", None)
            if stream is not None and id(stream) not in seen:
                seen.add(id(stream))
                yield stream


def format_exception(exc: BaseException, tb: TracebackType | None = None) -> str:
    """The whole traceback of `exc` as text."""
    return "".join(traceback.format_exception(type(exc), exc, tb or exc.__traceback__))
