"""An exception with its traceback as text: what handlers and signals get as `einfo`."""

from __future__ import annotations

import os
import traceback as _traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

_OWN_FRAMES = os.path.dirname(os.path.abspath(__file__)) + os.sep
# A stored traceback is read by people; one of a deep recursion through big frames must not be a megabyte.
_MAX_TEXT = 256 * 1024


class ExceptionInfo:
    """Type, exception and traceback of a failure; `str()` is the text that Python would print."""

    __slots__ = ("exception", "internal", "tb", "traceback", "type")

    def __init__(self, exc: BaseException, *, internal: bool = False) -> None:
        self.type: type[BaseException] = type(exc)
        self.exception = exc
        self.tb: TracebackType | None = without_own_frames(exc.__traceback__)
        self.traceback = format_exception(exc, self.tb)
        self.internal = internal

    @property
    def exc_info(self) -> tuple[type[BaseException], BaseException, TracebackType | None]:
        """As `sys.exc_info()`."""
        return self.type, self.exception, self.tb

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {safe_text(self.exception)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.exception, self.traceback, self.internal)


def _restored(exc: BaseException, text: str, internal: bool) -> ExceptionInfo:
    einfo = ExceptionInfo(exc, internal=internal)
    einfo.traceback = text
    return einfo


def without_own_frames(tb: TracebackType | None) -> TracebackType | None:
    """`tb` from the first frame that is not the tracer's; all of it if there is no other."""
    found = tb
    while found is not None and found.tb_frame.f_code.co_filename.startswith(_OWN_FRAMES):
        found = found.tb_next
    return found if found is not None else tb


def format_exception(exc: BaseException, tb: TracebackType | None) -> str:
    """The traceback's text. Never raises, whatever the exception does when it is printed."""
    try:
        text = "".join(_traceback.format_exception(type(exc), exc, tb))
    except Exception:
        frames = "".join(_traceback.format_tb(tb))
        text = f"Traceback (most recent call last):\n{frames}{type(exc).__qualname__}: {safe_text(exc)}\n"
    # Lone surrogates, as in names of files that are not UTF-8, are refused by some serializers.
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) > _MAX_TEXT:
        half = _MAX_TEXT // 2
        text = f"{text[:half]}\n... {len(text) - _MAX_TEXT} characters ...\n{text[-half:]}"
    return text


def safe_text(exc: BaseException) -> str:
    """`repr(exc)`, or a text in its place if the class breaks it."""
    try:
        return repr(exc)
    except Exception:
        return f"<{type(exc).__qualname__}: its repr() failed>"
