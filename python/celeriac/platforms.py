"""What depends on the operating system: exit codes, pidfiles, detaching, privileges, process titles.

Exit codes are those of Celery's command line, which took them from BSD's `sysexits`.
"""

from __future__ import annotations

import atexit
import errno
import os
import platform as _platform
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from celeriac.exceptions import SecurityError, SecurityWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EX_OK = 0
EX_FAILURE = 1
EX_USAGE = 64
EX_UNAVAILABLE = 69
EX_CANTCREAT = 73

SYSTEM = _platform.system()
IS_macOS = SYSTEM == "Darwin"
IS_WINDOWS = SYSTEM == "Windows"

_PIDFILE_MODE = 0o644
_ROOT_GROUPS = ("sudo", "wheel")


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")


class LockFailed(Exception):
    """The pidfile belongs to a process that is alive, or cannot be written."""


def pyimplementation() -> str:
    """Name of the Python implementation, for banners and reports."""
    return _platform.python_implementation()


class Pidfile:
    """A file that holds the process id of the one process allowed to use its name.

    The file is created exclusively, so two starters cannot both win. A file is stale, and is replaced, if it cannot
    be read as a number, names this very process (containers give everybody pid 1), names no process, or one of
    another user.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)

    def acquire(self) -> Pidfile:
        """Writes our pid.

        Raises:
            LockFailed: the file exists, or its folder cannot be written.
        """
        try:
            self.write_pid()
        except OSError as exc:
            raise LockFailed(f"cannot write the pidfile {self.path!r}: {exc.strerror or exc}") from exc
        return self

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()

    def is_locked(self) -> bool:
        """Whether the file exists, whoever owns it."""
        return os.path.exists(self.path)

    def release(self) -> None:
        """Removes the file if it is ours; somebody else's stays."""
        with suppress(ValueError, OSError):
            if self.read_pid() == os.getpid():
                self.remove()

    def read_pid(self) -> int | None:
        """The pid in the file; None without a file.

        Raises:
            ValueError: the file is partial (no newline at its end) or holds no number.
        """
        try:
            text = Path(self.path).read_text()
        except FileNotFoundError:
            return None
        if not text.endswith("\n"):
            raise ValueError(f"partial or invalid pidfile {self.path!r}: no newline at its end")
        try:
            return int(text.strip())
        except ValueError as exc:
            raise ValueError(f"pidfile {self.path!r} holds {text.strip()!r}, not a process id") from exc

    def remove(self) -> None:
        """Removes the file; none, or one that may not be removed, is no error."""
        with suppress(FileNotFoundError, PermissionError):
            os.unlink(self.path)

    def holder(self) -> int | None:
        """Pid of the live process that owns the file; None if there is no file or it is stale."""
        try:
            pid = self.read_pid()
        except ValueError:
            return None
        if not pid or pid == os.getpid():
            return None
        try:
            os.kill(pid, 0)
        except OSError as exc:
            if exc.errno in (errno.ESRCH, errno.EPERM):
                return None
            raise
        return pid

    def remove_if_stale(self) -> bool:
        """Removes a stale file. True if none is left."""
        if self.holder() is not None:
            return False
        if self.is_locked():
            _complain(f"Removing the stale pidfile {self.path}")
            self.remove()
        return True

    def write_pid(self) -> None:
        """Creates the file with our pid.

        Raises:
            FileExistsError: there is one already.
        """
        line = f"{os.getpid()}\n".encode()
        fd = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PIDFILE_MODE)
        try:
            os.write(fd, line)
            os.fsync(fd)
        finally:
            os.close(fd)


PIDFile = Pidfile


def check_pidlock(path: str) -> Pidfile:
    """The pidfile at `path`, free to take. Ends the process with EX_CANTCREAT if a live process holds it."""
    lock = Pidfile(path)
    if not lock.remove_if_stale():
        _complain(f"ERROR: the pidfile {lock.path} already exists; already running? (pid: {lock.holder()})")
        raise SystemExit(EX_CANTCREAT)
    return lock


def create_pidlock(path: str) -> Pidfile:
    """Takes the pidfile at `path` for this process; removed at exit. Exits with EX_CANTCREAT if it is taken."""
    lock = check_pidlock(path)
    try:
        lock.acquire()
    except LockFailed as exc:
        _complain(f"ERROR: {exc}")
        raise SystemExit(EX_CANTCREAT) from exc
    atexit.register(lock.release)
    return lock


# --- detaching ---------------------------------------------------------------------------------------------------


def parse_umask(value: int | str | None) -> int | None:
    """An umask: an int as it is, text as octal if it starts with 0, else decimal."""
    if value is None or isinstance(value, int):
        return value
    return int(value, 8 if value.startswith("0") else 10)


