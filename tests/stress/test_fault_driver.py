"""The fault tests' driver itself: it sees a clean run, a kill, a loss, an invention. On the embedded broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.apps.tasks import build
from tests.support.faults import Trial
from tests.support.journal import note
from tests.support.stock import EmbeddedStock, Stock
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stress


@pytest.fixture
def trial(broker_url: str, tmp_path: Path) -> Iterator[Trial]:
    observer = build(broker_url)
    with Trial(broker_url, tmp_path, EmbeddedStock(observer), conf={"task_max_crashes": 1_000_000}) as made:
        yield made
    observer.close()


def test_a_killed_worker_loses_nothing_and_the_account_is_settled(trial: Trial) -> None:
    trial.send(300)
    assert trial.stock() == Stock(300, 0, 0, 0)
    worker = trial.worker()
    trial.wait_done(50)
    worker.kill()
    worker.wait()
    ran = trial.journal.counts().total()
    trial.account()  # at any moment: what is not done is kept
    trial.worker()
    assert trial.settle() == Stock(0, 0, 0, 0)
    assert trial.account() <= ran  # only what the killed worker had run and not yet settled may run again
    assert set(trial.journal.counts()) == set(trial.accepted)


def test_parked_and_dead_messages_are_in_the_account(trial: Trial) -> None:
    trial.conf["task_max_crashes"] = 1
    trial.send(5, countdown=3600)
    trial.send(1, 0.2, task="t.die")
    assert trial.stock() == Stock(1, 0, 5, 0)
    assert trial.worker().wait() == -9
    trial.worker()
    wait_until(lambda: trial.stock().dead, timeout=20, what="dead letter")
    assert trial.stock() == Stock(0, 0, 5, 1)
    assert trial.account() == 0


def test_a_lost_task_is_found(trial: Trial) -> None:
    trial.send(3)
    trial.app.broker.purge("celery")
    with pytest.raises(AssertionError, match="3 lost: 3 sent, 0 of them done"):
        trial.account()


def test_a_made_up_task_is_found(trial: Trial) -> None:
    trial.send(1)
    note(str(trial.journal), "n7")
    with pytest.raises(AssertionError, match=r"never sent: \['n7'\]"):
        trial.account()


def test_a_doubled_message_is_a_repeat(trial: Trial) -> None:
    trial.send(1)
    for _ in range(3):
        note(str(trial.journal), "n0")
    assert trial.account() == 2


def test_more_kept_than_sent_is_found(trial: Trial) -> None:
    trial.send(1)
    trial.app.tasks["t.noop"].delay()
    with pytest.raises(AssertionError, match="more is kept than was ever sent"):
        trial.account()


def test_what_does_not_settle_says_what_is_left(trial: Trial) -> None:
    trial.send(2)
    with pytest.raises(TimeoutError, match="ready=2"):
        trial.settle(timeout=0.1)
