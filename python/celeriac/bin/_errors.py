"""What the program says, and with which exit code it ends, when an exception gets through."""

from __future__ import annotations

import os
import sys

from celeriac.exceptions import CeleryError, ImproperlyConfigured, KombuError, OperationalError, SecurityError
from celeriac.platforms import EX_FAILURE, EX_UNAVAILABLE

EX_CONFIG = 78


def exit_code(exc: BaseException) -> int:
    """The exit code that stands for `exc` (docs/reference/cli.md)."""
    if isinstance(exc, OperationalError):
        return EX_UNAVAILABLE
    return EX_CONFIG if isinstance(exc, ImproperlyConfigured) or _named_in_vain(exc) else EX_FAILURE


def _named_in_vain(exc: BaseException) -> bool:
    """True for a missing module that celeriac was told to import: a traceback would show nothing but celeriac."""
    if not isinstance(exc, ModuleNotFoundError):
        return False
    import traceback
    from pathlib import Path

    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(exc.__traceback__)]
    importers = [name for name in files if "importlib" not in name]
    return bool(importers) and importers[-1].startswith(str(Path(__file__).parents[1]))


def explain(exc: Exception) -> int | None:
    """Prints one line about `exc` to standard error and returns the exit code; None: let it through.

    It goes through, traceback and all, if `--traceback` or `CELERIAC_TRACEBACK` asks for it, or if the exception is
    none of ours and none of the system's: then it is a bug, and a bug needs its traceback.
    """
    if os.environ.get("CELERIAC_TRACEBACK"):
        return None
    if not isinstance(exc, (CeleryError, KombuError, SecurityError, OSError)) and not _named_in_vain(exc):
        return None
    # A worker has redirected the standard streams to its log; the last word belongs on the real one.
    stream = sys.__stderr__ if hasattr(sys.stderr, "logger") else sys.stderr
    if stream is not None:
        stream.write(f"Error: {type(exc).__name__}: {exc}\n")
    return exit_code(exc)
