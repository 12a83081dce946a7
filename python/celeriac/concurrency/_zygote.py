"""The zygote: a process without threads, from which the children of the prefork pool are forked.

It is forked from the worker when the application is imported and before any thread of the core exists, so children
share the application's memory and no fork ever meets a thread. The hub (`processes/zygote.rs` of its crate) asks by
messages of three numbers with descriptors, and is told what was forked and what has ended:

    hub -> zygote   1, number, index  (socket, page, lifeline)    a child
                    2, 0, 0           (socket, lifeline)          a zygote that stands by, should this one be killed
    zygote -> hub   1, number, pid                                forked
                    2, number, errno                              refused; 0 for a zygote
                    3, pid, wait status                           ended
"""

from __future__ import annotations

import errno
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

_CHILD, _ZYGOTE = 1, 2
_DESCRIPTORS = {_CHILD: 3, _ZYGOTE: 2}
_FORKED, _REFUSED, _EXITED = 1, 2, 3
_REQUEST = struct.Struct("=III")
_WORD = struct.Struct("=Iii")
_F_SETSIG = 10


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


def die_with(lifeline: int) -> None:
    """The kernel kills this process and its group as soon as nobody holds the other end of `lifeline`, a pipe.

    PR_SET_PDEATHSIG would look at the parent, which for a child is the zygote; what must not be survived is the worker,
    and a zygote may be killed without harm to those who run. Each process needs a pipe of its own: whom to kill belongs
    to the open file, which a fork shares.
    """
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

    def close(self) -> None:
        """Lets go of it here; in the worker that is its end."""
        self.control.close()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def fork(run_child: RunChild, others: Sequence[Zygote]) -> Zygote:
    """Forks a zygote, which lets go of `others`, as they are the worker's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lifeline, held = os.pipe()
    zygote = Zygote(0, ours, held)
    _flush()
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
        _serve(theirs, lifeline, run_child)
    except BrokenPipeError:
        pass  # the hub has ended, or has let go of a zygote that did not answer
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _flush() -> None:
    """What stands in buffers must not be written by every copy of the process."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # a closed stream has nothing to write


def _serve(control: socket.socket, lifeline: int, run_child: RunChild) -> None:
    """Forks what is asked for and reaps what has ended, until the hub is gone."""
    os.setpgid(0, 0)  # Ctrl-C is for the worker alone
    die_with(lifeline)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
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
            request, fds, _, _ = socket.recv_fds(control, _REQUEST.size, 3, socket.MSG_CMSG_CLOEXEC)
            if not request:
                os._exit(0)
            kind, number, index = _REQUEST.unpack(request)
            try:
                if len(fds) < _DESCRIPTORS[kind]:  # the system cuts off what this process cannot have
                    raise OSError(errno.EMFILE, "too many open files")
                pid = os.fork()
            except OSError as exc:
                pid = -1
                control.send(_WORD.pack(_REFUSED, number, exc.errno or 0))
            if pid == 0:
                _become(kind, number, index, fds, (control, news, tell), lifeline, run_child)
            for fd in fds:
                os.close(fd)
            if pid > 0 and kind == _CHILD:
                control.send(_WORD.pack(_FORKED, number, pid))


def _reap(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        control.send(_WORD.pack(_EXITED, pid, status))


def _become(
    kind: int,
    number: int,
    index: int,
    fds: list[int],
    inherited: tuple[socket.socket, int, int],
    lifeline: int,
    run_child: RunChild,
) -> None:
    """What the new process does; does not return."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control, news, tell = inherited
        control.close()
        os.close(news)
        os.close(tell)
        os.close(lifeline)
        if kind == _ZYGOTE:
            _serve(socket.socket(fileno=fds[0]), fds[1], run_child)
        code = run_child(Kit(number, index, *fds))
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)
