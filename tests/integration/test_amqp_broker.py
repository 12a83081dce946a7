"""RabbitMQ as a broker for producers: what arrives, and what is said when something fails. Pika reads what was sent."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from celeriac._bridge.broker import Broker
from celeriac.exceptions import BrokerFull, BrokerRefused, BrokerUnavailable, ImproperlyConfigured
from tests.support.certificate import certificate
from tests.support.rabbitmq_server import HOST, RabbitServer, free_port
from tests.support.waiting import wait_until

# A node boots in seven seconds alone; beside other tests in more.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """A node that tests share; none may stop it or leave it changed."""
    config = ["auth_mechanisms.1 = PLAIN", "auth_mechanisms.2 = AMQPLAIN", "channel_max = 64", "frame_max = 8192"]
    with RabbitServer.start(tmp_path_factory.mktemp("rabbit"), config=config) as started:
        yield started


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RabbitServer]:
    """A node that the test may stop and change."""
    with RabbitServer.start(tmp_path) as started:
        yield started


@pytest.fixture
def queue() -> str:
    return f"jobs-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def pika_channel(server: RabbitServer) -> Iterator[Any]:
    """Any: pika has no types."""
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        yield connection.channel()


def envelope(body: bytes = b"[[2, 3], {}, {}]", priority: int = 0, **headers: object) -> bytes:
    """A message as Kombu writes it for Redis."""
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"id": str(uuid.uuid4()), "task": "t.add", **headers},
            "properties": {
                "correlation_id": "c-1",
                "reply_to": "r-1",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "jobs"},
                "priority": priority,
                "body_encoding": "base64",
                "delivery_tag": "t-1",
            },
        }
    ).encode()


def ready(server: RabbitServer, queue: str) -> int:
    """Messages of a queue, by the word of another client."""
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


def test_a_message_arrives_as_celery_writes_it(server: RabbitServer, queue: str, pika_channel: Any) -> None:
    broker = Broker(server.url)
    broker.declare(queue)
    # No float: pika reads them as integers.
    headers = {"retries": 1, "eta": None, "timelimit": [None, 2], "big": 2**40, "yes": True, "stamps": {"a": ["é\n"]}}
    assert broker.publish("", queue, 0, None, envelope(b'"\xff"', priority=3, **headers)) == 1
    method, properties, body = pika_channel.basic_get(queue, auto_ack=True)
    assert body == b'"\xff"'
    assert {name: properties.headers[name] for name in headers} == headers
    assert (properties.content_type, properties.content_encoding) == ("application/json", "utf-8")
    assert (properties.correlation_id, properties.reply_to) == ("c-1", "r-1")
    assert (properties.delivery_mode, properties.priority) == (2, 3)
    assert (method.routing_key, method.redelivered) == (queue, False)


def test_a_body_of_many_frames_arrives_whole(server: RabbitServer, queue: str, pika_channel: Any) -> None:
    """The node agrees on frames of 8192 bytes, RabbitMQ 4.1's least."""
    broker = Broker(server.url, timeout=60)
    broker.declare(queue)
    body = os.urandom(5_000_000)
    assert broker.publish("", queue, 0, None, envelope(body)) == 1
    assert pika_channel.basic_get(queue, auto_ack=True)[2] == body


def test_a_batch_is_confirmed_whole_and_in_order(server: RabbitServer, queue: str, pika_channel: Any) -> None:
    broker = Broker(server.url, {"confirm_window": 100}, timeout=60)
    broker.declare(queue)
    count = 3000
    batch = [("", queue, 0, None, envelope(b"%d" % number)) for number in range(count)]
    assert broker.publish_many(batch) == count
    assert ready(server, queue) == count
    bodies = [pika_channel.basic_get(queue, auto_ack=True)[2] for _ in range(count)]
    assert bodies == [b"%d" % number for number in range(count)]


def test_exchanges_route_and_what_no_queue_wants_is_counted(server: RabbitServer, queue: str) -> None:
    broker = Broker(server.url)
    broker.declare(queue, f"x-{queue}", "topic", "order.#")
    batch = [(f"x-{queue}", key, 0, None, envelope()) for key in ("order.new", "order", "bill.new")]
    assert broker.publish_many(batch) == 2
    assert broker.publish("", f"nobody-{queue}", 0, None, envelope()) == 0
    assert [(depth.name, depth.ready) for depth in broker.depths()] == [(queue, 2)]
    assert (broker.purge(queue), broker.purge(queue), broker.purge(f"nobody-{queue}")) == (2, 0, 0)
    with pytest.raises(BrokerRefused, match="404 NOT_FOUND.*no exchange"):
        broker.publish("nowhere", "k", 0, None, envelope())
    assert broker.publish("", queue, 0, None, envelope()) == 1  # on the same connection


