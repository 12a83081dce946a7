"""The request that a task sees."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import pytest

from celeriac._bridge.codec import Message
from celeriac.app.context import (
    Context,
    RequestStack,
    collect,
    collecting,
    pop_request,
    push_request,
    request_of,
    running_task,
    running_worker_task,
)
from tests.unit.app.jobs import FakeJob, body, raw_envelope


class Counting:
    """A message that counts how often its headers are decoded."""

    def __init__(self, envelope: bytes) -> None:
        self._message = Message.scan(envelope)
        self.decoded = 0

    def headers(self) -> Any:
        self.decoded += 1
        return self._message.headers()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)


def of_message(**headers: Any) -> tuple[Context, Counting]:
    message = Counting(raw_envelope("proj.add", body([1], {}), **headers))
    request = Context.for_message(message, [1], {}, {}, "w1@example", None, [])  # type: ignore[arg-type]
    return request, message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", None),
        ("called_directly", True),
        ("is_eager", False),
        ("retries", 0),
        ("ignore_result", False),
        ("replaced_task_nesting", 0),
        ("delivery_info", None),
        ("headers", None),
        ("timelimit", None),
        ("utc", None),
        ("taskset", None),
        ("chain", None),
    ],
)
def test_every_attribute_has_a_default(name: str, value: Any) -> None:
    assert getattr(Context(), name) == value


def test_unknown_attributes_are_missing_and_get_has_a_default() -> None:
    request = Context(id="a")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        request.nothing  # noqa: B018
    assert request.get("nothing", 3) == 3
    assert request.get("id") == "a"


def test_headers_are_not_decoded_for_what_the_scan_knows() -> None:
    request, message = of_message(retries=2)
    assert (request.id, request.task, request.retries) == ("the-id", "proj.add", 2)
    assert (request.args, request.kwargs, request.hostname) == ([1], {}, "w1@example")
    assert (request.callbacks, request.chord, request.parent_id, request.group) == (None, None, None, None)
    assert not request.called_directly
    assert message.decoded == 0


def test_headers_are_decoded_once() -> None:
    request, message = of_message(origin="gen1@example", shadow=None)
    assert request.origin == "gen1@example"
    assert request.shadow is None
    assert request.eta is None
    assert message.decoded == 1


def test_a_group_or_parent_is_seen() -> None:
    request, message = of_message(group="g", parent_id="ü")
    assert (request.group, request.parent_id) == ("g", "ü")
    assert message.decoded == 0
    request, _ = of_message(group=5, parent_id=None)
    assert (request.group, request.parent_id) == (None, None)


def test_what_a_task_sets_wins_over_headers() -> None:
    request, _ = of_message(shadow="from the message")
    request.shadow = "mine"
    request.own = 1  # type: ignore[attr-defined]
    assert request.origin is None
    assert (request.shadow, request.get("own")) == ("mine", 1)


def test_custom_headers_only() -> None:
    request, _ = of_message(origin="gen1@example", compression=None, **{"x-tenant": "acme", "redelivered": True})
    assert request.headers == {"x-tenant": "acme", "redelivered": True}
    assert of_message(origin="o")[0].headers is None


@pytest.mark.parametrize("told", [None, [], [1], "ab", {"a": 1}])
def test_odd_time_limits_count_as_none(told: Any) -> None:
    request = Context(timelimit=told)
    assert (request.time_limit, request.soft_time_limit) == (None, None)


def test_update_unpacks_time_limits() -> None:
    request = Context()
    request.update({"timelimit": [30, 20]}, id="x")
    assert (request.time_limit, request.soft_time_limit, request.id) == (30, 20, "x")
    request.clear()
    assert (request.time_limit, request.id) == (None, None)


def test_execution_options_send_the_task_again() -> None:
    request = Context(
        id="i",
        root_id="r",
        parent_id="p",
        group="g",
        group_index=3,
        timelimit=[30, 20],
        callbacks=[1],
        errbacks=[2],
        retries=4,
        eta="2030-01-01T00:00:00",
        headers={"x": 1, "x-death": 2, "x-first-death-queue": 3},
        stamped_headers=["colour"],
        stamps={"colour": "red"},
    )
    options = request.as_execution_options()
    assert "eta" not in options
    assert options["headers"] == {"x": 1}
    assert (options["time_limit"], options["soft_time_limit"]) == (30, 20)
    assert (options["link"], options["link_error"], options["colour"]) == ([1], [2], "red")
    assert (options["task_id"], options["group_id"], options["group_index"], options["retries"]) == ("i", "g", 3, 4)


def test_repr_copy_and_pickle_show_the_whole_request() -> None:
    request, _ = of_message(origin="gen1@example")
    assert "gen1@example" in repr(request)
    again = pickle.loads(pickle.dumps(of_message(origin="gen1@example")[0]))
    assert (again.origin, again.id) == ("gen1@example", "the-id")
    assert copy.copy(Context(id="c")).id == "c"


def test_children_are_a_list_of_its_own() -> None:
    first, second = Context(), Context()
    first.children.append(1)
    assert (first.children, second.children) == ([1], [])


def test_delivery_info_tells_a_redelivery() -> None:
    job = FakeJob(raw_envelope("proj.add", body([], {})), redelivered=True)
    request = Context.for_message(job.message, [], {}, None, None, job)  # type: ignore[arg-type]
    assert request.delivery_info == {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": True}


def test_the_stack_knows_the_innermost_request_of_each_task() -> None:
    outer, inner = object(), object()
    first = push_request(outer, Context(id="1", called_directly=False))
    second = push_request(inner, Context(id="2"))
    assert running_task() is inner
    assert running_worker_task() is outer
    assert request_of(outer).id == "1"  # type: ignore[union-attr]
    assert RequestStack(inner).top.id == "2"  # type: ignore[union-attr]
    assert pop_request(second).id == "2"  # type: ignore[union-attr]
    assert running_task() is outer
    pop_request(first)
    assert running_task() is None
    assert pop_request() is None


def test_threads_have_stacks_of_their_own() -> None:
    seen: list[Any] = []
    token = push_request(object(), Context())
    thread = threading.Thread(target=lambda: seen.append(running_task()))
    thread.start()
    thread.join()
    pop_request(token)
    assert seen == [None]


def test_collect_names_the_outbox_for_a_while() -> None:
    outbox: list[Any] = []
    with collect(outbox):
        assert collecting.get() is outbox
        with collect(None):
            assert collecting.get() is None
    assert collecting.get() is None
