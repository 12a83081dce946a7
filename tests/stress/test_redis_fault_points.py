"""A worker on Redis dies at an exact point of its talk with the server: before a step is heard, or after it is done.

The proxy stops passing bytes at that point, so nothing that the worker would do next comes through; then it is killed.
"""

from __future__ import annotations

import sys
from typing import Any, Literal, NamedTuple

import pytest
import redis

from tests.support.faults import Trial
from tests.support.proxy import Direction, Proxy
from tests.support.redis_scripts import load_scripts
from tests.support.redis_server import RedisServer
from tests.support.stock import Stock
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform != "linux", reason="the prefork pool needs Linux"),
]

CONF = {"task_max_crashes": 1_000_000, "broker_transport_options": {"lease": 1}}
Side = Literal["before", "after"]
WAYS: dict[Side, Direction] = {"before": "up", "after": "down"}


class Point(NamedTuple):
    """A step of the worker's. `marker`: bytes of it that no other step has; `{claim}` is the claim script's name."""

    marker: str
    task: str
    more: tuple[Any, ...]
    before: Stock
    """What the server must hold if it never heard of the step: the proof that the moment was the right one."""
    after: Stock
    """What it holds if it did the step."""
    ran: int
    """How often the task has noted its line by then."""


READY, HELD, NOTHING = Stock(1, 0, 0, 0), Stock(0, 1, 0, 0), Stock(0, 0, 0, 0)
POINTS = {
    # The message was there first: the worker asks for it.
    "fetch": Point("{claim}", "t.note_late", (), READY, HELD, 0),
    # The worker was there first and blocks. The claim behind the blocking command is what is not heard: the message is
    # on the worker's own list.
    "wake": Point("RIGHT\r\n$4\r\nLEFT\r\n$1\r\n3\r\n", "t.note_late", (), HELD, HELD, 0),
    "start": Point("SADD\r\n$53\r\nceleriac.started.", "t.note_late", (0.4,), HELD, HELD, 0),
    "finish": Point("celeriac.result", "t.note_late", (), HELD, NOTHING, 1),
    # The next attempt is stored in the step that settles the one before it, and is taken by who waits.
    "retry": Point("celeriac.state", "t.note_retried", (), HELD, HELD, 0),
}


@pytest.fixture
def claim(redis_server: RedisServer) -> str:
    """The claim script's name. All scripts are known to the server, so that the first call of each is not refused."""
    with redis.Redis(port=redis_server.port) as line:
        return load_scripts(line)["claim"]


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("name", POINTS)
def test_a_worker_killed_at_a_point_of_its_talk_loses_nothing(
    trial: Trial, proxy: Proxy, redis_server: RedisServer, claim: str, name: str, side: Side
) -> None:
    point = POINTS[name]
    marker = point.marker.format(claim=claim).encode()
    after = len(marker) if name == "wake" and side == "before" else 0
    if name == "fetch":
        trial.send(1, *point.more, task=point.task)
        cut = proxy.cut(WAYS[side], marker=marker, how="hang")
        worker = trial.worker(wait=False)
    elif name == "wake":
        cut = proxy.cut(WAYS[side], after=after, marker=marker, how="hang")
        worker = trial.worker()
        if side == "before":
            cut.wait(20)
        trial.send(1, *point.more, task=point.task)
        wait_until(lambda: trial.stock() == HELD, timeout=20, what="message that was taken")
    else:
        worker = trial.worker()
        cut = proxy.cut(WAYS[side], marker=marker, how="hang")
        trial.send(1, *point.more, task=point.task)
    cut.wait(20)
    worker.kill()
    worker.wait()
    expected = point.before if side == "before" else point.after
    assert trial.stock() == expected
    assert trial.journal.counts().total() == point.ran
    with redis.Redis(port=redis_server.port) as line:
        held = b"".join(line.hvals("unacked"))
        assert (b'"retries": 1' in held or b'"retries":1' in held) == (name == "retry" and side == "after"), held
        assert len(line.keys("celeriac.inflight.*")) == (name == "wake" and side == "before")
    proxy.heal()
    trial.worker()
    assert trial.settle() == NOTHING
    # Only what had run and could not say so runs again.
    assert trial.account() == (point.ran if expected == HELD else 0)
    assert set(trial.journal.counts()) == set(trial.accepted)
    with redis.Redis(port=redis_server.port) as line:
        wait_until(lambda: not line.keys("celeriac.inflight.*"), timeout=10, what="no list of a dead worker")
    assert trial.stock() == NOTHING
