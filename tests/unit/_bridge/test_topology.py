"""What a queue says, as the core takes it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celeriac import _core
from celeriac._bridge.topology import queue_table
from celeriac._entity import Broadcast, Exchange, Queue, binding
from celeriac.exceptions import EncodeError

EXCHANGE = {
    "name": "shop", "type": "topic", "durable": True, "auto_delete": False, "arguments": {},
    "passive": False, "no_declare": False,
}  # fmt: skip


def test_a_plain_queue() -> None:
    assert queue_table(Queue("orders", Exchange("shop", "topic"), "order.#")) == {
        "name": "orders",
        "bindings": [{"exchange": EXCHANGE, "routing_key": "order.#", "arguments": {}}],
        "durable": True,
        "exclusive": False,
        "auto_delete": False,
        "arguments": {},
        "consumer_arguments": {},
        "no_declare": False,
    }


def test_a_queue_of_the_default_exchange_has_no_binding() -> None:
    assert queue_table(Queue("q"))["bindings"] == []
    assert queue_table(Queue("q", Exchange("")))["bindings"] == []


def test_options_become_arguments_and_win_over_them() -> None:
    made = queue_table(
        Queue(
            "q", queue_arguments={"x-queue-type": "quorum", "x-expires": 1}, max_priority=10, expires=1.5,
            message_ttl=60, max_length=5, max_length_bytes=1 << 20, consumer_arguments={"x-priority": 3},
        )
    )  # fmt: skip
    assert made["arguments"] == {
        "x-queue-type": "quorum", "x-max-priority": 10, "x-expires": 1500, "x-message-ttl": 60_000, "x-max-length": 5,
        "x-max-length-bytes": 1 << 20,
    }  # fmt: skip
    assert made["consumer_arguments"] == {"x-priority": 3}


def test_bindings_take_the_place_of_the_exchange() -> None:
    shop = Exchange("shop", "topic")
    match = {"x-match": "all", "kind": "a", "count": 1, "yes": True}
    keys = [binding(shop, "a.#"), binding(Exchange("heads", "headers", durable=False), arguments=match)]
    for queue in (Queue("q", shop, "x", bindings=keys), Queue("q", keys)):
        first, second = queue_table(queue)["bindings"]
        assert (first["exchange"], first["routing_key"]) == (EXCHANGE, "a.#")
        assert (second["exchange"]["type"], second["exchange"]["durable"], second["arguments"]) == (
            "headers", False, match,
        )  # fmt: skip


def test_binding_arguments_of_a_queue_and_what_is_there_already() -> None:
    exchange = Exchange("shop", "headers", passive=True, no_declare=True, auto_delete=True, arguments={"a": 1})
    made = queue_table(Queue("q", exchange, binding_arguments={"x-match": "any"}, no_declare=True, exclusive=True))
    assert (made["no_declare"], made["exclusive"], made["auto_delete"]) == (True, True, True)
    row = made["bindings"][0]
    assert row["arguments"] == {"x-match": "any"}
    assert row["exchange"] == EXCHANGE | {
        "type": "headers", "passive": True, "no_declare": True, "auto_delete": True, "arguments": {"a": 1},
    }  # fmt: skip


def test_a_broadcast_is_a_queue_of_its_own_that_goes_with_its_worker() -> None:
    made = queue_table(Broadcast("news"))
    assert made["name"].startswith("bcast.")
    assert (made["auto_delete"], made["durable"]) == (True, True)
    assert [(row["exchange"]["name"], row["exchange"]["type"]) for row in made["bindings"]] == [("news", "fanout")]


def test_foreign_queues_need_only_what_they_have() -> None:
    foreign: Any = SimpleNamespace(name="q", exchange=SimpleNamespace(name="ex", type=None), routing_key=None)
    assert queue_table(foreign)["bindings"][0]["exchange"]["type"] == "direct"
    assert queue_table(SimpleNamespace(name="q", exchange="ex", routing_key="k"))["bindings"][0]["routing_key"] == "k"


def test_the_core_takes_every_type_and_names_what_it_cannot_take() -> None:
    broker = _core.Broker("memory://topology", {}, 1000)
    nested = {"flag": True, "int": 2**40, "text": "é", "float": 0.5, "none": None, "list": [1, {"a": b"b"}]}
    broker.declare(queue_table(Queue("q", queue_arguments=nested, binding_arguments=nested)))
    with pytest.raises(EncodeError, match=r"queue 'q': argument 'bad'.*object"):
        broker.declare(queue_table(Queue("q", queue_arguments={"bad": object()})))
    broker.close()
