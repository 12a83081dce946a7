"""The zygote: a process without threads, from which the children of the prefork pool are forked.

It is forked from the worker when the application is imported and before any thread of the core exists, so children
share the application's memory and no fork ever meets a thread. Where children are to be fresh interpreters, a launcher
(`_launcher.py`) takes its place behind the same socket. The hub (`processes/zygote.rs` of its crate) asks by
messages of three numbers with descriptors, and is told what was forked and what has ended:

    hub -> zygote   1, number, index  (socket, page, lifeline)    a child
                    2, 0, 0           (socket, lifeline)          a zygote that stands by, should this one be killed
    zygote -> hub   1, number, pid                                forked
                    2, number, errno                              refused
                    3, pid, wait status                           ended
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

CHILD, ZYGOTE = 1, 2
_FORKED, _REFUSED, _EXITED = 1, 2, 3
_REQUEST = struct.Struct("=III")
_WORD = struct.Struct("=Iii")
_F_SETSIG = 10
_MOST_FDS = 3
# Atomic with the receipt where the system can; elsewhere the process has no thread that could start another in between.
_CLOEXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a zygote does not hear."""


class Kit(NamedTuple):
    """What a child is made of."""

    number: int
    """Counts all children of a worker."""
    place: int
    """From 1; a successor may have that of a child that has ended."""
    socket: int
    page: int
    lifeline: int


RunChild = Callable[[Kit], int]
"""Runs in the new process; returns its exit code."""

Own = tuple[socket.socket, int, int, int]
"""What a zygote has open: control, the two ends of its pipe of signals, lifeline."""

Make = Callable[[int, int, int, list[int], Own], int]
"""Makes a process of that kind, number and index, with these descriptors; returns its pid, or raises OSError."""


def die_with(lifeline: int) -> None:
    """The kernel kills this process and its group as soon as nobody holds the other end of `lifeline`, a pipe.

    PR_SET_PDEATHSIG would look at the parent, which for a child is the zygote; what must not be survived is the worker,
    and a zygote may be killed without harm to those who run. Each process needs a pipe of its own: whom to kill belongs
    to the open file, which a fork shares. Only Linux has F_SETSIG: elsewhere the process ends when it finds its socket
    closed, which a child does after the task that it runs.
    """
    if sys.platform != "linux":
        return
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    if poll.poll(0):  # it had ended before
        os._exit(1)


class Zygote:
    """A zygote as the worker sees it: its process, the socket on which the hub asks, and what keeps it alive."""

    def __init__(self, pid: int, control: socket.socket, lifeline: int) -> None:
        self.pid = pid
        self.control = control
        self._lifeline: int | None = lifeline

    def has_ended(self) -> bool:
        """Reaps it if it has."""
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True

    def close(self) -> None:
        """Lets go of it here; in the worker that is its end."""
        self.control.close()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def fork(run_child: RunChild, others: Sequence[Zygote]) -> Zygote:
    """Forks a zygote, which lets go of `others`, as they are the worker's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    lifeline, held = os.pipe()
    zygote = Zygote(0, ours, held)
    flush()
    with warnings.catch_warnings():
        # Python 3.12 and newer count threads themselves; the pool has said which, and what to do.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        theirs.close()
        os.close(lifeline)
        zygote.pid = pid
        return zygote
    try:
        for one in (zygote, *others):
            one.close()
        serve(theirs, lifeline, _forking(run_child))
    except ConnectionError:
        pass  # the hub has ended, or has let go of a zygote that did not answer
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def flush() -> None:
    """What stands in buffers must not be written by every copy of the process."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # a closed stream has nothing to write


def serve(control: socket.socket, lifeline: int, make: Make) -> None:
    """Makes what is asked for and reaps what has ended, until the hub is gone."""
    os.setpgid(0, 0)  # Ctrl-C is for the worker alone
    die_with(lifeline)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    news, tell = os.pipe()
    os.set_blocking(news, False)
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(news, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if news in ready:
            os.read(news, 4096)
            _reap(control)
        if control.fileno() in ready:
            request, fds = _receive(control)
            if not request:
                os._exit(0)
            kind, number, index = _REQUEST.unpack(request)
            try:
                pid = make(kind, number, index, fds, (control, news, tell, lifeline))
                said = _WORD.pack(_FORKED, number, pid)
            except OSError as exc:
                said = _WORD.pack(_REFUSED, number, exc.errno or 0)
            for fd in fds:
                os.close(fd)
            if kind == CHILD:
                control.sendall(said)


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """The next request with its descriptors; no bytes if the hub is gone."""
    request, fds, _, _ = socket.recv_fds(control, _REQUEST.size, _MOST_FDS, _CLOEXEC)
    while request and len(request) < _REQUEST.size:
        more = control.recv(_REQUEST.size - len(request))
        request = request + more if more else b""
    for fd in () if _CLOEXEC else fds:
        os.set_inheritable(fd, False)
    return request, list(fds)


def _reap(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        control.sendall(_WORD.pack(_EXITED, pid, status))


def _forking(run_child: RunChild) -> Make:
    def make(kind: int, number: int, index: int, fds: list[int], own: Own) -> int:
        pid = os.fork()
        if pid == 0:
            _become(kind, number, index, fds, own, run_child)
        return pid

    return make


def _become(kind: int, number: int, index: int, fds: list[int], inherited: Own, run_child: RunChild) -> None:
    """What the new process does; does not return."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control, *others = inherited
        control.close()
        for fd in others:
            os.close(fd)
        if kind == ZYGOTE:
            serve(socket.socket(fileno=fds[0]), fds[1], _forking(run_child))
        code = run_child(Kit(number, index, *fds))
    except BaseException:
        traceback.print_exc()
    finally:
        flush()
        os._exit(code)
