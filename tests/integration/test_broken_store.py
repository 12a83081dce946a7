"""A store that cannot be used: wrong, missing, locked, foreign or damaged. Each call says so within its deadline."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from celeriac.exceptions import BrokerCorrupt, BrokerRefused, BrokerUnavailable, ImproperlyConfigured, OperationalError
from tests.support import raw
from tests.support.apps.tasks import build

if TYPE_CHECKING:
    from celeriac import Celery
    from tests.support.worker import Worker

# Holds the write lock of a file until its standard input ends.
LOCKER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("sqlite://queue.db", "sqlite:///queue.db"),
        ("sqlite:///", "names no file"),
        ("sqlite:///queue.db?sync=full", "unknown option 'sync'"),
        ("sqlite:///queue.db?lease=soon", "number of seconds"),
        ("memory://a/b", "memory://name"),
        ("carrier-pigeon://loft", "carrier-pigeon"),
    ],
)
def test_wrong_url_says_what_to_write(url: str, hint: str) -> None:
    app = build(url)
    with pytest.raises(ImproperlyConfigured, match=re.escape(hint)):
        app.tasks["t.add"].delay(1, 2)


def test_password_of_a_wrong_url_is_not_shown() -> None:
    app = build("carrier-pigeon://me:s3cret@loft/1")
    with pytest.raises(ImproperlyConfigured) as caught:
        app.tasks["t.add"].delay(1, 2)
    assert "s3cret" not in str(caught.value)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    app = build(f"sqlite:///{tmp_path / 'no/such/folder/queue.db'}")
    with pytest.raises((OperationalError, ImproperlyConfigured), match="no/such/folder"):
        app.tasks["t.add"].delay(1, 2)


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that this user may not write to; for root, one on a read-only file system."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    if os.geteuid() != 0:
        yield folder
        return
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_unwritable_folder_is_named(closed_folder: Path) -> None:
    app = build(f"sqlite:///{closed_folder / 'queue.db'}")
    with pytest.raises((OperationalError, ImproperlyConfigured), match="closed"):
        app.tasks["t.add"].delay(1, 2)


def test_path_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "queue.db").mkdir()
    app = build(f"sqlite:///{tmp_path / 'queue.db'}")
    with pytest.raises((OperationalError, ImproperlyConfigured), match=r"queue\.db"):
        app.tasks["t.add"].delay(1, 2)


def test_worker_on_a_wrong_url_ends_with_one_line(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker("carrier-pigeon://loft", backend=None, wait=False)
    assert worker.wait(20) != 0
    assert "carrier-pigeon" in worker.output()
    assert "Traceback" not in worker.output()


def test_locked_file_is_an_error_within_the_deadline_and_works_again_after(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    app = build(f"sqlite:///{path}", conf={"publish_timeout": 0.5})
    app.tasks["t.add"].apply_async((1, 2), retry=False)
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"locked\n"
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            app.tasks["t.add"].apply_async((1, 2), retry=False)
        assert 0.3 < time.monotonic() - began < 5
        holder.stdin.close()
        holder.wait(10)
    app.tasks["t.add"].apply_async((1, 2), retry=False)
    assert raw.waiting(app) == 2


def test_message_beyond_the_limit_is_refused_and_not_stored(broker_url: str) -> None:
    app = build(f"{broker_url}?max_message_bytes=10000")
    app.tasks["t.echo"].delay("small")
    with pytest.raises(BrokerRefused, match="10000"):
        app.tasks["t.echo"].apply_async(("x" * 20_000,), retry=False)
    assert raw.waiting(app) == 1


def test_worker_on_a_file_that_is_not_a_store_ends_with_one_line(
    tmp_path: Path, start_worker: Callable[..., Worker]
) -> None:
    path = tmp_path / "queue.db"
    _make_text(path)
    worker = start_worker(f"sqlite:///{path}", wait=False)
    assert worker.wait(20) != 0
    assert "queue.db" in worker.output()
    assert "Traceback" not in worker.output()


def _make_text(path: Path) -> None:
    path.write_text("this is a diary, not a database\n" * 200)


def _make_foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE diary (day TEXT)")
    db.close()


def _make_cut(path: Path) -> None:
    other = build(f"sqlite:///{path}")
    for _ in range(2000):  # 80 MB: more than the log holds before a producer folds it into the file
        other.tasks["t.echo"].delay("x" * 40_000)
    assert path.stat().st_size > 1_000_000
    os.truncate(path, path.stat().st_size // 2 + 100)
    path.with_name(path.name + "-wal").unlink()
    path.with_name(path.name + "-shm").unlink()


@pytest.mark.parametrize("damage", [_make_text, _make_foreign, _make_cut])
def test_file_that_is_not_a_sound_store_is_refused_and_left_alone(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "queue.db"
    # In a child: the damage must not go through a connection that this process shares.
    child = os.fork()
    if child == 0:
        status = 1
        try:
            damage(path)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    before = path.read_bytes()
    assert before
    app = build(f"sqlite:///{path}")
    with pytest.raises(BrokerCorrupt, match=r"queue\.db"):
        for _ in range(50):
            app.tasks["t.add"].apply_async((1, 2), retry=False)
    assert path.read_bytes() == before


def test_two_apps_on_one_file_keep_out_of_each_others_queues(
    start_worker: Callable[..., Worker], broker_url: str
) -> None:
    first = build(broker_url, broker_url, {"task_default_queue": "first"})
    second = build(broker_url, broker_url, {"task_default_queue": "second"})
    waiting = [second.tasks["t.add"].delay(number, number) for number in range(20)]
    start_worker(args=["-Q", "first"])
    done = [first.tasks["t.add"].delay(number, 1) for number in range(20)]
    assert [result.get(timeout=20) for result in done] == [number + 1 for number in range(20)]
    assert raw.depths(first)["second"] == (20, 0, 0)
    start_worker(args=["-Q", "second"])
    assert [result.get(timeout=20) for result in waiting] == [2 * number for number in range(20)]


def test_results_of_two_apps_on_one_file_are_both_there(
    app: Celery, start_worker: Callable[..., Worker], broker_url: str
) -> None:
    other = build(broker_url, broker_url)
    start_worker()
    sent = app.tasks["t.add"].delay(1, 1)
    assert other.AsyncResult(sent.id).get(timeout=20) == 2
