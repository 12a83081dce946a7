"""RabbitMQ under a worker: what it takes, ends, puts off and gives back; nothing is lost when either side fails."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from celeriac import Celery, Exchange, Queue
from celeriac._bridge import hub as core
from celeriac._bridge.broker import Broker
from celeriac._bridge.topology import queue_table
from tests.support.apps.tasks import build
from tests.support.journal import Journal
from tests.support.node import Node, envelope
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.support.worker import Worker

# A node boots in seven seconds alone; beside other tests in more.
pytestmark = pytest.mark.timeout(180)

Start = Callable[..., Worker]
DEAD = "celeriac.dead"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """A node that tests share; none may stop it or leave it changed."""
    with RabbitServer.start(tmp_path_factory.mktemp("rabbit")) as started:
        yield started


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RabbitServer]:
    """A node that the test may stop and change."""
    folder = tmp_path / "rabbit"
    folder.mkdir()
    with RabbitServer.start(folder) as started:
        yield started


@pytest.fixture
def queue() -> str:
    return f"jobs-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def channel(server: RabbitServer) -> Iterator[BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        made = connection.channel()
        made.queue_declare(DEAD, durable=True)
        made.queue_purge(DEAD)
        yield made


@pytest.fixture
def node(server: RabbitServer) -> Iterator[Callable[..., Node]]:
    """`node(queue, …)`; each is stopped at the end. Results go to memory."""
    made: list[Node] = []

    def make(*queues: str | tuple[str, str, str, str], prefetch: int = 0) -> Node:
        rows = [(name, "", "direct", name) if isinstance(name, str) else name for name in queues]
        made.append(Node(server.url, *rows, prefetch=prefetch, results="memory://"))
        return made[-1]

    yield make
    for one in made:
        one.stop(cold=True)


def ready(server: RabbitServer, queue: str) -> int:
    """Messages of a queue that nobody holds, by the word of another client."""
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


def untaken(server: RabbitServer, queue: str) -> tuple[int, int]:
    """Messages that are ready, and that are held."""
    for line in server.ctl("--quiet", "list_queues", "name", "messages_ready", "messages_unacknowledged").splitlines():
        name, *numbers = line.split("\t")
        if name == queue:
            return int(numbers[0]), int(numbers[1])
    raise AssertionError(f"no queue {queue}")


def settled(server: RabbitServer, queue: str) -> None:
    wait_until(lambda: untaken(server, queue) == (0, 0), timeout=30, what=f"empty queue {queue}")


def conf(queue: str, **more: Any) -> dict[str, Any]:
    return {"task_default_queue": queue, **more}


def env(queue: str, **more: Any) -> dict[str, str]:
    return {"T_CONF": json.dumps(conf(queue, **more))}


@pytest.fixture
def app(server: RabbitServer, queue: str, redis_server: RedisServer) -> Iterator[Celery]:
    made = build(server.url, redis_server.url, conf(queue))
    yield made
    made.close()


# --- a worker at work -------------------------------------------------------------------------------------------


def test_tasks_run_and_their_results_come_back_from_redis(
    app: Celery, server: RabbitServer, queue: str, redis_server: RedisServer, start_worker: Start, journal: Journal
) -> None:
    start_worker(server.url, backend=redis_server.url, env=env(queue), pool="prefork")
    results = [app.tasks["t.add"].delay(number, 1) for number in range(200)]
    assert [result.get(timeout=30) for result in results] == list(range(1, 201))
    assert app.tasks["t.retry"].delay(str(journal), "r", 3).get(timeout=30) == 3
    assert journal.lines() == ["r 0", "r 1", "r 2", "r 3"]
    settled(server, queue)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_message_for_later_waits_in_rabbitmq_and_comes_in_time(
    kind: str,
    server: RabbitServer,
    queue: str,
    redis_server: RedisServer,
    start_worker: Start,
    journal: Journal,
) -> None:
    more = {"task_default_queue_type": kind}
    app = build(server.url, redis_server.url, conf(queue, **more))
    start_worker(server.url, backend=redis_server.url, env=env(queue, **more), args=["--prefetch-multiplier", "1"])
    due = time.time() + 5.5
    late = [app.tasks["t.note"].apply_async((str(journal), "later"), countdown=5.5) for _ in range(10)]
    now = app.tasks["t.note"].delay(str(journal), "now")
    assert now.get(timeout=30) == "now"
    wait_until(lambda: untaken(server, queue) == (0, 0), timeout=4, what="messages on their way")
    assert [result.get(timeout=30) for result in late] == ["later"] * 10
    assert due - 0.01 <= time.time() < due + 5
    assert journal.lines() == ["now"] + ["later"] * 10
    settled(server, queue)
    app.close()


def test_a_retry_with_countdown_waits_in_rabbitmq(
    app: Celery, server: RabbitServer, queue: str, redis_server: RedisServer, start_worker: Start, journal: Journal
) -> None:
    start_worker(server.url, backend=redis_server.url, env=env(queue))
    began = time.monotonic()
    assert app.tasks["t.retry"].delay(str(journal), "r", 1, 2.5).get(timeout=30) == 1
    assert 2.5 <= time.monotonic() - began < 10
    settled(server, queue)


def test_the_greater_priority_goes_first(
    server: RabbitServer, queue: str, start_worker: Start, journal: Journal
) -> None:
    app = build(server.url, None, {"task_default_queue": queue, "task_queues": [Queue(queue, max_priority=9)]})
    for priority in [0, 5, 9, 3]:
        app.tasks["t.note"].apply_async((str(journal), f"p{priority}"), priority=priority)
    more = {"task_queue_max_priority": 9}
    start_worker(server.url, backend=None, env=env(queue, **more), concurrency=1, args=["--prefetch-multiplier", "1"])
    journal.wait_for(lines=4, timeout=30)
    assert journal.lines() == ["p9", "p5", "p3", "p0"]
    app.close()


def test_no_more_is_held_than_the_prefetch_allows(server: RabbitServer, queue: str, node: Callable[..., Node]) -> None:
    broker = Broker(server.url)
    broker.declare(queue)
    broker.publish_many([("", queue, 0, None, envelope(str(number))) for number in range(10)])
    worker = node(queue, prefetch=2)
    jobs = worker.jobs(1)
    wait_until(lambda: untaken(server, queue) == (8, 2), timeout=20, what="two held")
    seen = [worker.run(job) for job in jobs]
    while len(seen) < 10:
        seen += [worker.run(job) for job in worker.jobs(1)]
    assert seen == [str(number) for number in range(10)]
    settled(server, queue)


# --- ends -------------------------------------------------------------------------------------------------------


def test_a_requeued_message_comes_again_and_says_so(
    server: RabbitServer, queue: str, node: Callable[..., Node]
) -> None:
    broker = Broker(server.url)
    broker.declare(queue)
    broker.publish("", queue, 0, None, envelope("a"))
    worker = node(queue)
    first = worker.jobs(1)[0]
    assert not first.redelivered
    worker.run(first, core.OUTCOME_REQUEUE)
    second = worker.jobs(1)[0]
    assert (second.message.id, second.redelivered, second.crashes) == ("a", True, 0)
    worker.run(second)
    settled(server, queue)


def test_what_kills_its_children_becomes_a_dead_letter(
    app: Celery,
    server: RabbitServer,
    queue: str,
    redis_server: RedisServer,
    start_worker: Start,
    journal: Journal,
    channel: BlockingChannel,
) -> None:
    start_worker(
        server.url, backend=redis_server.url, env=env(queue, task_max_crashes=3), pool="prefork", concurrency=1
    )
    app.tasks["t.die"].delay(str(journal), "x")
    wait_until(lambda: ready(server, DEAD) == 1, timeout=60, what="dead letter")
    assert journal.lines() == ["x"] * 3
    _, properties, _ = channel.basic_get(DEAD, auto_ack=True)
    assert properties.headers["x-celeriac-reason"] == "crashed"
    assert (properties.headers["x-celeriac-queue"], properties.headers["task"]) == (queue, "t.die")
    settled(server, queue)


def test_garbage_and_unknown_tasks_are_kept(
    server: RabbitServer, queue: str, start_worker: Start, journal: Journal, channel: BlockingChannel
) -> None:
    start_worker(server.url, backend=None, env=env(queue))
    channel.basic_publish("", queue, b"\xff not a task")
    channel.basic_publish("", queue, b"[[], {}, {}]", pika.BasicProperties(headers={"task": 7, "id": [1]}))
    Broker(server.url).publish("", queue, 0, None, envelope("u", task="nobody.knows"))
    wait_until(lambda: ready(server, DEAD) == 3, timeout=30, what="dead letters")
    found = [channel.basic_get(DEAD, auto_ack=True) for _ in range(3)]
    reasons = [properties.headers["x-celeriac-reason"] for _, properties, _ in found]
    assert sorted(reasons) == ["malformed", "malformed", "unknown-task"]
    assert found[0][2] == b"\xff not a task"
    settled(server, queue)


def test_a_rejected_message_goes_to_its_queues_own_dead_letter_exchange(
    server: RabbitServer, queue: str, channel: BlockingChannel
) -> None:
    channel.queue_declare(f"{queue}-dead")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{queue}-dead"}
    node = Node(server.url, queue_table(Queue(queue, Exchange(""), queue_arguments=arguments)), results="memory://")
    Broker(server.url).publish("", queue, 0, None, envelope("r"))
    node.run(node.jobs(1)[0], core.OUTCOME_REJECT)
    wait_until(lambda: ready(server, f"{queue}-dead") == 1, timeout=20, what="rejected message")
    assert ready(server, DEAD) == 0
    node.stop()


# --- failures ---------------------------------------------------------------------------------------------------


def test_tasks_of_a_killed_worker_run_again(
    app: Celery, server: RabbitServer, queue: str, start_worker: Start, journal: Journal, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first = start_worker(server.url, backend=None, env=env(queue), concurrency=1)
    app.tasks["t.start_then_end"].delay(str(journal), "a", str(gate))
    wait_until(lambda: journal.lines() == ["start a"], timeout=20, what="the start")
    for number in range(20):
        app.tasks["t.note_late"].delay(str(journal), str(number))
    first.kill(signal.SIGKILL)
    gate.touch()
    start_worker(server.url, backend=None, env=env(queue))
    journal.wait_for(lines=23, timeout=40)
    assert sorted(journal.lines()) == sorted(["start a", "start a", "end a", *map(str, range(20))])
    settled(server, queue)


def test_a_warm_shutdown_acks_what_ended_and_gives_back_the_rest(
    app: Celery, server: RabbitServer, queue: str, start_worker: Start, journal: Journal, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first = start_worker(server.url, backend=None, env=env(queue), concurrency=1)
    app.tasks["t.start_then_end"].delay(str(journal), "a", str(gate))
    wait_until(lambda: journal.lines() == ["start a"], timeout=20, what="the start")
    for number in range(5):
        app.tasks["t.note_late"].delay(str(journal), str(number))
    first.kill(signal.SIGTERM)
    gate.touch()
    assert first.wait() == 0
    left, held = untaken(server, queue)
    assert (left + len(journal.lines()), held) == (7, 0)


def test_a_warm_shutdown_under_load_loses_and_repeats_nothing(
    app: Celery, server: RabbitServer, queue: str, start_worker: Start, journal: Journal
) -> None:
    sent = [str(number) for number in range(2000)]
    first = start_worker(server.url, backend=None, env=env(queue), pool="prefork")
    for line in sent:
        app.tasks["t.note_late"].delay(str(journal), line)
    assert first.stop() == 0
    done = len(journal.lines())
    start_worker(server.url, backend=None, env=env(queue), pool="prefork")
    journal.wait_for(lines=len(sent), timeout=40)
    settled(server, queue)
    assert done > 0
    assert sorted(journal.lines()) == sorted(sent)


def test_a_restarted_broker_loses_nothing_under_load(
    own: RabbitServer, queue: str, redis_server: RedisServer, start_worker: Start, journal: Journal
) -> None:
    app = build(own.url, redis_server.url, conf(queue))
    start_worker(own.url, backend=redis_server.url, env=env(queue), pool="prefork")
    for number in range(300):
        app.tasks["t.note_late"].delay(str(journal), str(number), 0.01)
    journal.wait_for(lines=20, timeout=30)
    own.kill()
    own.resume()
    for number in range(300, 330):
        app.tasks["t.note_late"].delay(str(journal), str(number))
    wait_until(lambda: len(journal.counts()) == 330, timeout=60, what="all tasks")
    settled(own, queue)
    app.close()


def test_a_task_that_runs_while_the_broker_restarts_runs_once(
    own: RabbitServer, queue: str, start_worker: Start, journal: Journal, tmp_path: Path
) -> None:
    app = build(own.url, None, conf(queue))
    gate = tmp_path / "gate"
    start_worker(own.url, backend=None, env=env(queue), concurrency=2)
    app.tasks["t.start_then_end"].delay(str(journal), "a", str(gate))
    journal.wait_for(lines=1, timeout=20)
    own.kill()
    own.resume()
    app.tasks["t.note_late"].delay(str(journal), "b")
    journal.wait_for(lines=2, timeout=60)
    gate.touch()
    journal.wait_for(lines=3, timeout=20)
    settled(own, queue)
    assert sorted(journal.lines()) == ["b", "end a", "start a"]
    app.close()


def test_a_queue_that_is_deleted_is_declared_and_consumed_again(
    app: Celery, server: RabbitServer, queue: str, start_worker: Start, journal: Journal, channel: BlockingChannel
) -> None:
    worker = start_worker(server.url, backend=None, env=env(queue))
    app.tasks["t.note_late"].delay(str(journal), "a")
    journal.wait_for(lines=1, timeout=20)
    channel.queue_delete(queue)
    wait_until(lambda: "consumed again" in worker.output(), timeout=20, what="a notice")
    wait_until(lambda: declared(server, queue), timeout=20, what="the queue")
    app.tasks["t.note_late"].delay(str(journal), "b")
    journal.wait_for(lines=2, timeout=20)


def declared(server: RabbitServer, queue: str) -> bool:
    try:
        return ready(server, queue) >= 0
    except pika.exceptions.ChannelClosedByBroker:
        return False


def test_acks_go_on_while_an_alarm_blocks_publishers(
    own: RabbitServer, queue: str, start_worker: Start, journal: Journal, tmp_path: Path
) -> None:
    app = build(own.url, None, conf(queue))
    gate = tmp_path / "gate"
    start_worker(own.url, backend=None, env=env(queue), concurrency=1)
    app.tasks["t.start_then_end"].delay(str(journal), "a", str(gate))
    for number in range(10):
        app.tasks["t.note_late"].delay(str(journal), str(number))
    journal.wait_for(lines=1, timeout=20)
    own.ctl("set_vm_memory_high_watermark", "0.00001")
    gate.touch()
    journal.wait_for(lines=12, timeout=20)
    settled(own, queue)
    own.ctl("set_vm_memory_high_watermark", "0.4")
    app.close()


def test_a_worker_waits_for_a_broker_that_is_away(
    own: RabbitServer, queue: str, start_worker: Start, journal: Journal
) -> None:
    app = build(own.url, None, conf(queue))
    app.tasks["t.note_late"].delay(str(journal), "a")
    own.halt()
    worker = start_worker(own.url, backend=None, env=env(queue), wait=False)
    wait_until(lambda: "RabbitMQ at" in worker.output(), timeout=30, what="a word about it")
    own.resume()
    journal.wait_for(lines=1, timeout=40)
    app.close()


# --- broadcasts -------------------------------------------------------------------------------------------------


def test_broadcasts_reach_who_listens(server: RabbitServer, queue: str, node: Callable[..., Node]) -> None:
    exchange = f"{queue}.fan"
    listeners = [node(queue, ("", exchange, "fanout", "")) for _ in range(2)]
    Broker(server.url).broadcast(exchange, "", envelope("hello"))
    for listener in listeners:
        heard: list[Any] = []

        def enough(listener: Node = listener, heard: list[Any] = heard) -> bool:
            heard.extend(data for kind, data in listener.hub.notices(20) if kind == "broadcast")
            return len(heard) == 1

        wait_until(enough, timeout=20, what="broadcast")
        assert heard[0][0] == exchange
        assert b"hello" in heard[0][2]
