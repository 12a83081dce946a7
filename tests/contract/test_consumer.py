"""What every transport promises a worker; run through a hub with one child that the test plays."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from celeriac._bridge import hub as core
from celeriac._bridge.broker import Broker, open_broker, open_results
from tests.support.node import JOBS, Node, Row, envelope
from tests.support.waiting import wait_until


@pytest.fixture(params=["sqlite", "memory", "redis", "redis-cluster"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh broker of each kind."""
    if request.param == "redis-cluster":
        return str(request.getfixturevalue("redis_cluster").url)
    if request.param == "redis":
        return str(request.getfixturevalue("redis_server").url)
    return f"sqlite:///{tmp_path / 'broker.db'}" if request.param == "sqlite" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def broker(url: str) -> Broker:
    return open_broker(url)


@pytest.fixture
def node(url: str) -> Iterator[Callable[..., Node]]:
    """`node(*queues, prefetch=…)`; each is stopped at the end."""
    made: list[Node] = []

    def make(*queues: Row, prefetch: int = 0) -> Node:
        made.append(Node(url, *queues, prefetch=prefetch))
        return made[-1]

    yield make
    for one in made:
        one.stop(cold=True)


def depth(broker: Broker, queue: str = "jobs") -> tuple[int, int, int]:
    """`(ready, delayed, held)`."""
    found = [depth for depth in broker.depths() if depth.name == queue]
    return found[0][1:] if found else (0, 0, 0)


def settled(broker: Broker) -> None:
    wait_until(lambda: depth(broker) == (0, 0, 0), timeout=10, what="empty queue")


def test_urgent_messages_come_first_and_equals_in_their_order(broker: Broker, node: Callable[..., Node]) -> None:
    for name, priority in [("d", 9), ("a", 0), ("c", 3), ("b", 0)]:
        broker.publish("", "jobs", priority, None, envelope(name))
    worker = node(prefetch=1)
    assert [worker.run(worker.jobs(1)[0]) for _ in range(4)] == ["a", "b", "c", "d"]
    settled(broker)


def test_no_more_is_held_than_the_prefetch_allows(broker: Broker, node: Callable[..., Node]) -> None:
    broker.publish_many([("", "jobs", 0, None, envelope(str(number))) for number in range(10)])
    worker = node(prefetch=2)
    first = worker.jobs(1)
    wait_until(lambda: depth(broker) == (8, 0, 2), timeout=10, what="two held")
    for job in first:
        worker.run(job)
    done = len(first)
    while done < 10:
        for job in worker.jobs(1):
            worker.run(job)
            done += 1
        assert depth(broker)[2] <= 2
    settled(broker)


def test_queues_share_and_none_starves(broker: Broker, node: Callable[..., Node]) -> None:
    for name in ["a", "b"]:
        broker.publish_many([("", name, 0, None, envelope(f"{name}{number}")) for number in range(50)])
    worker = node(("a", "", "direct", "a"), ("b", "", "direct", "b"), prefetch=4)
    seen: list[str] = []
    while len(seen) < 40:
        seen += [worker.run(job)[0] for job in worker.jobs(1)]
    assert 10 <= seen[:40].count("a") <= 30


def test_requeued_message_comes_again_and_says_so(broker: Broker, node: Callable[..., Node]) -> None:
    broker.publish("", "jobs", 0, None, envelope("a"))
    worker = node()
    first = worker.jobs(1)[0]
    assert not first.redelivered
    worker.run(first, core.OUTCOME_REQUEUE)
    second = worker.jobs(1)[0]
    assert (second.message.id, second.redelivered, second.crashes) == ("a", True, 0)
    worker.run(second)
    settled(broker)


