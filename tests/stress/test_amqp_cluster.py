"""Three RabbitMQ nodes with a quorum queue: a producer goes on when the node that it talks to is killed."""

from __future__ import annotations

import json
from pathlib import Path

import pika
import pytest

from celeriac._bridge.broker import Broker
from celeriac.exceptions import BrokerUnavailable
from tests.support.rabbitmq_server import RabbitCluster

# Three virtual machines boot and elect.
pytestmark = [pytest.mark.stress, pytest.mark.timeout(240)]

ENVELOPE = json.dumps(
    {
        "body": "W1tdLCB7fSwge31d",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"id": "1", "task": "t.nobody"},
        "properties": {"delivery_mode": 2, "body_encoding": "base64", "delivery_tag": "1"},
    }
).encode()


def test_a_producer_goes_on_at_the_next_node(tmp_path: Path) -> None:
    with RabbitCluster(tmp_path) as cluster:
        last = pika.URLParameters(cluster.nodes[2].url)
        with pika.BlockingConnection(last) as line:
            line.channel().queue_declare("jobs", durable=True, arguments={"x-queue-type": "quorum"})
        broker = Broker(cluster.url, timeout=60)
        batch = [("", "jobs", 0, None, ENVELOPE)] * 50
        assert broker.publish_many(batch) == 50
        cluster.nodes[0].kill()
        assert broker.publish_many(batch) == 50
        with pika.BlockingConnection(last) as line:
            channel = line.channel()
            taken = sum(1 for _ in range(100) if channel.basic_get("jobs", auto_ack=True)[0] is not None)
        assert taken == 100
        # One of three is no majority: nothing is confirmed, and that is said in time.
        cluster.nodes[1].kill()
        with pytest.raises(BrokerUnavailable):
            Broker(cluster.nodes[2].url, timeout=3).publish_many(batch)
