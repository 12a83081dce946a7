"""The launcher: the zygote of a pool whose children are fresh interpreters (start method `spawn`).

It is an interpreter of its own with one thread and without the application, and speaks the zygote's protocol. What it
makes is not forked from anything that has threads, so libraries that do not survive a fork are no harm to it: each
child imports the application anew (`_spawned.py`).
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

from celeriac.concurrency._zygote import CHILD, IGNORED, Own, Zygote, serve
from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

_KIT_FDS, _LAUNCHER_FDS = 3, 2


class Launcher(Zygote):
    """A launcher as the worker sees it."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, lifeline: int) -> None:
        super().__init__(process.pid, control, lifeline)
        self._process = process

    def has_ended(self) -> bool:
        """Reaps it if it has."""
        return self._process.poll() is not None


def launch(recipe: int) -> Launcher:
    """Starts a launcher, whose children are made after `recipe`, a file that stays the caller's.

    Raises:
        ImproperlyConfigured: this program is no interpreter that could be started again.
        OSError: the interpreter cannot be started.
    """
    import subprocess

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    lifeline, held = os.pipe()
    given = (theirs.fileno(), lifeline, recipe)
    # It is in the worker's group until it has made one of its own: Ctrl-C in that moment is for the worker alone.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
    try:
        process = subprocess.Popen([*_argv(_command(), __name__, given), *_command()], pass_fds=given)
    except OSError:
        ours.close()
        os.close(held)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        os.close(lifeline)
    return Launcher(process, ours, held)


def _command() -> list[str]:
    """This interpreter (see `multiprocessing.set_executable`) with the options that it was given."""
    from multiprocessing import spawn

    if getattr(sys, "frozen", False):
        raise ImproperlyConfigured("a frozen program has no interpreter to spawn processes with: use -P threads")
    # What multiprocessing itself starts, up to its program: it has no public name for the options.
    words = [os.fsdecode(word) for word in spawn.get_command_line()]
    return words[: words.index("-c")]


def _argv(command: Sequence[str], module: str, numbers: Sequence[int]) -> list[str]:
    return [*command, "-m", module, *map(str, numbers)]


def main(words: Sequence[str]) -> None:
    """The launcher's life; `words` are its descriptors (control, lifeline, recipe) and the interpreter's command."""
    control, lifeline, recipe = map(int, words[:3])
    command = list(words[3:])
    for fd in (control, lifeline, recipe):
        os.set_inheritable(fd, False)

    def make(kind: int, number: int, index: int, fds: list[int], own: Own) -> int:
        del own  # closed by the start of another program
        if len(fds) != (_KIT_FDS if kind == CHILD else _LAUNCHER_FDS):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))  # some did not arrive
        if kind == CHILD:
            argv = _argv(command, "celeriac.concurrency._spawned", [number, index, *fds, recipe])
        else:
            argv = [*_argv(command, "celeriac.concurrency._launcher", [*fds, recipe]), *command]
        for fd in (*fds, recipe):
            os.set_inheritable(fd, True)
        try:
            return os.posix_spawn(command[0], argv, os.environ, setpgroup=0, setsigmask=(), setsigdef=IGNORED)
        finally:
            os.set_inheritable(recipe, False)

    try:
        serve(socket.socket(fileno=control), lifeline, make)
    except ConnectionError:
        pass  # the hub has ended, or has let go of a launcher that did not answer


if __name__ == "__main__":
    main(sys.argv[1:])