def test_messages_of_the_future_wait_in_the_broker(broker: Broker, node: Callable[..., Node]) -> None:
    due = time.time() + 1.5
    eta = datetime.fromtimestamp(due, timezone.utc).isoformat()
    worker = node(prefetch=1)
    broker.publish("", "jobs", 0, int(due * 1000), envelope("later", eta=eta))
    wait_until(lambda: depth(broker) == (0, 1, 0), timeout=10, what="delayed message")
    broker.publish("", "jobs", 0, None, envelope("now"))
    assert worker.run(worker.jobs(1)[0]) == "now"
    assert time.time() < due
    assert worker.run(worker.jobs(1)[0]) == "later"
    assert due - 0.01 <= time.time() < due + 5
    settled(broker)


def test_end_stores_results_and_what_follows_in_one_step(url: str, broker: Broker, node: Callable[..., Node]) -> None:
    broker.publish("", "jobs", 0, None, envelope("a"))
    worker = node()
    value = b'{"status": "SUCCESS", "result": 1}'
    follow = [("", "jobs", 0, None, envelope("b")), ("", "others", 3, None, envelope("c"))]
    key = "{celeriac}k" if url.startswith("redis+cluster") else "k"
    worker.run(worker.jobs(1)[0], results=[(key, value, None, True)], publish=list(follow))
    assert worker.run(worker.jobs(1)[0]) == "b"
    assert open_results(url).get(key) == value
    assert depth(broker, "others") == (1, 0, 0)
    settled(broker)


def test_cold_stop_gives_everything_back_at_once(broker: Broker, node: Callable[..., Node]) -> None:
    broker.publish_many([("", "jobs", 0, None, envelope(str(number))) for number in range(5)])
    worker = node()
    job = worker.jobs(1)[0]
    job.start()
    wait_until(lambda: depth(broker)[2] == 5, timeout=10, what="five held")
    worker.stop(cold=True)
    assert depth(broker) == (5, 0, 0)
    second = node(prefetch=1)
    assert [second.run(second.jobs(1)[0]) for _ in range(5)] == ["0", "1", "2", "3", "4"]


def test_unreadable_message_is_kept_with_its_bytes(broker: Broker, node: Callable[..., Node]) -> None:
    broker.publish("", "jobs", 0, None, b"\xff no message")
    node()
    letters = wait_until(broker.dead_list, timeout=10, what="dead letter")
    assert [(letter.queue, letter.reason, letter.envelope) for letter in letters] == [
        ("jobs", "malformed", b"\xff no message")
    ]
    assert depth(broker) == (0, 0, 0)
    assert broker.dead_get(letters[0].id) == letters[0]
    assert broker.dead_purge([letters[0].id]) == 1
    assert broker.dead_list() == []


def test_broadcasts_reach_who_listens(broker: Broker, node: Callable[..., Node]) -> None:
    worker = node(JOBS, ("", "news", "fanout", ""))

    def heard() -> list[object]:
        # Who has only just begun to listen may miss the first ones.
        broker.broadcast("news", "", b"hello")
        return [data for kind, data in worker.hub.notices(50) if kind == "broadcast"]

    news = wait_until(heard, timeout=10, what="broadcast")
    assert news[0] == ("news", "", b"hello")


def test_queues_come_and_go(broker: Broker, node: Callable[..., Node]) -> None:
    worker = node()
    broker.publish("", "more", 0, None, envelope("a"))
    worker.hub.set_consuming(("more", "", "direct", "more"), True)
    assert worker.run(worker.jobs(1)[0]) == "a"
    worker.hub.set_consuming(("more", "", "direct", "more"), False)
    broker.publish("", "jobs", 0, None, envelope("b"))
    assert worker.run(worker.jobs(1)[0]) == "b"


@pytest.mark.parametrize("priority", [0, 6])
def test_waiting_worker_is_told_of_messages_of_any_priority(
    broker: Broker, node: Callable[..., Node], priority: int
) -> None:
    worker = node()
    took = []
    for number in range(7):
        wait_until(lambda: not worker.port.next_batch(100), timeout=5, what="idleness")
        begin = time.monotonic()
        broker.publish("", "jobs", priority, None, envelope(str(number)))
        worker.run(worker.jobs(1)[0])
        took.append(time.monotonic() - begin)
    assert statistics.median(took) < 0.3