def test_a_broadcast_reaches_who_listens(server: RabbitServer, queue: str, pika_channel: Any) -> None:
    broker = Broker(server.url)
    broker.broadcast(f"fan-{queue}", "", envelope())  # nobody has declared it
    pika_channel.exchange_declare(f"fan-{queue}", "fanout")
    pika_channel.queue_declare(queue, exclusive=True)
    pika_channel.queue_bind(queue, f"fan-{queue}")
    broker.broadcast(f"fan-{queue}", "", envelope(b"hello"))
    assert pika_channel.basic_get(queue, auto_ack=True)[2] == b"hello"


def test_a_declaration_that_differs_names_the_argument(server: RabbitServer, queue: str, pika_channel: Any) -> None:
    pika_channel.queue_declare(queue, durable=True, arguments={"x-max-priority": 5})
    with pytest.raises(BrokerRefused, match=r"inequivalent arg 'x-max-priority'.*queue.declare.*declare it as it is"):
        Broker(server.url).declare(queue)


def test_a_full_queue_is_an_error_of_its_own(server: RabbitServer, queue: str, pika_channel: Any) -> None:
    pika_channel.queue_declare(queue, durable=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    broker = Broker(server.url)
    with pytest.raises(BrokerFull, match="did not keep 3 of 5 messages"):
        broker.publish_many([("", queue, 0, None, envelope()) for _ in range(5)])
    assert ready(server, queue) == 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://guest:wrong@{place}//", "refuses user 'guest'.*ACCESS_REFUSED"),
        ("amqp://guest:guest@{place}/nowhere", "virtual host 'nowhere'.*add_vhost"),
        ("amqp://guest:guest@{place}//?login_method=EXTERNAL", "ssl_certfile"),
        ("amqps://guest:guest@{place}//", "TLS with RabbitMQ"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(server: RabbitServer, url: str, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words) as raised:
        Broker(url.format(place=f"{HOST}:{server.port}")).publish("", "q", 0, None, envelope())
    assert "wrong" not in str(raised.value)


def test_another_login_method(server: RabbitServer, queue: str) -> None:
    broker = Broker(f"{server.url}?login_method=AMQPLAIN")
    broker.declare(queue)
    assert broker.publish("", queue, 0, None, envelope()) == 1


def test_what_amqp_cannot_carry_is_refused_and_the_connection_goes_on(server: RabbitServer, queue: str) -> None:
    broker = Broker(server.url, {"max_message_bytes": 100_000})
    broker.declare(queue)
    for bad in (envelope(huge=2**70), envelope(long="x" * 9000), envelope(b"x" * 100_000), b"{}x"):
        with pytest.raises(BrokerRefused):
            broker.publish("", queue, 0, None, bad)
    with pytest.raises(BrokerRefused, match="255 bytes"):
        broker.publish("", "k" * 256, 0, None, envelope())
    assert broker.publish("", queue, 0, None, envelope()) == 1


def test_a_server_that_is_not_there_is_an_error_within_the_time(queue: str) -> None:
    broker = Broker(f"amqp://{HOST}:{free_port()}", timeout=2)
    with pytest.raises(BrokerUnavailable, match="no connection to RabbitMQ at"):
        broker.publish("", queue, 0, None, envelope())


def test_a_server_that_says_nothing_is_an_error_within_the_time(queue: str) -> None:
    with socket.create_server((HOST, 0)) as silent:
        broker = Broker(f"amqp://{HOST}:{silent.getsockname()[1]}", timeout=0.5)
        with pytest.raises(BrokerUnavailable, match="did not answer in time"):
            broker.publish("", queue, 0, None, envelope())


def test_what_does_not_speak_amqp_is_named(queue: str) -> None:
    with socket.create_server((HOST, 0)) as server:
        broker = Broker(f"amqp://{HOST}:{server.getsockname()[1]}", timeout=20)
        if (child := os.fork()) == 0:
            line, _ = server.accept()
            line.recv(8)
            line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            os._exit(0)
        with pytest.raises(ImproperlyConfigured, match="does not speak AMQP 0-9-1"):
            broker.publish("", queue, 0, None, envelope())
        os.waitpid(child, 0)


def test_the_next_server_of_a_list_is_tried(server: RabbitServer, queue: str) -> None:
    broker = Broker(f"amqp://{HOST}:{free_port()};{server.url}", timeout=20)
    broker.declare(queue)
    assert broker.publish("", queue, 0, None, envelope()) == 1


def test_a_forked_child_publishes_on_a_connection_of_its_own(server: RabbitServer, queue: str) -> None:
    broker = Broker(server.url, timeout=30)
    broker.declare(queue)
    broker.publish("", queue, 0, None, envelope())
    children = []
    for _ in range(3):
        if (child := os.fork()) == 0:
            done = 1
            try:
                done = 0 if broker.publish_many([("", queue, 0, None, envelope())] * 20) == 20 else 1
                broker.close()  # the parent's connection is not the child's to close
            finally:
                os._exit(done)
        children.append(child)
    assert broker.publish_many([("", queue, 0, None, envelope())] * 20) == 20
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert broker.publish("", queue, 0, None, envelope()) == 1
    assert ready(server, queue) == 82


def test_a_goodbye_is_said(server: RabbitServer, queue: str) -> None:
    """A server that is left without a word logs a warning for each connection."""
    broker = Broker(server.url, {"client_name": f"leaves-{queue}"})
    broker.declare(queue)
    broker.close()
    told = f"leaves-{queue}"
    wait_until(lambda: server.log.read_text().count(told) > 1, timeout=20, what="line about the end of the connection")
    warnings = [line for line in server.log.read_text().splitlines() if told in line and "closed unexpectedly" in line]
    assert not warnings


# --- servers that fail ---------------------------------------------------------------------------------------------


@pytest.mark.stress
def test_a_producer_outlives_restarts_of_its_server(own: RabbitServer, queue: str) -> None:
    broker = Broker(own.url, timeout=30)
    broker.declare(queue)
    assert broker.publish("", queue, 0, None, envelope()) == 1
    own.halt()
    with pytest.raises(BrokerUnavailable):
        Broker(own.url, timeout=1).publish("", queue, 0, None, envelope())
    own.resume()
    assert broker.publish("", queue, 0, None, envelope()) == 1
    own.kill()
    own.resume()
    assert broker.publish("", queue, 0, None, envelope()) == 1
    assert ready(own, queue) == 3


@pytest.mark.stress
def test_an_alarm_is_an_error_within_the_time_and_publishing_goes_on_after_it(own: RabbitServer, queue: str) -> None:
    broker = Broker(own.url, timeout=2)
    broker.declare(queue)
    own.ctl("set_vm_memory_high_watermark", "0.0000001")
    wait_until(lambda: "memory resource limit alarm set" in own.log.read_text(), timeout=30, what="alarm")
    with pytest.raises(BrokerUnavailable, match="takes no messages now"):
        broker.publish("", queue, 0, None, envelope())
    own.ctl("set_vm_memory_high_watermark", "0.6")
    wait_until(
        lambda: "memory resource limit alarm cleared" in own.log.read_text(), timeout=30, what="end of the alarm"
    )
    assert Broker(own.url, timeout=30).publish("", queue, 0, None, envelope()) == 1


@pytest.mark.stress
def test_a_frozen_server_is_an_error_within_the_time(own: RabbitServer, queue: str) -> None:
    broker = Broker(own.url, timeout=1)
    broker.declare(queue)
    own.signal(signal.SIGSTOP)
    try:
        with pytest.raises(BrokerUnavailable, match="did not answer in time"):
            broker.publish_many([("", queue, 0, None, envelope(b"x" * 10_000))] * 2000)
    finally:
        own.signal(signal.SIGCONT)


@pytest.mark.stress
def test_tls_by_the_options_of_the_url(tmp_path: Path, queue: str) -> None:
    (crt, key), port = certificate(tmp_path), free_port()
    config = [f"listeners.ssl.1 = {HOST}:{port}", f"ssl_options.cacertfile = {crt}", f"ssl_options.certfile = {crt}"]
    config += [f"ssl_options.keyfile = {key}", "ssl_options.verify = verify_none"]
    with RabbitServer.start(tmp_path, config=config):

        def publish(host: str, options: str, **table: object) -> int:
            broker = Broker(f"amqps://{host}:{port}//?{options}", table, timeout=30)
            broker.declare(queue)
            return broker.publish("", queue, 0, None, envelope(b"x" * 300_000))

        # The certificate is for the address, not for the name.
        assert publish(HOST, f"ssl_ca_certs={crt}") == 1
        assert publish("localhost", f"ssl_ca_certs={crt}&ssl_check_hostname=false") == 1
        assert publish("localhost", f"ssl_ca_certs={crt}&ssl_server_hostname={HOST}") == 1
        assert publish("localhost", "ssl_cert_reqs=CERT_NONE") == 1
        assert publish(HOST, "heartbeat=0", ssl={"ca_certs": str(crt)}) == 1
        for host, options in ((HOST, ""), ("localhost", f"ssl_ca_certs={crt}")):
            with pytest.raises(ImproperlyConfigured, match="TLS with RabbitMQ.*ssl_ca_certs"):
                publish(host, options)
