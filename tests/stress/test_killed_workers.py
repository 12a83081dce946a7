"""SIGKILL at any moment: what was accepted is done, or waits, or is a dead letter.

Late acks: nothing is lost. Early acks: only what was running.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import raw
from tests.support.journal import Journal
from tests.support.waiting import wait_until
from tests.support.worker import Process, Worker, environment

if TYPE_CHECKING:
    from celeriac import Celery

pytestmark = pytest.mark.stress

CYCLES = 200
TASKS = 3000


def drained(app: Celery, timeout: float) -> None:
    wait_until(lambda: raw.waiting(app) == 0, timeout=timeout, what="empty queue", every=0.05)


def herd(broker: str, folder: Path, *, cycles: int, life: float, seed: int, conf: Mapping[str, object]) -> Process:
    argv = [sys.executable, "-m", "tests.support.herd", str(cycles), str(seed), str(life)]
    return Process(argv, folder=folder, env=environment(broker, broker, {"T_CONF": json.dumps(conf)}), name="herd")


@pytest.mark.timeout(180)
def test_late_acked_tasks_survive_hundreds_of_killed_workers(
    app: Celery, broker_url: str, tmp_path: Path, journal: Journal, start_worker: Callable[..., Worker]
) -> None:
    """Crashes are not limited here, so every task must end up done: run again, never lost."""
    late = app.tasks["t.note_late"]
    sent = [late.delay(str(journal), f"{number}", 0.002) for number in range(TASKS)]
    with herd(broker_url, tmp_path, cycles=CYCLES, life=0.08, seed=1, conf={"task_max_crashes": 1_000_000}) as killer:
        assert killer.wait(120) == 0, killer.output()
        assert f"{CYCLES + 2} workers killed" in killer.output()
    start_worker(env={"T_CONF": json.dumps({"task_max_crashes": 1_000_000})})
    drained(app, 40)
    counts = journal.counts()
    assert set(counts) == {str(number) for number in range(TASKS)}
    assert counts.total() > TASKS  # some were killed between their line and their end, and ran again
    assert raw.dead(app) == []
    assert all(result.get(timeout=10) == str(number) for number, result in enumerate(sent))


@pytest.mark.timeout(120)
def test_early_acked_tasks_are_lost_only_where_a_worker_died_in_them(
    app: Celery, broker_url: str, tmp_path: Path, journal: Journal, start_worker: Callable[..., Worker]
) -> None:
    """The promise of early ack is weaker: what ran at the moment of death may be gone, or run again before its ack."""
    kills, threads = 60, 2
    note = app.tasks["t.note_after"]
    for number in range(600):
        note.delay(str(journal), f"{number}", 0.005)
    # What comes back is first in line, where the next one dies: by chance that is the same one more than three times.
    conf = {"task_max_crashes": 1_000_000}
    with herd(broker_url, tmp_path, cycles=kills, life=0.05, seed=2, conf=conf) as killer:
        assert killer.wait(60) == 0, killer.output()
    start_worker(env={"T_CONF": json.dumps(conf)})
    drained(app, 40)
    counts = journal.counts()
    assert 600 - len(counts) <= (kills + 2) * threads
    assert counts.total() - len(counts) <= (kills + 2) * threads
    assert raw.dead(app) == []


@pytest.mark.timeout(120)
def test_retries_survive_killed_workers_and_none_is_doubled(
    app: Celery, broker_url: str, tmp_path: Path, journal: Journal, start_worker: Callable[..., Worker]
) -> None:
    """A retry is stored in the step that settles the attempt before it: the chain neither ends nor splits."""
    conf = {"task_max_crashes": 1_000_000}
    sent = [app.tasks["t.retry"].delay(str(journal), f"{number}", 3) for number in range(400)]
    with herd(broker_url, tmp_path, cycles=60, life=0.05, seed=4, conf=conf) as killer:
        assert killer.wait(60) == 0, killer.output()
    start_worker(env={"T_CONF": json.dumps(conf)})
    drained(app, 40)
    assert [result.get(timeout=10) for result in sent] == [3] * 400
    counts = journal.counts()
    assert set(counts) == {f"{number} {attempt}" for number in range(400) for attempt in range(4)}
    # A doubled retry would run its whole rest twice; a killed worker repeats what it ran, and no more.
    assert counts.total() - len(counts) <= 62 * 2 * 64
    assert raw.dead(app) == []


@pytest.mark.timeout(60)
def test_bulk_call_of_a_killed_producer_is_stored_in_whole_steps(
    app: Celery, broker_url: str, tmp_path: Path, journal: Journal
) -> None:
    sent = Journal(tmp_path / "sent.txt")
    raw.declare(app)
    chance = random.Random(5)
    for cycle in range(8):
        argv = [sys.executable, "-m", "tests.support.sender", str(journal), str(sent), f"p{cycle}", "50"]
        with Process(argv, folder=tmp_path, env=environment(broker_url), name=f"sender{cycle}") as producer:
            sent.wait_for(lines=len(sent.lines()) + chance.randrange(1, 60), timeout=20)
            producer.kill()
            producer.wait()
    accepted = sum(line.startswith("sent") for line in sent.lines())
    assert raw.waiting(app) % 50 == 0
    assert raw.waiting(app) // 50 - accepted in range(9)


@pytest.mark.timeout(120)
def test_nothing_accepted_from_killed_producers_is_lost_or_doubled(
    app: Celery, broker_url: str, tmp_path: Path, journal: Journal, start_worker: Callable[..., Worker]
) -> None:
    sent = Journal(tmp_path / "sent.txt")
    chance = random.Random(3)
    raw.declare(app)
    for cycle in range(25):
        argv = [sys.executable, "-m", "tests.support.sender", str(journal), str(sent), f"p{cycle}"]
        with Process(argv, folder=tmp_path, env=environment(broker_url), name=f"sender{cycle}") as producer:
            started = len(sent.lines())
            sent.wait_for(lines=started + chance.randrange(1, 400), timeout=20)
            producer.kill()
            assert producer.wait() == -9
    words = [line.split(" ", 1) for line in sent.lines()]
    tried = {line for verb, line in words if verb == "try"}
    accepted = {line for verb, line in words if verb == "sent"}
    assert len(accepted) > 100
    assert raw.waiting(app) - len(accepted) in range(26)
    start_worker()
    drained(app, 40)
    counts = journal.counts()
    assert accepted <= set(counts) <= tried
    assert max(counts.values()) == 1


def deaths_until_dead_letter(app: Celery, start_worker: Callable[..., Worker]) -> int:
    """Starts workers one after the other, until one has emptied the queue; how many died before it."""
    for deaths in range(9):
        worker = start_worker(concurrency=1, wait=False)  # it may be dead before it is ready
        wait_until(
            lambda worker=worker: worker.returncode is not None or raw.waiting(app) == 0,  # type: ignore[misc]
            timeout=20,
            what="death or empty queue",
        )
        if worker.returncode is None:
            return deaths
        assert worker.returncode == -9
    raise AssertionError("nine workers died")


@pytest.mark.timeout(90)
def test_task_that_kills_its_worker_ends_in_the_dead_letter_store(
    app: Celery, journal: Journal, start_worker: Callable[..., Worker]
) -> None:
    """Three deaths by default. Its neighbours in the queue are done."""
    app.tasks["t.die"].delay(str(journal), "die", 0.2)
    quiet = [app.tasks["t.note_late"].delay(str(journal), f"{number}") for number in range(20)]
    assert deaths_until_dead_letter(app, start_worker) == 3
    (letter,) = raw.dead(app)
    assert letter.reason == "crashed"
    assert b"t.die" in letter.payload
    assert journal.counts()["die"] == 3
    assert [result.get(timeout=10) for result in quiet] == [str(number) for number in range(20)]


@pytest.mark.timeout(90)
def test_task_that_kills_its_worker_at_once_is_found_out_too(
    app: Celery, journal: Journal, start_worker: Callable[..., Worker]
) -> None:
    """The first time it dies before anybody could note that it had started. From then on that is noted first."""
    app.tasks["t.die"].delay(str(journal), "die")
    assert deaths_until_dead_letter(app, start_worker) == 3
    assert journal.counts()["die"] == 3
    assert [letter.reason for letter in raw.dead(app)] == ["crashed"]


@pytest.mark.timeout(90)
def test_neighbours_of_a_task_that_kills_at_once_are_done(
    app: Celery, journal: Journal, start_worker: Callable[..., Worker]
) -> None:
    before = [app.tasks["t.note_late"].delay(str(journal), f"{number}") for number in range(10)]
    app.tasks["t.die"].delay(str(journal), "die")
    quiet = before + [app.tasks["t.note_late"].delay(str(journal), f"{number}") for number in range(10, 20)]
    assert deaths_until_dead_letter(app, start_worker) == 3
    assert [letter.payload for letter in raw.dead(app) if b"t.die" not in letter.payload] == []
    assert [result.get(timeout=10) for result in quiet] == [str(number) for number in range(20)]
