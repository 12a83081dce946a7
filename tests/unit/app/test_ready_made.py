"""Messages of plain calls are made from a model, and are those that the long way makes."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Any

import pytest

from celeriac import Celery, signals
from celeriac._entity import Queue
from celeriac.app.amqp import AMQP
from celeriac.exceptions import EncodeError

CALLS: list[tuple[Any, Any]] = [((1, 2), {}), ((), {}), ([], {"x": "\u20ac"}), ((b"\x00", [{"a": None}]), {"y": 1.5})]
OPTIONS: list[dict[str, Any]] = [{}, {"ignore_result": True}, {"serializer": "pickle"}, {"add_to_parent": False}]


@pytest.fixture
def add(app: Any) -> Any:
    @app.task(name="proj.add", shared=False, typing=False)
    def add(*args: Any, **kwargs: Any) -> None: ...

    return add


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tasks whose messages were made the long way, models included."""
    names: list[str] = []
    message = AMQP.message

    def counted(self: Any, name: str, *args: Any) -> Any:
        names.append(name)
        return message(self, name, *args)

    monkeypatch.setattr(AMQP, "message", counted)
    # Receivers that are no more stay in the lists until the next one comes.
    for signal in (signals.before_task_publish, signals.after_task_publish, signals.task_sent):
        monkeypatch.setattr(signal, "receivers", ())
    return names


def _shown(broker: Any) -> list[Any]:
    shown = []
    for number, (exchange, key, priority, due_ms, _) in enumerate(broker.published):
        sent = broker.message(number)
        own = sent.headers["id"]
        headers = [(name, "own" if value == own else value) for name, value in sent.headers.items()]
        properties = [(name, "own" if value == own else value) for name, value in sent.properties.items()]
        assert properties.pop()[0] == "delivery_tag"
        shown.append((exchange, key, priority, due_ms, headers, properties, sent.body))
    broker.published.clear()
    return shown


@pytest.mark.parametrize("options", OPTIONS)
def test_as_the_long_way(add: Any, broker: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for args, kwargs in CALLS:
        add.apply_async(args, kwargs, **options)
    ready_made = _shown(broker)
    monkeypatch.setattr("celeriac.app._send.publish_ready_made", lambda *call: False)
    for args, kwargs in CALLS:
        add.apply_async(args, kwargs, **options)
    assert ready_made == _shown(broker)


def test_a_model_serves_all_plain_calls_of_a_task(add: Any, broker: Any, made: list[str]) -> None:
    ids = [add.delay(number).id for number in range(5)]
    assert made == ["proj.add"]
    sent = [broker.message(number) for number in range(5)]
    assert [message.headers["id"] for message in sent] == ids
    assert len({*ids, *(message.properties["delivery_tag"] for message in sent)}) == 10


def test_what_is_set_later_counts(app: Any, add: Any, broker: Any) -> None:
    add.delay(1)
    app.conf.task_default_queue = "other"
    app.amqp.queues.add(Queue("other"))
    app.amqp.argsrepr_maxsize = 5
    add.ignore_result = True
    add.delay("long text")
    sent = broker.message().headers
    assert (broker.published[-1][1], sent["argsrepr"], sent["ignore_result"]) == ("other", "('long...',)", True)
    app.conf.task_routes = {"proj.*": {"queue": "routed"}}
    add.delay(1)
    assert broker.published[-1][1] == "routed"


def test_who_wants_to_see_messages_sees_them(add: Any, broker: Any) -> None:
    add.delay(1)

    @signals.before_task_publish.connect(weak=False)
    def mark(headers: Any = None, **_: Any) -> None:
        headers["mark"] = True

    try:
        add.delay(1)
    finally:
        signals.before_task_publish.disconnect(mark)
    assert broker.message().headers["mark"] is True


def test_replies_go_to_the_thread_that_sent(app: Any, add: Any, broker: Any) -> None:
    add.delay(1)
    thread = threading.Thread(target=add.delay, args=(2,))
    thread.start()
    thread.join()
    add.delay(3)
    mine, other, again = (broker.message(number).properties["reply_to"] for number in range(3))
    assert mine == again == app.thread_oid != other


def test_a_forked_child_names_itself(add: Any, broker: Any) -> None:
    add.delay(1)
    ends = multiprocessing.get_context("fork").SimpleQueue()

    def child() -> None:
        add.delay(2)
        ends.put((broker.message().headers["origin"], broker.message().properties["reply_to"]))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    origin, reply_to = ends.get()
    process.join()
    assert origin.startswith(f"gen{process.pid}@")
    assert reply_to != broker.message().properties["reply_to"]


def test_messages_of_a_subclass_are_its_own(broker: Any) -> None:
    class Marked(AMQP):
        def message(self, *args: Any, **kwargs: Any) -> Any:
            out = super().message(*args, **kwargs)
            out.headers["mark"] = out.headers["id"]
            return out

    app = Celery("marked", set_as_current=False, amqp=Marked)
    app._broker = broker
    app.send_task("t", (1,))
    assert broker.message().headers["mark"] == broker.message().headers["id"]


def test_what_cannot_be_encoded_is_refused_as_ever(add: Any, broker: Any) -> None:
    with pytest.raises(EncodeError, match="complex"):
        add.delay(1j)
    assert broker.published == []
