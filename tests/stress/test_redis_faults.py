"""Redis, its connections and its workers die; nothing accepted is lost. Each test ends with the trial's account."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import Trial, redis_trial
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.stress, pytest.mark.timeout(120)]

TASKS = 400
# A killed worker's tasks come back when its lease has run out.
CONF = {"task_max_crashes": 1_000_000, "broker_transport_options": {"lease": 2}}


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy.start(redis_server.port) as made:
        yield made


@pytest.fixture(params=["threads", "prefork"])
def trial(request: pytest.FixtureRequest, redis_server: RedisServer, proxy: Proxy, tmp_path: Path) -> Iterator[Trial]:
    """Workers reach the server through the proxy."""
    with redis_trial(redis_server, tmp_path, proxy=proxy, pool=request.param, conf=CONF) as made:
        yield made


def test_a_killed_workers_tasks_are_done_by_another(trial: Trial) -> None:
    trial.send(TASKS, 0.002)
    worker = trial.worker()
    trial.wait_done(TASKS // 10)
    worker.kill()
    worker.wait()
    trial.account()
    trial.worker()
    trial.settle()
    trial.account()
    assert set(trial.journal.counts()) == set(trial.accepted)


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize(("direction", "after"), [("up", 100), ("down", 0), ("down", 1000)])
def test_a_connection_cut_in_a_message_loses_nothing(
    trial: Trial, proxy: Proxy, how: str, direction: str, after: int
) -> None:
    trial.send(TASKS, 0.002)
    trial.worker()
    trial.wait_done(TASKS // 10)
    cut = proxy.cut(direction, after=after, how=how)  # type: ignore[arg-type]
    cut.wait(30)
    trial.settle()
    trial.account()
    assert set(trial.journal.counts()) == set(trial.accepted)
