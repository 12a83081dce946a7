"""A worker that is frozen for longer than its lease loses what it holds, and must not act on it when it wakes up."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import raw
from tests.support.apps.tasks import build
from tests.support.journal import Journal
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.worker import Worker

pytestmark = [pytest.mark.stress, pytest.mark.timeout(90)]


def test_frozen_workers_task_runs_elsewhere_and_its_own_result_is_refused(
    broker_url: str, journal: Journal, tmp_path: Path, start_worker: Callable[..., Worker]
) -> None:
    url = f"{broker_url}?lease=1"
    app = build(url, broker_url)
    gate = tmp_path / "gate"
    frozen = start_worker(url, concurrency=1)
    sent = app.tasks["t.start_then_end"].delay(str(journal), "a", str(gate))
    journal.wait_for(lines=1, timeout=20)
    frozen.kill(signal.SIGSTOP)
    try:
        start_worker(url, concurrency=1)
        journal.wait_for(lines=2, timeout=30)  # the second start: the lease ran out
        assert journal.lines() == ["start a", "start a"]
    finally:
        frozen.kill(signal.SIGCONT)
    gate.touch()
    assert sent.get(timeout=20) == "a"
    journal.wait_for(lines=4, timeout=20)  # both ended; only one of the two could report it
    wait_until(lambda: raw.waiting(app) == 0, timeout=20, what="empty queue")
    assert raw.dead(app) == []
    # The one that was frozen works on.
    more = [app.tasks["t.add"].delay(number, 1) for number in range(50)]
    assert [result.get(timeout=20) for result in more] == [number + 1 for number in range(50)]
    assert frozen.returncode is None


def test_long_task_keeps_its_lease(
    broker_url: str, journal: Journal, tmp_path: Path, start_worker: Callable[..., Worker]
) -> None:
    """Four leases long, a second worker idle beside it: it runs once."""
    url = f"{broker_url}?lease=0.5"
    app = build(url, broker_url)
    start_worker(url)
    start_worker(url)
    assert app.tasks["t.note_late"].delay(str(journal), "long", 2.0).get(timeout=20) == "long"
    assert journal.lines() == ["long"]


def test_killed_workers_messages_come_back_without_waiting_for_the_lease(
    broker_url: str, journal: Journal, tmp_path: Path, start_worker: Callable[..., Worker]
) -> None:
    """The lease is an hour; the death of a process on the same machine is seen at once."""
    url = f"{broker_url}?lease=3600"
    app = build(url, broker_url)
    gate = tmp_path / "gate"
    first = start_worker(url, concurrency=1)
    sent = app.tasks["t.start_then_end"].delay(str(journal), "a", str(gate))
    journal.wait_for(lines=1, timeout=20)
    first.kill()
    first.wait()
    gate.touch()
    start_worker(url, concurrency=1)
    assert sent.get(timeout=20) == "a"
    assert journal.lines() == ["start a", "start a", "end a"]
