"""A disk without room: publishing says so and stores nothing; when there is room again, work goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from celeriac.exceptions import BrokerFull
from tests.support import needs, raw
from tests.support.apps.tasks import build
from tests.support.journal import Journal
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.worker import Worker

pytestmark = [pytest.mark.stress, pytest.mark.root, pytest.mark.timeout(90)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    needs.root()
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    yield folder
    # Lazy: the store may still be open in this process.
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_refuses_and_keeps_what_was_accepted(
    small_disk: Path, journal: Journal, start_worker: Callable[..., Worker]
) -> None:
    url = f"sqlite:///{small_disk / 'queue.db'}"
    app = build(url, url)
    filler = "x" * 4000
    accepted = 0
    with pytest.raises(BrokerFull, match=r"queue\.db"):
        for _ in range(10_000):
            app.tasks["t.note"].apply_async((str(journal), f"{accepted} {filler}"), retry=False)
            accepted += 1
    assert 100 < accepted < 10_000
    assert raw.waiting(app) == accepted

    # The operator finds room; the worker does all of it, and new work is accepted.
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    start_worker(url)
    app.tasks["t.note"].delay(str(journal), "new")
    lines = journal.wait_for(lines=accepted + 1, timeout=40)
    assert {line.split(" ")[0] for line in lines} == {*map(str, range(accepted)), "new"}
    wait_until(lambda: raw.waiting(app) == 0, timeout=20, what="empty queue")


def test_worker_survives_a_full_disk_and_stores_results_when_there_is_room(
    small_disk: Path, journal: Journal, start_worker: Callable[..., Worker]
) -> None:
    url = f"sqlite:///{small_disk / 'queue.db'}"
    app = build(url, url)
    worker = start_worker(url)
    ballast = small_disk / "ballast"
    assert app.tasks["t.add"].delay(1, 1).get(timeout=20) == 2
    with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(65536))
            file.flush()
    refused = 0
    for number in range(200):
        try:
            app.tasks["t.echo"].apply_async((f"{number}" * 500,), retry=False)
        except BrokerFull:
            refused += 1
    assert refused
    ballast.unlink()
    wait_until(lambda: raw.waiting(app) == 0, timeout=40, what="empty queue")
    assert app.tasks["t.add"].delay(2, 2).get(timeout=20) == 4
    assert worker.returncode is None
