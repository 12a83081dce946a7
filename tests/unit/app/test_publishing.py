"""What a call puts on the wire, and what happens when the broker fails."""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import Any

import pytest

from celeriac import Celery, signals
from celeriac._entity import Exchange, Queue
from celeriac.exceptions import BrokerFull, BrokerUnavailable, ImproperlyConfigured, OperationalError
from celeriac.utils.time import maybe_iso8601

HEADERS = [
    "lang",
    "task",
    "id",
    "shadow",
    "eta",
    "expires",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
]


@pytest.fixture
def add(app: Any) -> Any:
    @app.task(name="proj.add", shared=False)
    def add(x: int, y: int = 0) -> int:
        return x + y

    return add


def test_a_plain_message(app: Any, add: Any, broker: Any) -> None:
    result = add.delay(2, y=3)
    sent = broker.message()
    assert list(sent.headers) == HEADERS
    assert sent.headers["id"] == sent.headers["root_id"] == sent.properties["correlation_id"] == result.id
    assert sent.headers["timelimit"] == [None, None]
    assert (sent.headers["argsrepr"], sent.headers["kwargsrepr"]) == ("(2,)", "{'y': 3}")
    assert sent.headers["origin"].startswith(f"gen{os.getpid()}@")
    assert sent.headers["ignore_result"] is False
    assert sent.body == [[2], {"y": 3}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    assert sent.properties["delivery_info"] == {"exchange": "", "routing_key": "celery"}
    assert sent.properties["reply_to"] == app.thread_oid
    assert sent.properties["delivery_mode"] == 2
    assert sent.properties["body_encoding"] == "base64"
    assert (sent.priority, sent.due_ms) == (0, None)
    assert broker.declared == [("celery", "celery", "direct", "celery")]


def test_a_queue_is_declared_once(add: Any, broker: Any) -> None:
    for _ in range(3):
        add.apply_async((1,), queue="q")
    assert broker.declared == [("q", "q", "direct", "q")]


def test_every_delivery_tag_is_new(add: Any, broker: Any) -> None:
    add.delay(1)
    add.delay(1)
    assert broker.message(0).properties["delivery_tag"] != broker.message(1).properties["delivery_tag"]


@pytest.mark.parametrize(
    ("option", "where", "value"),
    [
        ({"task_id": "mine"}, "id", "mine"),
        ({"shadow": "alias"}, "shadow", "alias"),
        ({"group_id": "g"}, "group", "g"),
        ({"group_index": 2}, "group_index", 2),
        ({"retries": 2}, "retries", 2),
        ({"time_limit": 3, "soft_time_limit": 2}, "timelimit", [3, 2]),
        ({"root_id": "r"}, "root_id", "r"),
        ({"parent_id": "p"}, "parent_id", "p"),
        ({"argsrepr": "***"}, "argsrepr", "***"),
        ({"kwargsrepr": "***"}, "kwargsrepr", "***"),
        ({"origin": "me"}, "origin", "me"),
        ({"ignore_result": True}, "ignore_result", True),
        ({"replaced_task_nesting": 2}, "replaced_task_nesting", 2),
        ({"headers": {"x": 1}}, "x", 1),
        ({"headers": {"lang": "rs"}}, "lang", "rs"),
        ({"stamped_headers": ["s"], "s": "v"}, "stamps", {"s": "v"}),
    ],
)
def test_options_that_become_headers(add: Any, broker: Any, option: Any, where: str, value: Any) -> None:
    add.apply_async((1,), **option)
    assert broker.message().headers[where] == value


@pytest.mark.parametrize(
    ("option", "where", "value"),
    [
        ({"priority": 4}, "priority", 4),
        ({"reply_to": "me"}, "reply_to", "me"),
        ({"delivery_mode": "transient"}, "delivery_mode", 1),
        ({"message_id": "m"}, "message_id", "m"),
        ({"MessageGroupId": "g"}, "MessageGroupId", "g"),
        ({"app_id": "a"}, "app_id", "a"),
    ],
)
def test_options_that_become_properties(add: Any, broker: Any, option: Any, where: str, value: Any) -> None:
    add.apply_async((1,), **option)
    assert broker.message().properties[where] == value
    assert broker.message().priority == option.get("priority", 0)


@pytest.mark.parametrize(("wrong", "right"), [("count_down", "countdown"), ("priorty", "priority"), ("queu", "queue")])
def test_a_misspelt_option_is_refused(add: Any, broker: Any, wrong: str, right: str) -> None:
    with pytest.raises(TypeError, match=f"unknown option '{wrong}': did you mean '{right}'"):
        add.apply_async((1,), **{wrong: 1})
    assert broker.published == []


# --- time


def test_a_countdown_parks_the_message(app: Any, add: Any, broker: Any) -> None:
    before = app.now()
    add.apply_async((1,), countdown=60)
    sent = broker.message()
    eta = maybe_iso8601(sent.headers["eta"])
    assert dt.timedelta(seconds=59) < eta - before < dt.timedelta(seconds=70)
    assert sent.due_ms == int(eta.timestamp() * 1000)
    assert sent.headers["eta"].endswith("+00:00")


@pytest.mark.parametrize(
    ("eta", "text", "due_ms"),
    [
        (
            dt.datetime(2030, 1, 2, 3, 4, 5, 678900, tzinfo=dt.timezone.utc),
            "2030-01-02T03:04:05.678900+00:00",
            1893553445678,
        ),
        (dt.datetime(2030, 1, 2, 3, 4, 5), "2030-01-02T03:04:05", 1893553445000),  # noqa: DTZ001 - naive on purpose
        ("2030-01-02T08:34:05+05:30", "2030-01-02T08:34:05+05:30", 1893553445000),
        ("2030-01-02 03:04:05Z", "2030-01-02 03:04:05Z", 1893553445000),
    ],
)
def test_an_eta_goes_unchanged(add: Any, broker: Any, eta: Any, text: str, due_ms: int) -> None:
    add.apply_async((1,), eta=eta)
    assert (broker.message().headers["eta"], broker.message().due_ms) == (text, due_ms)


def test_a_naive_eta_is_read_in_the_apps_zone(app: Any, add: Any, broker: Any) -> None:
    app.conf.timezone = "Asia/Kolkata"
    add.apply_async((1,), eta=dt.datetime(2030, 1, 2, 8, 34, 5))  # noqa: DTZ001 - as above
    assert broker.message().due_ms == 1893553445000


def test_no_countdown_and_zero_are_the_same(add: Any, broker: Any) -> None:
    add.apply_async((1,), countdown=0, eta=None)
    assert (broker.message().headers["eta"], broker.message().due_ms) == (None, None)


@pytest.mark.parametrize("bad", [{"countdown": -(2**31) - 1}, {"eta": "tomorrow"}, {"expires": "soon"}])
def test_times_that_cannot_be_used(add: Any, broker: Any, bad: Any) -> None:
    with pytest.raises(ValueError):
        add.apply_async((1,), **bad)
    assert broker.published == []


@pytest.mark.parametrize("expires", [60, dt.timedelta(seconds=60), "a moment"])
def test_an_expiry_is_a_header_and_a_property(app: Any, add: Any, broker: Any, expires: Any) -> None:
    if expires == "a moment":  # made here: the suite may run for minutes after its collection
        expires = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=60)
    add.apply_async((1,), expires=expires)
    sent = broker.message()
    left = (maybe_iso8601(sent.headers["expires"]) - app.now()).total_seconds()
    assert 0 < left <= 60
    assert 0 < int(sent.properties["expiration"]) <= 60_000


