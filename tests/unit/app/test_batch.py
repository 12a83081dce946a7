"""Messages made from one model are the messages that would have been made one by one."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import signals

CALLS = [((1, 2), {}), ((), {"x": 3}), (([4, {"a": 5}],), {"y": "text"}), ((6,), {})]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"queue": "q", "priority": 4},
    {"root_id": "root", "parent_id": "parent", "group_id": "g"},
    {"argsrepr": "hidden", "kwargsrepr": "hidden too"},
    {"expires": 1e9, "time_limit": 3, "serializer": "msgpack", "compression": "zlib"},
    {"link_error": None, "stamped_headers": ["mark"], "mark": "m"},
    {"ignore_result": True, "reply_to": "me"},
]


def _sent(broker: Any) -> list[Any]:
    messages = [broker.message(n) for n in range(len(broker.published))]
    broker.published.clear()
    return messages


def _comparable(message: Any) -> Any:
    """Without what is new in every message."""
    own = message.headers["id"]
    headers = {key: "own" if value == own else value for key, value in message.headers.items()}
    headers.pop("expires")  # a time from now
    properties = {key: "own" if value == own else value for key, value in message.properties.items()}
    del properties["delivery_tag"]
    properties.pop("expiration", None)
    return headers, properties, message.priority, message.routing_key


@pytest.mark.parametrize("options", OPTIONS)
def test_as_one_by_one(app: Any, broker: Any, options: dict[str, Any]) -> None:
    @app.task(name="proj.add", shared=False)
    def add(x: Any, y: Any = 0) -> Any: ...

    together = add.apply_many(CALLS, **options)
    many = _sent(broker)
    for args, kwargs in CALLS:
        add.apply_async(args, kwargs, **options)
    single = _sent(broker)
    assert [_comparable(message) for message in many] == [_comparable(message) for message in single]
    if "serializer" not in options:
        assert [message.body for message in many] == [message.body for message in single]
    assert [message.headers["id"] for message in many] == [result.id for result in together]
    assert len({message.properties["delivery_tag"] for message in many}) == len(CALLS)
    assert all(result.ignored == bool(options.get("ignore_result")) for result in together)


def test_signals_see_every_message(app: Any, broker: Any) -> None:
    @app.task(name="proj.add", shared=False)
    def add(x: Any, y: Any = 0) -> Any: ...

    seen = []

    def note(body: Any = None, headers: Any = None, **_: Any) -> None:
        seen.append(headers["id"])
        headers["mark"] = len(seen)

    signals.before_task_publish.connect(note)
    try:
        results = add.apply_many(CALLS)
    finally:
        signals.before_task_publish.disconnect(note)
    assert seen == [result.id for result in results]
    assert [message.headers["mark"] for message in _sent(broker)] == [1, 2, 3, 4]


def test_routes_see_every_call(app: Any, broker: Any) -> None:
    @app.task(name="proj.add", shared=False)
    def add(x: Any, y: Any = 0) -> Any: ...

    app.conf.task_routes = (lambda name, args, kwargs, options, task=None, **_: {"queue": f"q{len(args)}"},)
    add.apply_many(CALLS)
    assert [message.routing_key for message in _sent(broker)] == ["q2", "q0", "q1", "q1"]


def test_no_calls_send_nothing(app: Any, broker: Any) -> None:
    @app.task(name="proj.add", shared=False)
    def add(x: Any) -> Any: ...

    assert add.apply_many([]) == []
    assert broker.published == []
