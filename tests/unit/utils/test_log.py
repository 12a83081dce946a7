"""Formatters, task loggers, and the stream that writes to a logger."""

from __future__ import annotations

import io
import logging

import pytest

from celeriac.utils import log


class Unhappy(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def record(msg: str, *args: object, level: int = logging.ERROR, exc: BaseException | None = None) -> logging.LogRecord:
    info = (type(exc), exc, None) if exc else None
    return logging.LogRecord("x", level, __file__, 1, msg, args, info)


@pytest.mark.parametrize(("level", "number"), [("info", 20), ("DEBUG", 10), (30, 30), ("15", 15), (None, 0)])
def test_levels_are_names_in_any_case_or_numbers(level: int | str | None, number: int) -> None:
    assert log.mlevel(level) == number


def test_an_unknown_level_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="'loud'"):
        log.mlevel("loud")


def test_a_record_that_cannot_be_shown_does_not_fail() -> None:
    formatter = log.ColorFormatter("%(message)s", use_color=False)
    assert "RuntimeError" in formatter.format(record("%s", Unhappy()))
    assert "text" in formatter.format(record("text", exc=Unhappy()))


def test_colour_marks_errors_only_if_asked() -> None:
    assert log.ColorFormatter("%(message)s", use_color=True).format(record("boom")).startswith("\033[")
    assert log.ColorFormatter("%(message)s", use_color=False).format(record("boom")) == "boom"
    assert log.ColorFormatter("%(message)s", use_color=True).format(record("hello", level=logging.INFO)) == "hello"


def test_a_task_logger_hangs_below_the_logger_of_tasks() -> None:
    logger = log.get_task_logger("proj.tasks.a")
    assert logger.parent is log.task_logger
    assert log.get_task_logger("proj.tasks.a") is logger
    with pytest.raises(RuntimeError, match="reserved"):
        log.get_task_logger("celery.task")


def test_what_is_configured_for_celery_s_loggers_holds_for_ours() -> None:
    theirs = logging.getLogger("celery")
    before = theirs.level
    try:
        theirs.setLevel(logging.CRITICAL)
        assert logging.getLogger("celeriac.worker").getEffectiveLevel() == logging.CRITICAL
    finally:
        theirs.setLevel(before)


class TestLoggingProxy:
    @pytest.fixture
    def seen(self) -> io.StringIO:
        return io.StringIO()

    @pytest.fixture
    def proxy(self, seen: io.StringIO) -> log.LoggingProxy:
        logger = logging.Logger("proxy", logging.DEBUG)  # noqa: LOG001 - of this test alone
        logger.addHandler(logging.StreamHandler(seen))
        return log.LoggingProxy(logger, logging.WARNING)

    def test_lines_are_logged_and_blank_ones_are_not(self, proxy: log.LoggingProxy, seen: io.StringIO) -> None:
        print("hello 100%", file=proxy)
        proxy.write(b"bytes\n")
        proxy.writelines(["a\n", "\n"])
        assert seen.getvalue() == "hello 100%\nbytes\na\n"

    def test_write_says_how_much_it_took(self, proxy: log.LoggingProxy) -> None:
        assert proxy.write("abc\n") == 4

    def test_a_handler_that_prints_does_not_recurse(self, proxy: log.LoggingProxy, seen: io.StringIO) -> None:
        class Printing(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                proxy.write("again")

        proxy.logger.addHandler(Printing())
        proxy.write("once")
        assert seen.getvalue() == "once\n"

    def test_a_closed_proxy_drops_what_comes(self, proxy: log.LoggingProxy, seen: io.StringIO) -> None:
        proxy.close()
        proxy.write("late")
        assert not seen.getvalue()
        assert not proxy.isatty()