def test_a_past_expiry_is_zero(add: Any, broker: Any) -> None:
    add.apply_async((1,), expires=dt.datetime(2000, 1, 1, tzinfo=dt.timezone.utc))
    assert broker.message().properties["expiration"] == "0"


# --- bodies


@pytest.mark.parametrize("serializer", ["json", "pickle", "msgpack"])
def test_serializers(add: Any, broker: Any, serializer: str) -> None:
    from celeriac._bridge.codec import loads

    add.apply_async((1,), serializer=serializer)
    sent = broker.message()
    assert list(loads(sent.raw_body, sent.content_type, "binary", frozenset({sent.content_type}))[0]) == [1]


def test_compression(add: Any, broker: Any) -> None:
    import zlib

    add.apply_async((1,), compression="gzip")
    sent = Raw(broker.published[-1])
    assert sent.headers["compression"] == "application/x-gzip"
    assert json.loads(zlib.decompress(sent.body))[0] == [1]


class Raw:
    def __init__(self, publication: Any) -> None:
        import base64

        whole = json.loads(publication[4])
        self.headers, self.body = whole["headers"], base64.b64decode(whole["body"])


def test_protocol_1_is_read_only() -> None:
    app = Celery("p", set_as_current=False, task_protocol=1, broker="memory://")
    with pytest.raises(ImproperlyConfigured, match="protocol 1"):
        app.send_task("t")


