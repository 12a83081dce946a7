"""Messages of an app whose broker is RabbitMQ: made in AMQP's form."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from celeriac._bridge.codec import Message
from celeriac.exceptions import EncodeError


@pytest.fixture
def app(app: Any, broker: Any) -> Any:
    app.conf.broker_url = "amqp://nowhere.invalid"
    app._broker = broker
    return app


def sent(broker: Any, index: int = -1) -> Message:
    return Message.scan(broker.published[index][-1])


def test_a_task_message_says_what_an_envelope_would(app: Any, broker: Any) -> None:
    app.send_task("t", (1, "é"), {"k": None}, task_id="id-1", priority=5, expires=60)
    message = sent(broker)
    assert (message.id, message.task, message.protocol) == ("id-1", "t", 2)
    assert message.json_payload()[:2] == ([1, "é"], {"k": None})
    assert message.content_type == "application/json"
    properties = message.properties()
    assert properties["delivery_info"] == {"exchange": "", "routing_key": "celery"}
    assert {name: properties[name] for name in ("correlation_id", "delivery_mode", "priority", "expiration")} == {
        "correlation_id": "id-1", "delivery_mode": 2, "priority": 5, "expiration": properties["expiration"],
    }  # fmt: skip
    assert 55_000 < int(str(properties["expiration"])) <= 60_000
    # A greater number goes first on RabbitMQ; the worker's queues are by urgency.
    assert message.priority == 4


def test_the_body_is_not_put_in_base64(app: Any, broker: Any) -> None:
    app.send_task("t", ("x" * 1000,))
    assert b"x" * 1000 in broker.published[-1][-1]


@pytest.mark.parametrize(("options", "flags"), [({}, 0), ({"mandatory": True}, 1), ({"mandatory": False}, 0)])
def test_mandatory_is_part_of_the_message(app: Any, broker: Any, options: dict[str, Any], flags: int) -> None:
    app.send_task("t", **options)
    assert broker.published[-1][-1][:2] == bytes([1, flags])


def test_many_calls_are_in_that_form_too(app: Any, broker: Any) -> None:
    @app.task(name="t", shared=False)
    def t(number: int) -> None: ...

    t.apply_many([((number,), {}) for number in range(3)])
    assert [sent(broker, index).json_payload()[0] for index in range(3)] == [[0], [1], [2]]


def test_headers_keep_their_types(app: Any, broker: Any) -> None:
    headers = {"text": "é", "big": 2**40, "none": None, "list": [1, 0.5], "dict": {"a": True}, "money": Decimal("1.50")}
    app.send_task("t", headers=headers)
    got = sent(broker).headers()
    assert {name: got[name] for name in headers} == headers


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"headers": {"who": object()}}, "header 'who'"),
        ({"headers": {"huge": 2**63}}, "header 'huge'.*64 bits"),
        ({"headers": {"x" * 256: 1}}, "255 bytes"),
        ({"reply_to": "x" * 256}, "property 'reply_to' has 256 bytes"),
        ({"timestamp": "noon"}, "property 'timestamp'"),
    ],
)
def test_what_amqp_cannot_hold_is_named(app: Any, broker: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(EncodeError, match=told):
        app.send_task("t", **options)
    assert broker.published == []


def test_circular_headers_end(app: Any) -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(EncodeError, match="nests"):
        app.send_task("t", headers=loop)


def test_other_brokers_get_envelopes(app: Any, broker: Any) -> None:
    app.send_task("t")
    app.conf.broker_url = "memory://other"
    app._broker = broker
    app.send_task("t")
    assert [publication[-1][:1] for publication in broker.published] == [b"\x01", b"{"]
