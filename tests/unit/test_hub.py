"""The hub as a pool sees it: real threads, the memory broker, no task code."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celeriac._bridge import codec
from celeriac._bridge.broker import Broker, ResultStore
from celeriac._bridge.hub import (
    OUTCOME_FAILURE,
    OUTCOME_IGNORE,
    OUTCOME_REJECT,
    OUTCOME_REQUEUE,
    OUTCOME_RETRY,
    OUTCOME_SUCCESS,
    OUTCOME_UNDECODABLE,
    Hub,
    Job,
    Port,
)
from celeriac.exceptions import ForkedProcessError, ImproperlyConfigured
from tests.support.waiting import wait_until

QUEUE = ("jobs", "jobs", "direct", "jobs")
LONG_MS = 10_000
_names = itertools.count()


def envelope(task_id: str, task: str = "late", body: bytes = b"[[], {}, {}]", **changes: Any) -> bytes:
    headers = {"lang": "py", "task": task, "id": task_id, "eta": None, "expires": None, "retries": 0, **changes}
    content_type = headers.pop("content_type", "application/json")
    properties = {
        "correlation_id": task_id,
        "reply_to": "",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "jobs"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": task_id,
    }
    return codec.encode_envelope(headers, properties, body, content_type, "utf-8")


def result(job: Job) -> tuple[str, bytes, int | None, bool]:
    return (f"meta-{job.message.id}", b"{}", None, True)


class Node:
    """A broker, a hub on it, and what the hub has said."""

    def __init__(self, **changes: Any) -> None:
        self.url = f"memory://hub-{os.getpid()}-{next(_names)}"
        self.broker = Broker(self.url)
        self.broker.declare(*QUEUE)
        self.results = ResultStore(self.url)
        late = {"acks_late": True, "acks_on_failure": True, "reject_on_worker_lost": True, "max_crashes": 3}
        config = {
            "url": self.url,
            "options": {},
            "timeout_ms": 4000,
            "node": "worker@test",
            "queues": [QUEUE],
            "children": 1,
            "prefetch": None,
            "result_url": self.url,
            "tasks": {"late": late, "early": {}},
            "accept": ["application/json"],
            "timezone_offset_ms": 0,
            "max_message_bytes": 100_000,
            "notify": ["log", "received", "unknown", "dead", "revoked"],
        }
        self.hub = Hub(config | changes)
        self.heard: list[tuple[str, Any]] = []

    def send(self, *envelopes: bytes) -> None:
        self.broker.publish_many([("", "jobs", 0, None, one) for one in envelopes])

    def hear(self, kind: str) -> Any:
        """The next notice of a kind; those before it are remembered."""
        deadline = time.monotonic() + LONG_MS / 1000
        while True:
            for at, (said, data) in enumerate(self.heard):
                if said == kind:
                    del self.heard[at]
                    return data
            assert time.monotonic() < deadline, f"no notice {kind!r}; heard {self.heard}"
            self.heard += self.hub.notices(1000)

    def settled(self, stats: str, count: int) -> None:
        """Waits until a counter has risen; the hub publishes it when it is true."""
        wait_until(lambda: self.hub.stats()[stats] >= count, timeout=LONG_MS / 1000, what=f"{stats} >= {count}")

    def depth(self) -> tuple[int, int, int]:
        [row] = [row for row in self.broker.depths() if row.name == "jobs"]
        return row.ready, row.delayed, row.held

    def stop(self, cold: bool = False) -> None:
        self.hub.stop(cold)
        assert self.hub.join(LONG_MS)


@pytest.fixture
def make_node() -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def make(**changes: Any) -> Node:
        nodes.append(Node(**changes))
        nodes[-1].hub.start()
        return nodes[-1]

    yield make
    for node in nodes:
        node.hub.stop(cold=True)
        assert node.hub.join(LONG_MS)


def take(port: Port) -> list[Job]:
    jobs = port.next_batch(LONG_MS)
    assert jobs, "no jobs came"
    return jobs


def test_threads_share_the_work_and_every_result_is_stored(make_node: Callable[..., Node]) -> None:
    node = make_node(children=4)
    count = 2000
    ran: list[list[str]] = [[] for _ in range(4)]

    def child(port: Port, own: list[str]) -> None:
        while (jobs := port.next_batch(LONG_MS)) is not None:
            for job in jobs:
                if job.start():
                    own.append(job.message.id)
                    job.finish(OUTCOME_SUCCESS, [result(job)], [])

    threads = [threading.Thread(target=child, args=(node.hub.port(at), ran[at])) for at in range(4)]
    for thread in threads:
        thread.start()
    node.send(*(envelope(f"id-{number}") for number in range(count)))
    node.settled("ended", count)
    node.stop()
    for thread in threads:
        thread.join(10)
    assert sorted(itertools.chain(*ran)) == sorted(f"id-{number}" for number in range(count))
    assert None not in node.results.get_many([f"meta-id-{number}" for number in range(count)])
    assert node.depth() == (0, 0, 0)
    stats = node.hub.stats()
    assert stats["acked"] == count
    assert stats["cycles"] < count, "cycles carry batches"


def test_a_job_says_what_its_message_is(make_node: Callable[..., Node]) -> None:
    node = make_node()
    port = node.hub.port(0)
    node.send(envelope("a"))
    [job] = take(port)
    assert (job.message.id, job.message.task, job.message.json_payload()) == ("a", "late", ([], {}, {}))
    assert (job.queue, job.redelivered, job.crashes, job.verdict) == ("jobs", False, 0, None)
    with pytest.raises(ValueError, match="no outcome 99"):
        job.finish(99, [], [])


@pytest.mark.parametrize(
    ("task", "outcome", "dead", "ready"),
    [
        ("late", OUTCOME_SUCCESS, None, 0),
        ("late", OUTCOME_FAILURE, None, 0),
        ("late", OUTCOME_RETRY, None, 0),
        ("late", OUTCOME_IGNORE, None, 0),
        ("late", OUTCOME_REJECT, "rejected", 0),
        ("late", OUTCOME_REQUEUE, None, 1),
        ("late", OUTCOME_UNDECODABLE, "undecodable", 0),
        ("early", OUTCOME_FAILURE, None, 0),
        ("early", OUTCOME_REJECT, None, 0),
        ("early", OUTCOME_UNDECODABLE, "undecodable", 0),
    ],
)
def test_the_outcome_decides_the_answer(
    make_node: Callable[..., Node], task: str, outcome: int, dead: str | None, ready: int
) -> None:
    node = make_node(prefetch=1)
    port = node.hub.port(0)
    node.send(envelope("a", task))
    [job] = take(port)
    if outcome != OUTCOME_UNDECODABLE:
        assert job.start()
    job.finish(outcome, [result(job)], [], "why")
    node.settled("ended", 1)
    node.stop()
    assert node.depth() == (ready, 0, 0)
    assert [(letter.reason, letter.detail) for letter in node.broker.dead_list(10)] == ([(dead, "why")] if dead else [])
    assert node.results.get("meta-a") == b"{}"


def test_continuations_leave_with_the_end(make_node: Callable[..., Node]) -> None:
    node = make_node()
    port = node.hub.port(0)
    node.send(envelope("a"))
    [job] = take(port)
    job.start()
    job.finish(OUTCOME_RETRY, [], [("", "jobs", 0, None, envelope("b"))])
    [job] = take(port)
    assert job.message.id == "b"


def test_a_state_is_seen_while_the_task_runs(make_node: Callable[..., Node]) -> None:
    node = make_node()
    port = node.hub.port(0)
    node.send(envelope("a"))
    [job] = take(port)
    job.start()
    seen = node.results.generation()
    job.progress([("meta-a", b"half", None, False)])
    while node.results.get("meta-a") is None:
        seen = node.results.wait_change(seen, 10)
    assert node.results.get("meta-a") == b"half"
    job.finish(OUTCOME_SUCCESS, [result(job)], [])


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"garbage", "malformed"),
        (envelope("a", content_type="application/x-python-serialize"), "content-type"),
        (envelope("a", body=b"x" * 100_000), "oversized"),
    ],
)
def test_what_cannot_be_run_is_kept_with_its_bytes(make_node: Callable[..., Node], raw: bytes, reason: str) -> None:
    node = make_node()
    port = node.hub.port(0)
    node.send(raw, envelope("next"))
    assert node.hear("dead")[2] == reason
    [job] = take(port)
    assert job.message.id == "next"
    node.stop()
    [letter] = node.broker.dead_list(10)
    assert (letter.reason, letter.envelope) == (reason, raw)


def test_an_unknown_task_has_an_end_and_goes_to_the_dead_letters(make_node: Callable[..., Node]) -> None:
    node = make_node()
    port = node.hub.port(0)
    node.send(envelope("a", "nobody.knows"))
    [job] = take(port)
    assert job.verdict == "unknown"
    assert node.hear("unknown").task == "nobody.knows"
    job.finish(OUTCOME_IGNORE, [("meta-a", b"NotRegistered", None, False)], [])
    node.settled("ended", 1)
    node.stop()
    assert [letter.reason for letter in node.broker.dead_list(10)] == ["unknown-task"]
    assert node.results.get("meta-a") == b"NotRegistered"


def test_expired_and_revoked_tasks_are_not_run(make_node: Callable[..., Node]) -> None:
    node = make_node()
    node.hub.revoke(["b"])
    port = node.hub.port(0)
    node.send(envelope("a", expires="2020-01-01T00:00:00+00:00"), envelope("b"))
    jobs = take(port)
    jobs += take(port) if len(jobs) == 1 else []
    assert [(job.message.id, job.verdict) for job in jobs] == [("a", "expired"), ("b", "revoked")]
    for job in jobs:
        job.finish(OUTCOME_IGNORE, [result(job)], [])
    assert {node.hear("revoked")[1], node.hear("revoked")[1]} == {"expired", "revoked"}
    node.settled("ended", 2)
    node.stop()
    assert node.depth() == (0, 0, 0)
    assert node.broker.dead_list(10) == []


def test_a_far_eta_is_parked_on_the_broker_and_a_near_one_waits_here(make_node: Callable[..., Node]) -> None:
    node = make_node(prefetch=1)
    port = node.hub.port(0)
    soon = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 1))
    node.send(envelope("far", eta="2090-01-01T00:00:00+00:00"), envelope("near", eta=soon))
    [job] = take(port)
    assert job.message.id == "near"
    assert job.message.eta_ms is not None
    assert job.message.eta_ms <= time.time() * 1000
    job.start()
    job.finish(OUTCOME_SUCCESS, [], [])
    node.settled("ended", 1)
    node.stop()
    assert node.depth() == (0, 1, 0)


def test_a_naive_eta_is_in_the_workers_time_zone(make_node: Callable[..., Node]) -> None:
    node = make_node(timezone_offset_ms=-3_600_000)  # an hour behind UTC, so the time below is an hour off
    _port = node.hub.port(0)  # nothing is fetched while no child is up
    node.send(envelope("a", eta=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())))
    node.settled("parked", 1)


def test_an_explicit_prefetch_is_kept(make_node: Callable[..., Node]) -> None:
    node = make_node(prefetch=3)
    port = node.hub.port(0)
    node.send(*(envelope(f"id-{number}") for number in range(10)))
    jobs = take(port)
    node.settled("held", 3)
    assert node.depth() == (7, 0, 3)
    assert jobs[0].start()
    jobs[0].finish(OUTCOME_SUCCESS, [], [])
    node.settled("received", 4)
    assert node.depth()[0] == 6


def test_a_warm_stop_hands_back_in_order_what_has_not_started(make_node: Callable[..., Node]) -> None:
    node = make_node(prefetch=5)
    port = node.hub.port(0)
    node.send(*(envelope(f"id-{number}") for number in range(5)))
    jobs = take(port)
    assert jobs[0].start()
    node.hub.stop()
    node.settled("requeued", 4)
    assert not node.hub.join(0), "a task runs"
    jobs[0].finish(OUTCOME_SUCCESS, [result(jobs[0])], [])
    assert port.next_batch(LONG_MS) is None
    assert node.hub.join(LONG_MS)
    assert node.hear("stopped") is None
    assert node.depth() == (4, 0, 0)
    other = Hub({"url": node.url, "queues": [QUEUE], "children": 1, "tasks": {"late": {}}})
    again = other.port(0)
    other.start()
    back: list[str] = []
    while len(back) < 4:
        for job in take(again):
            assert job.start()
            assert job.crashes == 0
            back.append(job.message.id)
            job.finish(OUTCOME_SUCCESS, [], [])
    assert back == ["id-1", "id-2", "id-3", "id-4"]
    other.stop()
    assert other.join(LONG_MS)


def test_a_cold_stop_hands_back_what_runs_and_stores_nothing_of_it(make_node: Callable[..., Node]) -> None:
    node = make_node()
    port = node.hub.port(0)
    node.send(envelope("a"))
    [job] = take(port)
    assert job.start()
    node.stop(cold=True)
    job.finish(OUTCOME_SUCCESS, [result(job)], [])
    assert node.depth() == (1, 0, 0)
    assert node.results.get("meta-a") is None


def test_results_may_go_to_a_store_of_their_own(make_node: Callable[..., Node]) -> None:
    url = f"memory://results-{os.getpid()}-{next(_names)}"
    node = make_node(result_url=url)
    port = node.hub.port(0)
    node.send(envelope("a"))
    [job] = take(port)
    job.start()
    job.finish(OUTCOME_SUCCESS, [result(job)], [])
    node.settled("ended", 1)
    node.stop()
    assert ResultStore(url).get("meta-a") == b"{}"
    assert node.results.get("meta-a") is None
    assert node.depth() == (0, 0, 0)


def test_a_failure_of_the_thread_is_told_and_ends_the_pool(make_node: Callable[..., Node]) -> None:
    node = make_node()
    port = node.hub.port(0)
    node.hear("ready")
    node.hub._core._panic()
    assert "asked for by a test" in node.hear("stopped")
    assert port.next_batch(LONG_MS) is None
    assert node.hub.join(LONG_MS)


def test_signals_get_through_while_the_main_thread_waits(make_node: Callable[..., Node]) -> None:
    node = make_node()
    port = node.hub.port(0)

    class Rang(Exception):
        pass

    def ring(*_: object) -> None:
        raise Rang

    old = signal.signal(signal.SIGUSR1, ring)
    try:
        for wait in (lambda: port.next_batch(LONG_MS), lambda: [node.hub.notices(LONG_MS) for _ in range(2)]):
            timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            with pytest.raises(Rang):
                wait()
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_a_forked_child_is_refused(make_node: Callable[..., Node]) -> None:
    node = make_node()
    port = node.hub.port(0)
    node.send(envelope("a"))
    [job] = take(port)
    assert job.start()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            port.next_batch(0)
        except ForkedProcessError:
            del port, job, node  # neither hangs nor tells the parent's hub
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    job.finish(OUTCOME_SUCCESS, [], [])
    node.settled("acked", 1)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"children": 0}, "at least one child"),
        ({"notify": ["gossip"]}, "no notice of kind 'gossip'"),
        ({"url": "sqs://:secret@cache/0"}, "no transport for"),
    ],
)
def test_a_wrong_configuration_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=text) as info:
        Hub({"url": "memory://refused", "queues": [], "children": 1} | changes)
    assert "secret" not in str(info.value)


def test_there_is_one_port_a_child(make_node: Callable[..., Node]) -> None:
    node = make_node()
    port = node.hub.port(0)
    with pytest.raises(RuntimeError, match="in use"):
        node.hub.port(0)
    with pytest.raises(IndexError, match="no child 1"):
        node.hub.port(1)
    del port
    node.hub.port(0)
