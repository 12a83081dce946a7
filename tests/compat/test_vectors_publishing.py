"""The calls that the vectors record, made with celeriac: the envelope is the same to the byte.

What is random or says when and where is taken from the vector: id, reply_to, delivery_tag, origin, the time.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from celeriac import Celery
from celeriac._entity import Exchange, Queue
from celeriac.utils import worker_direct
from celeriac.utils.time import maybe_iso8601
from tests.compat.vectors_reader import load, messages

UTC = dt.timezone.utc
INDIA = dt.timezone(dt.timedelta(hours=5, minutes=30))
SHOP = Exchange("shop", "topic")

CALLS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda t: t.add.delay(2, 3),
    "no_args": lambda t: t.echo.delay(),
    "kwargs": lambda t: t.echo.delay(1, "two", three=[3], four={"a": None}),
    "long_args": lambda t: t.echo.delay("x" * 3000, list(range(500)), k="word " * 400),
    "compress_bzip2": lambda t: t.echo.apply_async(("abc" * 50,), compression="bzip2"),
    "compress_gzip": lambda t: t.echo.apply_async(("abc" * 50,), compression="gzip"),
    "compress_zlib": lambda t: t.echo.apply_async(("abc" * 50,), compression="zlib"),
    "countdown": lambda t: t.add.apply_async((1, 2), countdown=10.5),
    "default_priority": lambda t: t.add.delay(1, 2),
    "eta_aware": lambda t: t.add.apply_async((1, 2), eta=dt.datetime(2030, 1, 2, 3, 4, 5, 678900, UTC)),
    "eta_naive": lambda t: t.add.apply_async((1, 2), eta=dt.datetime(2030, 1, 2, 3, 4, 5)),  # noqa: DTZ001 - on purpose
    "eta_other_zone": lambda t: t.add.apply_async((1, 2), eta=t.header_eta),
    "exchange_direct": lambda t: t.add.apply_async((1, 2), exchange="ex1", routing_key="rk1"),
    "exchange_topic": lambda t: t.add.apply_async((1, 2), exchange="shop", routing_key="order.eu.new"),
    "expires_seconds": lambda t: t.add.apply_async((1, 2), expires=60),
    "expires_past": lambda t: t.add.apply_async((1, 2), expires=-5),
    "headers": lambda t: t.add.apply_async(
        (1, 2), headers={"x-tenant": "acme", "n": 5, "nested": {"a": [1, "two", None, True, 1.5]}}
    ),
    "ignore_result": lambda t: t.add.apply_async((1, 2), ignore_result=True),
    "link": lambda t: t.add.apply_async((1, 2), link=t.mul.s(10), link_error=t.errback_id.s()),
    "no_backend": lambda t: t.add.delay(1, 2),
    "priority_0": lambda t: t.add.apply_async((1, 2), priority=0),
    "priority_4": lambda t: t.add.apply_async((1, 2), priority=4),
    "priority_9": lambda t: t.add.apply_async((1, 2), priority=9),
    "properties": lambda t: t.add.apply_async((1, 2), message_id="m-1", app_id="shop", type="custom"),
    "queue_auto": lambda t: t.add.apply_async((1, 2), queue="fast"),
    "queue_max_priority": lambda t: t.add.apply_async((1, 2), priority=5),
    "queue_topic": lambda t: t.add.apply_async((1, 2), queue="orders"),
    "send_task": lambda t: t.app.send_task("other.app.task", args=[1], kwargs={"k": "v"}),
    "shadow": lambda t: t.add.apply_async((1, 2), shadow="pretty.name"),
    "task_id": lambda t: t.add.apply_async((1, 2), task_id="my-own-id"),
    "time_limits": lambda t: t.add.apply_async((1, 2), time_limit=30, soft_time_limit=20.5),
    "timezone_setting": lambda t: t.add.apply_async((1, 2), countdown=60, expires=120),
    "utc_disabled": lambda t: t.add.apply_async((1, 2), countdown=60),
    "transient": lambda t: t.add.apply_async((1, 2), delivery_mode=1),
    "worker_direct": lambda t: t.add.apply_async((1, 2), queue=worker_direct("w1@capture.example")),
}

QUEUES: dict[str, Any] = {
    "exchange_direct": [Queue("q1", Exchange("ex1", "direct"), "rk1")],
    "queue_topic": [Queue("orders", SHOP, "order.#")],
    "exchange_topic": [Queue("orders", SHOP, "order.#"), Queue("audit", SHOP, "#")],
}

# Made with another clock reading each, a few microseconds apart.
TIMES = {"timezone_setting"}


class Tasks:
    """The tasks of the program that was captured, in an app whose publications are kept."""

    def __init__(self, name: str, captured: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[bytes] = []
        settings = {k: v for k, v in (load("task-redis", name)["settings"] or {}).items() if k != "task_queues"}
        self.app: Any = Celery("capture", set_as_current=False, broker="memory://vectors", backend="disabled://")
        self.app.conf.update({k: v for k, v in settings.items() if v is not None})
        if name in QUEUES:
            self.app.conf.task_queues = QUEUES[name]
            self.app.conf.task_default_queue = QUEUES[name][0].name
        self.app._broker = self
        for task in ("add", "mul", "echo", "errback_id"):
            setattr(self, task, self.app.task(name=f"app.{task}", typing=False, shared=False)(lambda *a, **k: None))
        headers, properties = captured["headers"], captured["properties"]
        self.header_eta = maybe_iso8601(headers["eta"])
        ids = [properties["delivery_tag"]]
        if name != "task_id":
            monkeypatch.setattr("celeriac.app._send.new_ids", lambda count: [headers["id"], *ids])
        monkeypatch.setattr("celeriac.app.amqp.new_id", lambda: ids.pop())
        monkeypatch.setattr("celeriac.app.amqp.origin", lambda: headers["origin"])
        monkeypatch.setattr(type(self.app), "thread_oid", property(lambda app: properties["reply_to"]))
        monkeypatch.setattr(self.app, "now", lambda: _time_of(name, headers), raising=False)

    def publish(self, exchange: str, routing_key: str, priority: int, due_ms: int | None, envelope: bytes) -> int:
        self.sent.append(envelope)
        return 1

    def declare(self, *queue: str) -> None:
        pass


def _time_of(name: str, headers: dict[str, Any]) -> dt.datetime:
    """When the vector was captured, as far as its headers tell."""
    back = {"countdown": 10.5, "timezone_setting": 60, "utc_disabled": 60, "expires_seconds": 60, "expires_past": -5}
    text = headers["eta"] or headers["expires"]
    if name not in back or not text:
        return dt.datetime.now(UTC)
    moment: dt.datetime = maybe_iso8601(text)
    return moment - dt.timedelta(seconds=back[name])


@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_gives_the_same_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    captured = next(iter(messages("task-redis", name)))
    wanted = json.loads(captured.raw)
    tasks = Tasks(name, wanted, monkeypatch)
    CALLS[name](tasks)
    (sent,) = tasks.sent
    if name in TIMES:
        mine = json.loads(sent)
        for part in (mine, wanted):
            part["headers"]["expires"] = part["headers"]["expires"][:19]
            part["properties"]["expiration"] = len(part["properties"]["expiration"])
        assert mine == wanted
        return
    if wanted["headers"].get("compression") == "application/x-gzip":  # another implementation of the same format
        mine = json.loads(sent)
        for part in (mine, wanted):
            part["body"] = zlib.decompress(base64.b64decode(part["body"]))
        assert mine == wanted
        return
    assert sent.decode() == captured.raw.decode()