@pytest.mark.parametrize(("args", "kwargs"), [("text", None), (3, None), (None, [1]), ({"a": 1}, None)])
def test_arguments_of_another_shape(app: Any, args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError, match="must be a"):
        app.send_task("t", args, kwargs)


# --- signals


def test_receivers_may_change_the_message(add: Any, broker: Any) -> None:
    seen: dict[str, Any] = {}

    def before(sender: Any, headers: Any, properties: Any, body: Any, **kw: Any) -> None:
        seen.update(kw, sender=sender)
        headers["added"] = 1
        properties["priority"] = 7
        body[1]["y"] = 9

    signals.before_task_publish.connect(before)
    add.apply_async((1,), {"y": 2}, retry_policy={"max_retries": 1})
    sent = broker.message()
    assert (sent.headers["added"], sent.priority, sent.body[1]) == (1, 7, {"y": 9})
    assert (seen["sender"], seen["exchange"], seen["routing_key"]) == ("proj.add", "", "celery")
    assert seen["retry_policy"] == {"max_retries": 1}


def test_signals_after_publishing(add: Any, broker: Any) -> None:
    seen: list[Any] = []

    def after(sender: Any, headers: Any, routing_key: Any, **kw: Any) -> None:
        seen.append((sender, headers["id"], routing_key, len(broker.published)))

    def sent(task_id: Any, task: Any, args: Any, **kw: Any) -> None:
        seen.append((task, task_id, args))

    signals.after_task_publish.connect(after)
    signals.task_sent.connect(sent)
    result = add.delay(1)
    assert seen == [("proj.add", result.id, "celery", 1), ("proj.add", result.id, (1,))]


def test_no_signal_after_a_failure(add: Any, broker: Any) -> None:
    broker.failures = [BrokerFull("disk full")]
    seen: list[int] = []

    def after(**kw: Any) -> None:
        seen.append(1)

    signals.after_task_publish.connect(after)
    with pytest.raises(BrokerFull):
        add.delay(1)
    assert seen == []


# --- failures


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("celeriac.app._publishing.time.sleep", slept.append)
    return slept


def test_publishing_is_tried_again_with_growing_pauses(add: Any, broker: Any, pauses: list[float]) -> None:
    broker.failures = [BrokerUnavailable("away")] * 3
    add.delay(1)
    assert len(broker.published) == 1
    assert pauses == [0.2, 0.4]


def test_the_last_error_is_raised(add: Any, broker: Any, pauses: list[float]) -> None:
    broker.failures = [BrokerUnavailable(str(n)) for n in range(5)]
    with pytest.raises(OperationalError, match="3"):
        add.delay(1)
    assert broker.published == []


def test_a_policy_of_the_call(add: Any, broker: Any, pauses: list[float]) -> None:
    broker.failures = [BrokerUnavailable("away")] * 2
    told: list[Any] = []
    add.apply_async(
        (1,),
        retry_policy={"interval_start": 1, "interval_max": 1, "errback": lambda exc, pause: told.append(pause)},
    )
    assert pauses == told == [1, 1]


def test_no_retry_when_told_so(app: Any, add: Any, broker: Any, pauses: list[float]) -> None:
    broker.failures = [BrokerUnavailable("away")]
    with pytest.raises(BrokerUnavailable):
        add.apply_async((1,), retry=False)
    app.conf.task_publish_retry = False
    broker.failures = [BrokerUnavailable("away")]
    with pytest.raises(BrokerUnavailable):
        add.delay(1)


def test_an_error_that_stays_is_not_tried_again(add: Any, broker: Any, pauses: list[float]) -> None:
    broker.failures = [BrokerFull("full"), BrokerFull("full")]
    with pytest.raises(BrokerFull):
        add.delay(1)
    assert len(broker.failures) == 1


# --- many


def test_many_calls_in_few_steps(add: Any, broker: Any) -> None:
    calls = [(1, 2), [3], ((5,), {"y": 6}), {"x": 7}, ()]
    with pytest.raises(TypeError, match="missing 1 required") as caught:
        add.apply_many(calls, chunk_size=2)
    assert broker.batches == [2, 2]
    if hasattr(caught.value, "__notes__"):
        assert "first 4 calls were sent" in caught.value.__notes__[0]
    assert [broker.message(n).body[:2] for n in range(4)] == [[[1, 2], {}], [[3], {}], [[5], {"y": 6}], [[], {"x": 7}]]


def test_results_of_many_are_in_order(add: Any, broker: Any) -> None:
    results = add.apply_many(((n, n) for n in range(2500)), priority=3)
    assert broker.batches == [1000, 1000, 500]
    assert [result.id for result in results] == [json.loads(p[4])["headers"]["id"] for p in broker.published]
    assert {p[2] for p in broker.published} == {3}


