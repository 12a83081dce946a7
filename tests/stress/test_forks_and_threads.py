"""Producers that fork and producers with many threads: the same app object, and nothing lost or doubled."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import raw
from tests.support.journal import Journal
from tests.support.worker import Process, Worker, environment

if TYPE_CHECKING:
    from celeriac import Celery

pytestmark = pytest.mark.stress

# Publishes, waits for a result, forks eight children that publish and wait too, while the parent goes on.
FORKER = """
import os, sys
from tests.support.apps.main import app
journal = sys.argv[1]
note = app.tasks["t.note"]
assert note.delay(journal, "before").get(timeout=20) == "before"
children = []
for child in range(8):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            sent = [note.delay(journal, f"child {child} {number}") for number in range(50)]
            for number, result in enumerate(sent):
                assert result.get(timeout=20) == f"child {child} {number}"
            status = 0
        finally:
            os._exit(status)
    children.append(pid)
    note.delay(journal, f"parent {child}")
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
assert note.delay(journal, "after").get(timeout=20) == "after"
"""


@pytest.mark.timeout(90)
def test_process_that_has_published_may_fork_and_both_sides_go_on(
    broker_url: str, tmp_path: Path, journal: Journal, start_worker: Callable[..., Worker]
) -> None:
    start_worker()
    env = environment(broker_url, broker_url)
    with Process([sys.executable, "-c", FORKER, str(journal)], folder=tmp_path, env=env, name="forker") as forker:
        assert forker.wait(60) == 0, forker.output()
    lines = journal.wait_for(lines=2 + 8 + 8 * 50, timeout=20)
    assert len(lines) == len(set(lines)) == 2 + 8 + 8 * 50


@pytest.mark.timeout(90)
def test_many_threads_publish_and_wait_through_one_app(
    app: Celery, journal: Journal, start_worker: Callable[..., Worker]
) -> None:
    start_worker(concurrency=4)
    threads, each = 16, 100
    gate = threading.Barrier(threads)
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            gate.wait(20)
            sent = [app.tasks["t.note"].delay(str(journal), f"{number} {turn}") for turn in range(each)]
            wrong.extend(result.id for turn, result in enumerate(sent) if result.get(timeout=40) != f"{number} {turn}")
        except BaseException as error:
            wrong.append(error)

    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(80)
    assert wrong == []
    lines = journal.lines()
    assert len(lines) == len(set(lines)) == threads * each
    assert raw.waiting(app) == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_other_threads_publish_leaves_a_child_that_can_publish(app: Celery) -> None:
    """Locks of the core that another thread held at the moment of the fork must not stay locked in the child."""
    raw.declare(app)
    stop = threading.Event()
    add = app.tasks["t.add"]

    def busy() -> None:
        while not stop.is_set():
            add.delay(1, 2)

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    for _ in range(3):
                        add.delay(3, 4)
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
