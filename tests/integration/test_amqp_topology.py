"""An app's queues and messages on a real RabbitMQ, as pika and the server's own tool see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pika
import pytest

from celeriac import Celery, Exchange, Queue
from celeriac._entity import Broadcast, binding
from celeriac.exceptions import BrokerRefused
from tests.support.rabbitmq_server import RabbitServer
from tests.support.waiting import wait_until

# A node boots in seven seconds alone; beside other tests in more.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    with RabbitServer.start(tmp_path_factory.mktemp("rabbit")) as started:
        yield started


@pytest.fixture
def channel(server: RabbitServer) -> Iterator[Any]:
    """Any: pika has no types."""
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        yield connection.channel()


@pytest.fixture
def app(server: RabbitServer) -> Iterator[Any]:
    made: Any = Celery("topology", broker=server.url, backend="disabled://")
    yield made
    made.close()


def wait_for(channel: Any, queue: str, count: int) -> None:
    """Until `queue` has `count` messages: the server counts them a moment after it took them."""
    wait_until(
        lambda: channel.queue_declare(queue, passive=True).method.message_count == count,
        timeout=10,
        what=f"{count} messages in {queue}",
    )


def test_a_task_arrives_as_celery_would_send_it(app: Any, channel: Any) -> None:
    app.send_task("t", (1, "é"), task_id="id-1", headers={"tenant": "acme", "n": 5, "none": None, "list": [1, True]})
    method, properties, body = channel.basic_get("celery", auto_ack=True)
    assert body.startswith(b'[[1, "')
    assert (method.exchange, method.routing_key) == ("", "celery")
    assert (properties.content_type, properties.content_encoding) == ("application/json", "utf-8")
    assert (properties.correlation_id, properties.delivery_mode) == ("id-1", 2)
    headers: dict[str, Any] = {
        "task": "t",
        "id": "id-1",
        "eta": None,
        "retries": 0,
        "timelimit": [None, None],
        "stamps": {},
    }
    assert headers.items() <= properties.headers.items()
    own = {"tenant": "acme", "n": 5, "none": None, "list": [1, True]}
    assert own.items() <= properties.headers.items()


def test_declarations_are_those_of_another_client(app: Any, channel: Any) -> None:
    """A declaration that differs in anything closes pika's channel."""
    channel.exchange_declare("shop", "topic", durable=True)
    arguments = {"x-max-priority": 10, "x-expires": 60_000, "x-message-ttl": 2500, "x-max-length": 9}
    channel.queue_declare("orders", durable=True, arguments=arguments)
    app.conf.task_queues = [
        Queue(
            "orders", Exchange("shop", "topic"), "order.#", max_priority=10, expires=60, message_ttl=2.5, max_length=9
        ),
        Queue("quorum", queue_arguments={"x-queue-type": "quorum"}),
        Queue("brief", Exchange("brief", durable=False, auto_delete=True), "k", durable=False, auto_delete=True),
    ]
    app.amqp.declare(app.amqp.queues.values())
    channel.queue_declare("quorum", durable=True, arguments={"x-queue-type": "quorum"})
    channel.exchange_declare("brief", "direct", durable=False, auto_delete=True)
    channel.queue_declare("brief", durable=False, auto_delete=True)


def test_every_binding_is_made(app: Any, channel: Any) -> None:
    topic, heads = Exchange("several", "topic"), Exchange("heads", "headers")
    match = {"x-match": "all", "kind": "a", "count": 2}
    queue = Queue("both", bindings=[binding(topic, "a.#"), binding(topic, "b"), binding(heads, arguments=match)])
    app.amqp.declare([queue])
    for key, count in (("a.x", 1), ("c", 1), ("b", 2)):
        channel.basic_publish("several", key, b"")
        wait_for(channel, "both", count)
    for kind, count in (("b", 2), ("a", 3)):
        options = {"exchange": "heads", "exchange_type": "headers", "routing_key": "any", "declare": []}
        app.send_task("t", headers={"kind": kind, "count": 2}, **options)
        wait_for(channel, "both", count)


def test_what_is_there_already_must_be_there(app: Any, channel: Any) -> None:
    with pytest.raises(BrokerRefused, match="no exchange 'absent'"):
        app.amqp.declare([Queue("q1", Exchange("absent", passive=True), "k")])
    with pytest.raises(BrokerRefused, match="no exchange 'absent'"):
        app.amqp.declare([Queue("q2", Exchange("absent", no_declare=True), "k")])
    channel.exchange_declare("present", "topic", durable=False)
    app.amqp.declare([Queue("q3", Exchange("present", "topic", no_declare=True), "k")])
    app.amqp.declare([Queue("nowhere", no_declare=True)])
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="no queue 'nowhere'"):
        channel.queue_declare("nowhere", passive=True)


def test_an_argument_that_differs_is_named(app: Any, channel: Any) -> None:
    channel.queue_declare("strict", durable=True)
    with pytest.raises(BrokerRefused, match="inequivalent arg 'x-max-priority'"):
        app.amqp.declare([Queue("strict", max_priority=3)])


def test_a_broadcast_reaches_every_queue(app: Any, channel: Any) -> None:
    queues = [Broadcast("news"), Broadcast("news")]
    app.amqp.declare(queues)
    channel.basic_publish("news", "any", b"")
    for queue in queues:
        wait_for(channel, queue.name, 1)


def test_a_message_that_no_queue_takes_is_an_error_if_it_must_not(app: Any) -> None:
    options = {"exchange": "amq.direct", "routing_key": "nobody", "declare": []}
    with pytest.raises(BrokerRefused, match="mandatory=True"):
        app.send_task("t", mandatory=True, retry=False, **options)
    app.send_task("t", **options)
