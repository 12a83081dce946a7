"""Routes and queues: where a task goes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from celeriac import Celery
from celeriac._entity import Broadcast, Exchange, Queue
from celeriac.app._queues import Queues
from celeriac.app.routes import MapRoute, prepare
from celeriac.exceptions import QueueNotFound


def routed(routes: Any, name: str = "proj.add", options: Any = None, **settings: Any) -> Any:
    """Exchange and routing key of a task, sent with `options`."""
    app = Celery("r", set_as_current=False, task_routes=routes, broker="memory://", **settings)
    out = app.amqp.message(name, "id", (), {}, options or {})
    return out.exchange, out.routing_key


@pytest.mark.parametrize(
    "routes",
    [
        {"proj.add": "q"},
        {"proj.add": {"queue": "q"}},
        {"proj.*": "q"},
        {re.compile(r"proj\.(add|sub)"): {"queue": "q"}},
        [("other.*", "x"), ("proj.*", "q")],
        ([("proj.*", "q")],),
        [{"other": "x"}, {"proj.add": "q"}],
        lambda name, args, kwargs, options, task=None, **kw: {"queue": "q"},
        [lambda *a, **kw: None, lambda *a, **kw: "q"],
        "tests.unit.app.test_routes:route_by_path",
        "tests.unit.app.test_routes.OldRouter",
        {"proj.add": "q", "proj.*": "x"},
        {"proj.*": "x", "proj.add": "q"},
    ],
)
def test_every_form_of_router(routes: Any) -> None:
    assert routed(routes) == ("", "q")


def route_by_path(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
    return {"queue": "q"}


class OldRouter:
    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
        return "q" if task == "proj.add" else None


def test_no_route_is_the_default_queue() -> None:
    assert routed({"other.*": "q"}) == ("", "celery")
    assert routed(None, task_default_queue="d") == ("", "d")


def test_what_the_call_says_wins_over_the_route() -> None:
    assert routed({"proj.add": {"queue": "q"}}, options={"queue": "mine"}) == ("", "mine")
    assert routed({"proj.add": {"queue": "q"}}, options={"queue": None}) == ("", "q")


def test_a_route_may_set_more_than_the_queue() -> None:
    app: Any = Celery("r", set_as_current=False, broker="memory://", task_routes={"*": {"queue": "q", "priority": 3}})
    assert app.amqp.message("t", "id", (), {}, {}).properties["priority"] == 3
    assert app.amqp.message("t", "id", (), {}, {"priority": 5}).properties["priority"] == 5


def test_a_router_that_is_given_the_task_sees_its_arguments() -> None:
    seen: list[Any] = []

    def router(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> None:
        seen.append((name, args, kwargs, dict(options), task))

    app: Any = Celery("r", set_as_current=False, broker="memory://", task_routes=router)
    app.amqp.message("t", "id", (1,), {"a": 2}, {"priority": 3}, "the task")
    assert seen == [("t", (1,), {"a": 2}, {"priority": 3}, "the task")]


QUEUES = [Queue("q1", Exchange("ex1", "direct"), "rk1"), Queue("t", Exchange("shop", "topic"), "order.#")]


@pytest.mark.parametrize(
    ("options", "destination"),
    [
        ({"queue": "q1"}, ("", "q1")),
        ({"queue": QUEUES[0]}, ("", "q1")),
        ({"exchange": "ex1", "routing_key": "rk1"}, ("ex1", "rk1")),
        ({"queue": "t"}, ("shop", "order.#")),
        ({"queue": "t", "routing_key": "order.eu"}, ("shop", "order.eu")),
        ({"exchange": "shop", "exchange_type": "topic", "routing_key": "order.eu"}, ("shop", "order.eu")),
        ({"exchange": Exchange("shop", "topic"), "routing_key": "order.eu"}, ("shop", "order.eu")),
        ({"queue": "made"}, ("", "made")),
        ({"routing_key": "order.eu"}, ("", "celery")),
    ],
)
def test_destinations(options: Any, destination: Any) -> None:
    assert routed(None, options=options, task_queues=[*QUEUES, Queue("celery")]) == destination


def test_a_missing_queue_is_refused_when_they_are_not_made() -> None:
    with pytest.raises(QueueNotFound, match="'nope'"):
        routed(None, options={"queue": "nope"}, task_create_missing_queues=False)
    with pytest.raises(QueueNotFound, match="'nope'"):
        routed({"*": "nope"}, task_create_missing_queues=False)


def test_patterns_are_tried_in_order() -> None:
    route = MapRoute([("a.*", "first"), ("a.b*", "second")])
    assert route("a.bc") == {"queue": "first"}
    assert route("z") is None


def test_preparing_nothing() -> None:
    assert prepare(None) == []
    assert len(prepare(({"a": "b"}, {"c": "d"}))) == 2


def test_flushing_routes_on_change() -> None:
    app: Any = Celery("r", set_as_current=False, broker="memory://")
    assert app.amqp.message("t", "id", (), {}, {}).routing_key == "celery"
    app.conf.task_routes = {"t": "q"}
    assert app.amqp.message("t", "id", (), {}, {}).routing_key == "q"
    app.conf.task_default_queue = "other"
    assert app.amqp.message("u", "id", (), {}, {}).routing_key == "other"


# --- Queues


def test_a_missing_queue_is_called_like_its_exchange_and_key() -> None:
    queues = Queues(create_missing_queue_type="quorum", create_missing_queue_exchange_type="topic")
    made = queues["new"]
    assert (made.exchange, made.routing_key) == (Exchange("new", "topic"), "new")
    assert made.queue_arguments == {"x-queue-type": "quorum"}
    assert queues["new"] is made


def test_a_queue_type_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="'stream'"):
        Queues(create_missing_queue_type="stream")


def test_queues_from_a_dict_in_the_old_style() -> None:
    queues = Queues({"a": {"exchange": "e", "exchange_type": "topic", "binding_key": "x.#"}, "b": {}, "c": Queue("c")})
    assert (queues["a"].exchange.type, queues["a"].routing_key) == ("topic", "x.#")
    assert queues["b"].routing_key == "b"
    assert queues["c"].name == "c"


def test_defaults_fill_what_a_queue_lacks() -> None:
    queues = Queues([Queue("a")], Exchange("d"), max_priority=5, default_routing_key="k")
    assert (queues["a"].exchange.name, queues["a"].routing_key) == ("d", "k")
    assert queues["a"].queue_arguments == {"x-max-priority": 5}
    kept = Queues([Queue("a", queue_arguments={"x-max-priority": 2})], max_priority=5)["a"]
    assert kept.queue_arguments == {"x-max-priority": 2}


def test_selecting_queues() -> None:
    queues = Queues([Queue("a"), Queue("b"), Queue("c")])
    assert set(queues.consume_from) == {"a", "b", "c"}
    queues.deselect("b")
    assert set(queues.consume_from) == {"a", "c"}
    queues.select(["a"])
    queues.select_add("d")
    assert set(queues.consume_from) == {"a", "d"}
    assert "b" in queues
    assert queues.format().count("\n") == 1


def test_a_broadcast_is_found_by_its_name() -> None:
    queue = Broadcast("news")
    assert Queues([queue])["news"] is queue


def test_worker_direct() -> None:
    from celeriac.utils import worker_direct

    queue = worker_direct("w1@host")
    assert (queue.name, queue.exchange.name, queue.routing_key) == ("w1@host.dq2", "C.dq2", "w1@host")
    assert worker_direct(queue) is queue