def detach(
    command: list[str],
    *,
    logfile: str | None = None,
    pidfile: str | None = None,
    uid: int | str | None = None,
    gid: int | str | None = None,
    umask: int | str | None = None,
    fake: bool = False,
) -> None:
    """Runs `command` (an argument vector) as a daemon: new session, standard streams on the null device.

    What can be known before the process disappears from sight is checked here: the pidfile is free, the log file can
    be written, the program can be executed. Returns in the caller's process once the daemon runs; with `fake` it
    replaces the caller and does not return.

    Raises:
        OSError: the log file cannot be written, or `command` not be executed.
        RuntimeError: no `fork` here.
        SystemExit: EX_CANTCREAT, the pidfile is taken.
    """
    if not hasattr(os, "fork"):
        raise RuntimeError("this platform cannot detach a process; use its own service manager")
    if pidfile:
        check_pidlock(pidfile)
    maybe_drop_privileges(uid=uid, gid=gid)
    if logfile:
        with open(logfile, "a"):
            pass
    mask = parse_umask(umask)
    if fake:
        _become_daemon(command, mask, fake=True)
    read_end, write_end = os.pipe()  # close-on-exec: end of file here means that the daemon has been executed
    sys.stdout.flush()
    sys.stderr.flush()
    first = os.fork()
    if first == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                _become_daemon(command, mask, fake=False)
        except OSError as exc:
            os.write(write_end, str(exc.errno).encode())
        finally:
            os._exit(EX_OK)
    os.close(write_end)
    os.waitpid(first, 0)
    with os.fdopen(read_end, "rb") as report:
        failure = report.read()
    if failure:
        number = int(failure)
        raise OSError(number, os.strerror(number), command[0])


def _become_daemon(command: list[str], umask: int | None, *, fake: bool) -> None:
    if umask is not None:
        os.umask(umask)
    if not fake:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
    os.execvp(command[0], command)  # noqa: S606 - a daemon needs no shell


# --- privileges --------------------------------------------------------------------------------------------------


def parse_uid(uid: int | str) -> int:
    """A user id from a number or a name; KeyError if there is no such user."""
    try:
        return int(uid)
    except ValueError:
        import pwd

        return pwd.getpwnam(str(uid)).pw_uid


def parse_gid(gid: int | str) -> int:
    """A group id from a number or a name; KeyError if there is no such group."""
    try:
        return int(gid)
    except ValueError:
        import grp

        return grp.getgrnam(str(gid)).gr_gid


def maybe_drop_privileges(uid: int | str | None = None, gid: int | str | None = None) -> None:
    """Becomes user `uid` and group `gid`: group first, then the supplementary groups, then the user.

    Only root can; for others it does nothing. With a user alone, its own main group is taken.

    Raises:
        KeyError: no such user or group.
        SecurityError: root could be had again afterwards.
    """
    if IS_WINDOWS or (uid is None and gid is None) or os.geteuid() != 0:
        return
    import pwd

    user = parse_uid(uid) if uid is not None else None
    group = parse_gid(gid) if gid is not None else None
    if user is None:
        if group is not None:
            os.setgid(group)
        return
    entry = pwd.getpwuid(user)
    group = entry.pw_gid if group is None else group
    os.setgid(group)
    os.initgroups(entry.pw_name, group)
    os.setuid(user)
    if user != 0:
        try:
            os.setuid(0)
        except OSError:
            return
        raise SecurityError(f"user {uid!r} could become root again: privileges were not dropped")


def check_privileges(accept_content: Iterable[str], warn: Callable[[Warning], object] = warnings.warn) -> None:
    """Refuses to run as root while pickle is accepted, since any sender of a message could then own the machine.

    Raises:
        SecurityError: root, pickle accepted, and `C_FORCE_ROOT` is not set.

    Warns:
        SecurityWarning: root in every other case; `warn` gets it.
    """
    if IS_WINDOWS:
        return
    if os.getuid() and os.geteuid() and os.getgid() and os.getegid() and not _in_root_group():
        return
    pickled = {"pickle", "application/group-python-serialize", "application/x-python-serialize"}.intersection(
        accept_content or ()
    )
    who = f"uid={os.getuid()} euid={os.geteuid()} gid={os.getgid()} egid={os.getegid()}"
    if pickled and not os.environ.get("C_FORCE_ROOT"):
        raise SecurityError(
            f"refusing to run with the privileges of root ({who}) while accept_content has pickle: whoever can send "
            "a message could run any code as root. Use --uid, drop pickle from accept_content, or set C_FORCE_ROOT=1"
        )
    warn(SecurityWarning(f"the worker runs with the privileges of root ({who}); use --uid to name another user"))


def _in_root_group() -> bool:
    import grp

    def name(gid: int) -> str:
        with suppress(KeyError):
            return grp.getgrgid(gid).gr_name
        return ""

    return any(name(gid) in _ROOT_GROUPS for gid in (os.getgid(), os.getegid()))


def set_process_title(program: str, info: str = "") -> str:
    """Sets the title that `ps` shows, if `setproctitle` is installed and `NOSETPS` is not set. Returns the title."""
    title = f"[{program}] {info}".rstrip()
    if not os.environ.get("NOSETPS"):
        try:
            from setproctitle import setproctitle  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            return title
        setproctitle(title)
    return title


def isatty(stream: object) -> bool:
    """Whether `stream` is a terminal; False for anything that cannot tell."""
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        return False
