"""A child of the prefork pool that is a fresh interpreter: the launcher starts it, and it imports the application."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

from celeriac.concurrency._zygote import Kit, die_with, flush
from celeriac.exceptions import ImproperlyConfigured
from celeriac.platforms import EX_FAILURE

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(words: Sequence[str]) -> None:
    """The child's life; `words` are what a `Kit` consists of, and the descriptor of the recipe. Does not return."""
    code = EX_FAILURE
    try:
        number, place, socket, page, lifeline, recipe = map(int, words)
        for fd in (socket, page, lifeline, recipe):
            os.set_inheritable(fd, False)
        die_with(lifeline)  # before the import, which may take its time
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = _run(Kit(number, place, socket, page, lifeline), recipe)
    except BaseException:
        traceback.print_exc()
    finally:
        flush()
        os._exit(code)  # as a forked child: what the application registered with atexit is the worker's


def _run(kit: Kit, fd: int) -> int:
    from celeriac.concurrency import _recipe
    from celeriac.concurrency._child import Child

    recipe = _recipe.load(fd)
    try:
        pool = _recipe.follow(recipe, f"SpawnPoolWorker-{kit.number}")
    except (Exception, SystemExit) as exc:
        _tell(exc, recipe.log)
        return EX_FAILURE
    return Child(pool, kit).run()


def _tell(exc: BaseException, log: dict[str, Any] | None) -> None:
    """Into the worker's log, which the application may not have come to set up."""
    log = log or {"logfile": None, "format": logging.BASIC_FORMAT}
    logging.basicConfig(filename=log["logfile"], format=log["format"])
    ours = isinstance(exc, ImproperlyConfigured)
    text = f"sys.exit({exc.code!r}) was called" if isinstance(exc, SystemExit) else str(exc) if ours else repr(exc)
    logging.getLogger("celeriac.pool").critical(
        "Child process %d cannot import the application: %s", os.getpid(), text, exc_info=None if ours else exc
    )


if __name__ == "__main__":
    main(sys.argv[1:])
