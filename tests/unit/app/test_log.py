"""`app.log`: who gets which lines, in which form."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery, signals
from celeriac.app.log import Logging, TaskFormatter
from celeriac.exceptions import ImproperlyConfigured
from celeriac.utils.log import LoggingProxy, get_task_logger, task_logger

NAMES = ("celery", "celery.task", "celeriac", "celeriac.task", "celeriac.redirected")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging, streams and environment are the process's: put back what was there."""
    monkeypatch.setattr(Logging, "already_setup", False)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    loggers = [logging.getLogger(), *map(logging.getLogger, NAMES)]
    kept = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    logging.captureWarnings(False)
    for logger, handlers, level, propagate in kept:
        logger.handlers, logger.level, logger.propagate = handlers, level, propagate
        logger.manager._clear_cache()  # type: ignore[attr-defined]


@pytest.fixture
def app() -> Celery:
    return Celery("log", broker="memory://log", set_as_current=False)


def test_lines_have_the_configured_form(app: Celery) -> None:
    app.conf.worker_log_format = "%(levelname)s|%(message)s"
    seen = io.StringIO()
    assert app.log.setup("INFO", seen)
    logging.getLogger("proj").info("hello %s", "you")
    logging.getLogger("proj").debug("too low")
    assert seen.getvalue() == "INFO|hello you\n"


def test_it_is_set_up_once_a_process(app: Celery) -> None:
    first, second = io.StringIO(), io.StringIO()
    assert app.log.setup("INFO", first)
    assert not app.log.setup("INFO", second)
    logging.getLogger("proj").info("x")
    assert first.getvalue()
    assert not second.getvalue()


def test_a_task_s_lines_carry_its_name_and_id(app: Celery) -> None:
    app.conf.worker_task_log_format = "%(task_name)s[%(task_id)s]: %(message)s"
    app.conf.worker_log_format = "other: %(message)s"
    seen = io.StringIO()
    app.log.setup("INFO", seen)
    logger = get_task_logger("proj.tasks.log")

    @app.task(name="t.logs", shared=False)
    def logs() -> None:
        logger.info("inside")

    logs.apply(task_id="i1")
    logger.info("outside")
    lines = [line for line in seen.getvalue().splitlines() if not line.startswith("other: ")]
    assert lines == ["t.logs[i1]: inside", "???[???]: outside"]


def test_root_handlers_are_taken_over_unless_told_not_to(app: Celery) -> None:
    theirs = logging.NullHandler()
    logging.getLogger().addHandler(theirs)
    app.conf.worker_hijack_root_logger = False
    app.log.setup("INFO", io.StringIO())
    assert theirs in logging.getLogger().handlers
    Logging.already_setup = False
    app.conf.worker_hijack_root_logger = True
    app.log.setup("INFO", io.StringIO())
    assert theirs not in logging.getLogger().handlers


@pytest.fixture
def connected() -> Iterator[Callable[[Any, Any], None]]:
    kept: list[tuple[Any, Any]] = []

    def connect(signal: Any, receiver: Any) -> None:
        signal.connect(receiver, weak=False)
        kept.append((signal, receiver))

    yield connect
    for signal, receiver in kept:
        signal.disconnect(receiver)


def test_a_receiver_of_setup_logging_does_it_all(app: Celery, connected: Callable[[Any, Any], None]) -> None:
    told: list[dict[str, Any]] = []

    def mine(**options: Any) -> None:
        told.append(options)

    connected(signals.setup_logging, mine)
    before = list(logging.getLogger().handlers)
    assert not app.log.setup("DEBUG", "some.log", redirect_stdouts=True, colorize=False)
    assert logging.getLogger().handlers == before
    assert not isinstance(sys.stdout, LoggingProxy)
    assert {key: told[0][key] for key in ("loglevel", "logfile", "colorize")} == {
        "loglevel": 10, "logfile": "some.log", "colorize": False,
    }  # fmt: skip


def test_receivers_of_the_other_two_may_add_to_it(app: Celery, connected: Callable[[Any, Any], None]) -> None:
    seen: list[Any] = []

    def note(logger: logging.Logger, **_: Any) -> None:
        seen.append(logger)

    connected(signals.after_setup_logger, note)
    connected(signals.after_setup_task_logger, note)
    app.log.setup("INFO", io.StringIO())
    assert seen == [logging.getLogger(), task_logger]


def test_what_is_printed_goes_to_the_log(app: Celery) -> None:
    seen = io.StringIO()
    app.conf.worker_log_format = "%(levelname)s %(name)s %(message)s"
    app.log.setup("INFO", seen, redirect_stdouts=True, redirect_level="ERROR")
    print("from a task")
    sys.stderr.write("and this\n")
    assert seen.getvalue() == "ERROR celeriac.redirected from a task\nERROR celeriac.redirected and this\n"


def test_a_log_file_is_named_after_its_node_and_reopened_when_moved(app: Celery, tmp_path: Path) -> None:
    app.log.setup("INFO", str(tmp_path / "%n.log"), hostname="w1@host")
    logging.getLogger("proj").info("one")
    (tmp_path / "w1.log").rename(tmp_path / "old.log")
    logging.getLogger("proj").info("two")
    assert "one" in (tmp_path / "old.log").read_text()
    assert "two" in (tmp_path / "w1.log").read_text()
    for handler in logging.getLogger().handlers + task_logger.handlers:
        handler.close()


@pytest.mark.parametrize(("asked", "setting", "shown"), [(True, None, True), (False, True, False), (None, True, True)])
def test_colours_are_as_told_then_as_set(app: Celery, asked: bool | None, setting: bool | None, shown: bool) -> None:
    app.conf.worker_log_color = setting
    assert app.log.supports_color(asked) is shown


def test_a_file_is_never_coloured_by_itself(app: Celery) -> None:
    assert app.log.supports_color(None, "some.log") is False


def test_a_form_that_cannot_be_used_is_named(app: Celery) -> None:
    app.conf.worker_log_format = "no field at all"
    with pytest.raises(ImproperlyConfigured, match="no field at all"):
        app.log.setup("INFO", io.StringIO())


def test_a_broken_argument_does_not_lose_the_line() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    record = logging.LogRecord("x", logging.INFO, __file__, 1, "%s", (Broken(),), None)
    assert "cannot be shown" in TaskFormatter("%(message)s", use_color=False).format(record)