@pytest.mark.parametrize("call", ["text", 3, {1}])
def test_a_call_of_another_form(add: Any, call: Any) -> None:
    with pytest.raises(TypeError, match="expected a tuple of arguments"):
        add.apply_many([call])


# --- send_task


def test_sending_by_name(app: Any, broker: Any) -> None:
    result = app.send_task("other.task", (1,), {"a": 2}, queue="q", countdown=1)
    sent = broker.message()
    assert (sent.headers["task"], sent.headers["id"], sent.routing_key) == ("other.task", result.id, "q")
    assert sent.headers["ignore_result"] is None
    assert sent.due_ms


def test_a_known_tasks_options_are_defaults_when_sent_by_name(app: Any, broker: Any) -> None:
    @app.task(name="proj.slow", time_limit=5, priority=3, shared=False, lazy=False)
    def slow() -> None: ...

    app.send_task("proj.slow")
    assert (broker.message().headers["timelimit"], broker.message().priority) == ([5, None], 3)
    app.send_task("proj.slow", time_limit=None)
    assert broker.message().headers["timelimit"] == [None, None]


def test_publication_is_what_the_broker_takes(app: Any) -> None:
    exchange, key, priority, due_ms, envelope = app.amqp.publication("t", "id", (1,), {}, queue="q", priority=2)
    assert (exchange, key, priority, due_ms) == ("", "q", 2, None)
    assert json.loads(envelope)["headers"]["id"] == "id"


def test_publications_inside_a_workers_task_end_are_collected(app: Any, add: Any, broker: Any) -> None:
    from celeriac.app.context import collect

    outbox: list[Any] = []
    with collect(outbox):
        add.delay(1)
        add.apply_many([(1,), (2,)])
    assert broker.published == []
    assert len(outbox) == 3


def test_fanout_queues_are_not_declared(app: Any, broker: Any) -> None:
    from celeriac._entity import Broadcast

    app.conf.task_queues = [Broadcast("news"), Queue("celery")]
    app.send_task("t", queue="news")
    sent = broker.message()
    assert sent.exchange == "news"
    assert broker.declared == []


def test_a_queue_with_several_bindings(app: Any, broker: Any) -> None:
    from types import SimpleNamespace

    exchange = Exchange("shop", "topic")
    bindings = [SimpleNamespace(exchange=exchange, routing_key=key) for key in ("a.#", "b.#")]
    app.send_task("t", queue=Queue("q", exchange, "a.#", bindings=bindings), routing_key="a.x")
    assert broker.declared == [("q", "shop", "topic", "a.#"), ("q", "shop", "topic", "b.#")]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"priority": "high"}, TypeError),
        ({"priority": 256}, TypeError),
        ({"priority": True}, TypeError),
        ({"task_id": ""}, TypeError),
        ({"task_id": 5}, TypeError),
        ({"headers": [1]}, TypeError),
        ({"link": "name"}, TypeError),
        ({"link_error": [1]}, TypeError),
        ({"expires": True}, TypeError),
        ({"expires": 1e30}, ValueError),
        ({"countdown": "5"}, TypeError),
        ({"countdown": float("nan")}, TypeError),
        ({"countdown": 1e30}, ValueError),
        ({"eta": 5}, TypeError),
        ({"eta": "0001-01-01T00:00:00+10:00"}, None),
        ({"time_limit": "1"}, TypeError),
        ({"retries": -1}, TypeError),
        ({"queue": 5}, TypeError),
        ({"delivery_mode": 7}, ValueError),
    ],
)
def test_values_that_no_reader_could_use(add: Any, broker: Any, options: Any, error: Any) -> None:
    if error is None:
        add.apply_async((1,), **options)
        return
    with pytest.raises(error, match=next(iter(options))):
        add.apply_async((1,), **options)
    assert broker.published == []


@pytest.mark.parametrize("name", [None, "", 5, b"t.add"])
def test_a_task_without_a_name_is_not_sent(name: Any) -> None:
    with Celery("t", broker="memory://nameless", set_as_current=False) as app:
        with pytest.raises(TypeError, match="expected the task's name"):
            app.send_task(name)
        assert app.broker.depths() == []


def test_a_task_given_for_its_name_is_told_so() -> None:
    with Celery("t", broker="memory://nameless", set_as_current=False) as app:
        task = app.task(name="t.add", shared=False)(print)
        with pytest.raises(TypeError, match=r"t\.add"):
            app.send_task(task)  # type: ignore[arg-type]
