"""Pidfiles, privileges, masks."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from celeriac import platforms
from celeriac.exceptions import SecurityError, SecurityWarning
from celeriac.platforms import EX_CANTCREAT, Pidfile, check_privileges, create_pidlock


def test_a_pidfile_is_ours_until_released(tmp_path: Path) -> None:
    path = tmp_path / "w.pid"
    with Pidfile(path) as lock:
        assert path.read_text() == f"{os.getpid()}\n"
        assert path.stat().st_mode & 0o777 == 0o644
        assert lock.read_pid() == os.getpid()
    assert not path.exists()


def test_two_starters_cannot_both_win(tmp_path: Path) -> None:
    Pidfile(tmp_path / "w.pid").acquire()
    with pytest.raises(platforms.LockFailed, match=r"w\.pid"):
        Pidfile(tmp_path / "w.pid").acquire()


def test_a_pidfile_of_a_live_process_ends_the_start_with_73(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.pid"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        path.write_text(f"{other.pid}\n")
        with pytest.raises(SystemExit) as end:
            create_pidlock(str(path))
        other.kill()
    assert end.value.code == EX_CANTCREAT
    assert f"pid: {other.pid}" in capsys.readouterr().err
    assert path.read_text() == f"{other.pid}\n"


def _ended_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


@pytest.mark.parametrize("content", ["", "12", "no number\n", "0\n", "dead", "own"])
def test_a_stale_pidfile_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "w.pid"
    path.write_text({"dead": f"{_ended_pid()}\n", "own": f"{os.getpid()}\n"}.get(content, content))
    lock = create_pidlock(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_release_leaves_another_process_s_pidfile(tmp_path: Path) -> None:
    path = tmp_path / "w.pid"
    path.write_text("1\n")
    Pidfile(path).release()
    assert path.read_text() == "1\n"


@pytest.mark.parametrize(("text", "mask"), [(None, None), (18, 18), ("022", 0o022), ("18", 18)])
def test_an_umask_is_octal_if_it_starts_with_zero(text: str | int | None, mask: int | None) -> None:
    assert platforms.parse_umask(text) == mask


def test_root_with_pickle_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.delenv("C_FORCE_ROOT", raising=False)
    with pytest.raises(SecurityError, match="C_FORCE_ROOT"):
        check_privileges(["json", "pickle"])
    with pytest.warns(SecurityWarning):
        check_privileges(["json"])
    monkeypatch.setenv("C_FORCE_ROOT", "1")
    with pytest.warns(SecurityWarning):
        check_privileges(["pickle"])


def test_an_ordinary_user_may_use_pickle(monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder) -> None:
    for name in ("getuid", "geteuid", "getgid", "getegid"):
        monkeypatch.setattr(os, name, lambda: 54321)
    check_privileges(["pickle"])
    assert not recwarn.list


def test_unknown_users_are_named() -> None:
    with pytest.raises(KeyError, match="nobody-of-this-name"):
        platforms.parse_uid("nobody-of-this-name")
    assert platforms.parse_uid("12") == 12
    assert platforms.parse_gid(7) == 7


def test_privileges_are_dropped_for_good() -> None:
    """Group, supplementary groups and user; in a process of its own, since there is no way back."""
    if os.geteuid() != 0:
        pytest.skip("needs to be root")
    program = (
        "import os, pwd; from celeriac.platforms import maybe_drop_privileges as drop\n"
        "drop(uid='65534')\n"
        "print(os.getresuid(), os.getresgid(), os.getgroups())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    gid = pwd.getpwuid(65534).pw_gid
    assert done.stdout == f"(65534, 65534, 65534) ({gid}, {gid}, {gid}) [{gid}]\n"
