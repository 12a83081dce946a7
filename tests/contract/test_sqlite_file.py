"""The SQLite store's own promises: what it does with files that are wrong, locked, full, replaced or not ours."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac._bridge.broker import open_broker, open_results
from celeriac.exceptions import BrokerCorrupt, BrokerFull, BrokerUnavailable, ImproperlyConfigured
from tests.support.waiting import wait_until

# The standard library's `sqlite3` is used here only on files that this process has not opened through celeriac:
# closing one of its descriptors would drop this process's locks.


def ready(url: str) -> int:
    return sum(depth.ready for depth in open_broker(url).depths())


def test_a_fresh_file_is_a_wal_database_with_our_mark(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    code = (
        "from celeriac._bridge.broker import open_broker\n"
        f"open_broker('sqlite:///{path}').publish('', 'q', 0, None, b'x')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA application_id").fetchone() == (int.from_bytes(b"clrc", "big"),)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("SELECT payload FROM message").fetchall() == [(b"x",)]
    db.close()


def test_the_last_process_that_ends_in_order_leaves_one_file(tmp_path: Path) -> None:
    code = (
        "from celeriac._bridge.broker import open_broker, open_results\n"
        "open_broker('sqlite:///broker.db').publish('', 'q', 0, None, b'x')\n"
        "open_results('sqlite:///broker.db').generation()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, cwd=tmp_path)
    assert os.listdir(tmp_path) == ["broker.db"]


def test_relative_path_means_the_directory_at_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    broker = open_broker("sqlite:///here.db")
    monkeypatch.chdir("/")
    broker.publish("", "q", 0, None, b"x")
    assert (tmp_path / "here.db").exists()


def test_two_names_of_one_file_are_one_store(tmp_path: Path) -> None:
    path, link = tmp_path / "broker.db", tmp_path / "link.db"
    open_broker(f"sqlite:///{path}").publish("", "q", 0, None, b"x")
    link.symlink_to(path)
    open_broker(f"sqlite:///{link}").publish("", "q", 0, None, b"x")
    assert ready(f"sqlite:///{path}") == 2


@pytest.mark.parametrize(
    "content", [b"not a database, but longer than its header is" * 50, b"SQLite format 3\0" + bytes(4000)]
)
def test_not_a_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(BrokerCorrupt, match=r"notes\.txt"):
        ready(f"sqlite:///{path}")
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "django.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE auth_user (id)")
    db.commit()
    db.close()
    content = path.read_bytes()
    with pytest.raises(BrokerCorrupt, match="another program"):
        ready(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_newer_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA application_id = {int.from_bytes(b'clrc', 'big')}")
    db.execute("PRAGMA user_version = 99")
    db.execute("CREATE TABLE message (id)")
    db.commit()
    db.close()
    with pytest.raises(BrokerCorrupt, match="version 99"):
        ready(f"sqlite:///{path}")


def test_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    code = (
        "from celeriac._bridge.broker import open_broker\n"
        f"open_broker('sqlite:///{path}').publish_many([('', 'q', 0, None, bytes(3000))] * 200)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    with path.open("r+b") as file:
        file.seek(4096)  # the first page, with the header and the schema, stays
        file.write(os.urandom(path.stat().st_size - 4096))
    with pytest.raises(BrokerCorrupt, match=r"broker\.db"):
        open_broker(f"sqlite:///{path}").publish("", "q", 0, None, b"x")


def test_folder_or_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="is a folder"):
        ready(f"sqlite:///{tmp_path}")
    with pytest.raises(ImproperlyConfigured, match=r"no/such/queue\.db.*folder must exist"):
        ready(f"sqlite:///{tmp_path}/no/such/queue.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(ImproperlyConfigured, match="writable"):
        ready(f"sqlite:///{folder}/queue.db")


LOCKER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A file whose write lock another process holds until its input is closed."""
    path = tmp_path / "broker.db"
    open_broker(f"sqlite:///{path}").publish("", "q", 0, None, b"x")
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        yield f"sqlite:///{path}", locker
        locker.kill()


