"""Queues and exchanges."""

from __future__ import annotations

import pytest

from celeriac._entity import Broadcast, Exchange, Queue, as_queue, is_broadcast


def test_an_exchange_name_makes_an_exchange() -> None:
    queue = Queue("q", "ex", "key")
    assert queue.exchange == Exchange("ex", "direct")
    assert queue.routing_key == "key"


def test_options_in_the_old_style() -> None:
    queue = Queue.from_dict("q", exchange="ex", exchange_type="topic", binding_key="a.#", durable=False)
    assert (queue.exchange.name, queue.exchange.type, queue.routing_key, queue.durable) == ("ex", "topic", "a.#", False)


def test_delivery_modes_have_names() -> None:
    assert Exchange("e", delivery_mode="transient").delivery_mode == 1
    assert Exchange("e", delivery_mode=2).delivery_mode == 2


def test_an_exclusive_queue_goes_by_itself() -> None:
    assert Queue("q", exclusive=True).auto_delete


def test_a_broadcast_has_a_queue_of_its_own_each_time() -> None:
    one, other = Broadcast("news"), Broadcast("news")
    assert one.name != other.name
    assert one.exchange == Exchange("news", "fanout")
    assert one.alias == "news"
    assert is_broadcast(one)
    assert not is_broadcast(Queue("q"))


def test_another_librarys_queue_is_recognised_by_its_attributes() -> None:
    class Foreign:
        name, exchange, routing_key = "q", Exchange("e"), "k"

    assert as_queue(Foreign()).name == "q"
    with pytest.raises(TypeError, match="expected a Queue"):
        as_queue("q")