def test_locked_file_is_an_error_at_the_deadline_and_reading_goes_on(
    locked: tuple[str, subprocess.Popen[str]],
) -> None:
    url, locker = locked
    broker = open_broker(url, timeout=0.3)
    begin = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="locked by another process"):
        broker.publish("", "q", 0, None, b"x")
    assert 0.25 < time.monotonic() - begin < 5
    assert ready(url) == 1
    assert locker.stdin is not None
    locker.stdin.close()
    locker.wait(20)
    broker.publish("", "q", 0, None, b"x")
    assert ready(url) == 2


def test_a_call_waits_for_a_lock_that_is_released_in_time(locked: tuple[str, subprocess.Popen[str]]) -> None:
    url, locker = locked
    assert locker.stdin is not None
    timer = threading.Timer(0.3, locker.stdin.close)
    timer.start()
    assert open_broker(url, timeout=20).publish("", "q", 0, None, b"x") == 1
    timer.join()


FILLER = """
import resource, sys
from celeriac._bridge.broker import open_broker
from celeriac.exceptions import BrokerFull
from tests.support.waiting import wait_until
broker = open_broker(sys.argv[1])
broker.publish("", "q", 0, None, b"first")
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
stored = 1
try:
    while True:
        broker.publish_many([("", "q", 0, None, bytes(1000))] * 10)
        stored += 10
except BrokerFull as error:
    assert "no room" in str(error), error
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    broker.publish("", "q", 0, None, b"last")
    print(stored + 1)
"""


def test_no_room_is_an_error_that_stores_nothing_and_passes(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("file sizes are limited here already")
    url = f"sqlite:///{tmp_path / 'broker.db'}"
    done = subprocess.run([sys.executable, "-c", FILLER, url], capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    assert ready(url) == int(done.stdout)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if os.geteuid() != 0:
        pytest.skip("needs to be root to mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_is_an_error_that_stores_nothing_and_passes(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk / 'broker.db'}"
    broker, store = open_broker(url), open_results(url)
    stored = 0
    with pytest.raises(BrokerFull, match="free space"):
        while True:
            broker.publish_many([("", "q", 0, None, bytes(2000))] * 10)
            stored += 10
    with pytest.raises(BrokerFull):
        store.put("k", bytes(1_000_000), None, True)
    assert ready(url) == stored
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    broker.publish("", "q", 0, None, b"x")
    assert ready(url) == stored + 1


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    broker = open_broker(f"sqlite:///{path}")
    broker.publish("", "q", 0, None, b"x")
    for name in os.listdir(tmp_path):
        if name.startswith("broker.db"):
            (tmp_path / name).unlink()
    wait_until(lambda: broker.publish("", "q", 0, None, b"x") and path.exists(), timeout=10, what="file", every=0.05)
    assert ready(f"sqlite:///{path}") >= 1


def test_result_crosses_processes_without_waiting_for_the_slow_poll(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'broker.db'}"
    store = open_results(url)
    code = (
        "import sys; from celeriac._bridge.broker import open_results\n"
        f"store = open_results({url!r})\n"
        "for line in sys.stdin: store.put(line.strip(), b'v', None, True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        times = []
        for number in range(30):
            begin = time.monotonic()
            writer.stdin.write(f"{number}\n")
            writer.stdin.flush()
            while True:
                seen = store.generation()
                if store.get(str(number)):
                    break
                assert time.monotonic() - begin < 20
                store.wait_change(seen, 5)
            times.append(time.monotonic() - begin)
        writer.stdin.close()
    assert sorted(times)[15] < 0.1, times


def test_a_long_path_still_has_wake_ups(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    url = f"sqlite:///{folder / 'broker.db'}"
    store = open_results(url)
    seen = store.generation()
    code = f"from celeriac._bridge.broker import open_results; open_results({url!r}).put('k', b'v', None, True)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert store.wait_change(seen, 10) != seen
    assert not (folder / "broker.db.notify").exists()
