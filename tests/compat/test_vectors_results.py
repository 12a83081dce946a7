"""Results as Celery 5.7 stored them: ours must be equal in value, and theirs must read as Celery reads them."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery, states
from celeriac._bridge.codec import Message, dumps, loads
from celeriac.app.context import Context
from celeriac.backends.sqlite import SQLiteBackend
from celeriac.exceptions import (
    DecodeError,
    NotRegistered,
    Reject,
    SecurityError,
    TaskRevokedError,
    TimeLimitExceeded,
    TimeoutError,
)
from celeriac.result import AsyncResult, GroupResult

VECTORS = Path(__file__).parent / "vectors"
_numbers = itertools.count()


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return loaded


def raw_metas(name: str) -> list[bytes]:
    vector = load(name)
    raw = vector["raw"] if isinstance(vector["raw"], list) else [vector["raw"]]
    if vector["raw_encoding"] == "base64":
        return [base64.b64decode(text) for text in raw]
    return [text.encode() for text in raw]


@pytest.fixture(autouse=True)
def capapp() -> Iterator[Any]:
    """The module that the captured failures name."""
    module = types.ModuleType("capapp")
    source = """
class CustomError(Exception): pass
class Unserializable(Exception): pass
class Outer:
    class NestedError(Exception): pass
class Opaque:
    def __repr__(self): return "<opaque>"
"""
    exec(source, module.__dict__)
    sys.modules["capapp"] = module
    yield module
    del sys.modules["capapp"]


def make_app(**settings: Any) -> Celery:
    app = Celery("compat", broker="memory://compat", set_as_current=False)
    app.conf.update(result_backend=f"memory://results-{next(_numbers)}", **settings)
    return app


# --- writing ---------------------------------------------------------------------------------------------------------


def outcome(name: str, meta: dict[str, Any], capapp: Any) -> Any:
    """The Python value that the captured record was made of."""
    result = meta["result"]
    if meta["status"] not in states.EXCEPTION_STATES or result is None:
        return result
    kind = result["exc_type"]
    makers: dict[str, Any] = {
        "CustomError": lambda: capapp.CustomError(42, "it broke"),
        "Outer.NestedError": lambda: capapp.Outer.NestedError("nested ü"),
        "Unserializable": lambda: capapp.Unserializable(1, capapp.Opaque(), {"a": (1, 2)}),
        "KeyError": lambda: KeyError("missing"),
        "RuntimeError": lambda: RuntimeError("wrapped"),
        "ValueError": lambda: ValueError("try again"),
        "NotRegistered": lambda: NotRegistered("no.such.task"),
        "Reject": lambda: Reject("no thanks", requeue=False),
        "TaskRevokedError": lambda: TaskRevokedError(result["exc_message"][0]),
        "TimeLimitExceeded": lambda: TimeLimitExceeded(1),
    }
    return makers[kind]()


# EncodeError: the argument is the text of an error inside Kombu; ours says the same in one sentence.
NOT_WRITTEN = {"failure_encode"}
PLAIN_JSON = sorted(
    path.stem
    for path in (VECTORS / "result-redis").glob("*.json")
    if json.loads(path.read_text())["raw_encoding"] == "utf-8"
    and json.loads(path.read_text())["raw"]
    and not path.stem.startswith(("group_saved", "serializer_"))
    and path.stem not in NOT_WRITTEN
)


@pytest.mark.parametrize("name", PLAIN_JSON)
def test_our_record_has_the_captured_value(name: str, capapp: Any) -> None:
    vector = load(f"result-redis/{name}")
    backend = make_app(**(vector.get("settings") or {})).backend
    for stored in map(json.loads, vector["raw"]):
        request = Context(
            id=stored["task_id"],
            group=stored.get("group_id"),
            parent_id=stored.get("parent_id"),
            task=stored.get("name"),
            args=stored.get("args"),
            kwargs=stored.get("kwargs"),
            hostname=stored.get("worker"),
            retries=stored.get("retries", 0),
            delivery_info={"routing_key": stored.get("queue")},
            stamped_headers=stored.get("stamped_headers"),
            stamps={key: stored[key] for key in stored.get("stamped_headers") or ()},
            children=[AsyncResult(head[0], app=backend.app) for head, _ in stored["children"] or ()],
        )
        value = outcome(name, stored, capapp)
        if name == "success_types":
            value = {
                "d": dt.date(2026, 1, 2),
                "dt": dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc),
                "b": b"\xff",
                "t": (1, 2),
            }
        key, data, expires_ms, success = backend.encode_write(
            stored["task_id"],
            stored["status"],
            value,
            request if stored["children"] is not None else None,
            stored["traceback"],
        )
        ours = json.loads(data)
        assert bool(ours.pop("date_done")) == bool(stored.pop("date_done"))
        assert ours == stored
        assert list(ours) == list(stored)  # readers do not care, people who compare dumps do
        assert key == vector.get("key", f"celery-task-meta-{stored['task_id']}")
        assert success == (stored["status"] == "SUCCESS")
        assert (expires_ms is None) == (name == "no_expiry")


def test_plain_successes_have_the_same_record_by_the_short_way() -> None:
    backend = make_app().backend
    (stored,) = map(json.loads, raw_metas("result-redis/success"))
    since = dt.datetime.fromisoformat(stored["date_done"]) - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
    now_ns = (since // dt.timedelta(microseconds=1)) * 1000
    assert backend.success_record(stored["task_id"], 5, now_ns) == raw_metas("result-redis/success")[0]


def test_settings_say_when_records_go() -> None:
    backend = make_app(result_expires=60, result_failure_expires=10).backend
    now_ms = dt.datetime.now(dt.timezone.utc).timestamp() * 1000
    assert backend.expires_ms("SUCCESS") - now_ms == pytest.approx(60_000, abs=2000)
    assert backend.expires_ms("FAILURE") - now_ms == pytest.approx(10_000, abs=2000)


def test_key_prefix() -> None:
    vector = load("result-redis/prefix")
    key = vector["key"]
    prefix = key[: key.index("celery-task-meta-")]
    backend = make_app(result_backend_transport_options={"global_keyprefix": prefix}).backend
    assert backend.get_key_for_task("x").startswith(prefix + "celery-task-meta-")
    backend = make_app(result_backend_transport_options={"global_keyprefix": "team"}).backend
    assert backend.get_key_for_task("x") == "team_celery-task-meta-x"


def test_groups_are_saved_as_captured() -> None:
    for name in ("group_saved", "group_saved_with_parent"):
        stored = json.loads(raw_metas(f"result-redis/{name}")[0])
        app = make_app()
        (group_id, parent), members = stored["result"]
        results: list[Any] = [AsyncResult(head[0], app=app) for head, _ in members]
        group = GroupResult(group_id, results, app=app, parent=app.AsyncResult(parent[0][0]) if parent else None)
        group.save()
        data = app.backend.get(f"celery-taskset-meta-{group_id}")
        assert json.loads(data) == stored
        restored = GroupResult.restore(group_id, app=app)
        assert restored == group
        assert restored.as_tuple() == group.as_tuple()


# --- reading ---------------------------------------------------------------------------------------------------------

ALL_STORED = sorted(
    path.stem for path in (VECTORS / "result-redis").glob("*.json") if not path.stem.startswith("group_s")
)


@pytest.mark.parametrize("name", ALL_STORED)
def test_captured_records_are_read(name: str, capapp: Any) -> None:
    vector = load(f"result-redis/{name}")
    settings = dict(vector.get("settings") or {})
    app = make_app(**settings)
    for data in raw_metas(f"result-redis/{name}") if vector["raw"] else []:
        decoded = app.backend.decode_result(data)
        task_id = decoded["task_id"]
        app.backend.store.put(app.backend.get_key_for_task(task_id), data, None, False)
        result: AsyncResult[Any] = AsyncResult(task_id, app=app)
        assert result.state == decoded["status"]
        if result.state in states.PROPAGATE_STATES:
            with pytest.raises(Exception) as caught:
                result.get(timeout=0)
            assert type(caught.value).__name__ not in {"DecodeError", "TimeoutError"}
        elif result.state == states.SUCCESS:
            assert result.get(timeout=0) == decoded["result"]
        assert result.date_done is None or result.date_done.tzinfo is not None


@pytest.mark.parametrize(
    ("name", "kind", "args"),
    [
        ("failure_builtin", KeyError, ("missing",)),
        ("unregistered", NotRegistered, ("no.such.task",)),
        ("expired", TaskRevokedError, ("expired",)),
        ("time_limit", TimeLimitExceeded, (1,)),
        ("rejected", Reject, ("no thanks", False)),
        ("serializer_pickle_failure", NotRegistered, ("no.such.task",)),
        ("serializer_msgpack_failure", NotRegistered, ("no.such.task",)),
    ],
)
def test_captured_failures_become_our_classes(name: str, kind: type[Exception], args: Any) -> None:
    settings = load(f"result-redis/{name}").get("settings") or {}
    decoded = make_app(**settings).backend.decode_result(raw_metas(f"result-redis/{name}")[0])
    assert type(decoded["result"]) is kind
    assert decoded["result"].args == args


def test_types_survive() -> None:
    decoded = make_app().backend.decode_result(raw_metas("result-redis/success_types")[0])
    assert decoded["result"] == {
        "d": dt.date(2026, 1, 2),
        "dt": dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc),
        "b": b"\xff",
        "t": [1, 2],
    }


def test_compressed_records_are_read_whatever_the_setting() -> None:
    (data,) = raw_metas("result-redis/compressed")
    assert make_app().backend.decode_result(data)["result"] == "x" * 300
    backend = make_app(result_compression="gzip").backend
    written = backend.encode_write("id", "SUCCESS", "x" * 300)[1]
    assert written.startswith(b"\x00celery-compressed\x00application/x-gzip\x00")
    assert backend.decode_result(written)["result"] == "x" * 300


TOLERANCE = load("reading/result-tolerance")
# Where Celery stumbles over a damaged record, with an error of the dict or of the raise statement, we say what is the
# matter or go on; each line says what we do. Listed in docs/compatibility.md.
BETTER: dict[str, Any] = {
    "without status": DecodeError,
    "without result": None,
    "without task_id": 5,
    "FAILURE, exc_type missing": "Exception: {'exc_message': ['x'], 'exc_module': 'builtins'}",
    "FAILURE, result is text": "Exception: boom",
    "FAILURE, result null": "Exception: task",
    "not JSON": DecodeError,
}


@pytest.mark.parametrize("index", range(len(TOLERANCE["raw"])), ids=[case["case"] for case in TOLERANCE["decoded"]])
def test_odd_records_read_as_in_celery(index: int) -> None:
    raw, expected = TOLERANCE["raw"][index].encode(), TOLERANCE["decoded"][index]
    app = make_app()
    try:
        task_id = json.loads(raw).get("task_id", "the-id")
    except ValueError:
        task_id = "the-id"
    app.backend.store.put(f"celery-task-meta-{task_id}", raw, None, False)
    result = app.AsyncResult(task_id)

    def read(what: Any) -> Any:
        try:
            value = what()
        except Exception as exc:
            return exc
        return value

    got = read(lambda: result.get(timeout=0))
    case = expected["case"]
    if case in BETTER:
        better = BETTER[case]
        if isinstance(better, type):
            assert isinstance(got, better)
        elif isinstance(better, str):
            assert f"{type(got).__name__}: {got}".startswith(better)
        else:
            assert got == better
        return
    if expected["get"].startswith("!"):
        kind, _, text = expected["get"][1:].partition(": ")
        module, _, name = kind.rpartition(".")
        assert isinstance(got, Exception)
        assert type(got).__name__ == name
        assert type(got).__module__ == module.replace("celery.", "celeriac.")
        if name != "TimeoutError":
            assert str(got) == text
    else:
        assert repr(got) == expected["get"]
    state = read(lambda: result.state)
    assert isinstance(state, SecurityError) if expected["state"].startswith("!") else state == expected["state"]
    if not expected["children"].startswith("!"):
        assert repr(result.children) == expected["children"]
        assert (result.date_done is None) == (expected["date_done"] == "None")
        if result.date_done is not None:
            assert result.date_done == dt.datetime(2026, 11, 21, 3, tzinfo=dt.timezone.utc)
        assert result.traceback is None


# --- the request -----------------------------------------------------------------------------------------------------


def test_request_context_is_celerys() -> None:
    vector = load("task-worker/request-context")["decoded"]
    given = dict(vector)
    properties = given.pop("properties")
    computed = {
        *("reply_to", "correlation_id", "hostname", "delivery_info", "args", "kwargs", "is_eager", "callbacks"),
        *("errbacks", "chain", "chord", "called_directly", "time_limit", "soft_time_limit", "headers"),
    }
    headers = {key: value for key, value in given.items() if key not in computed}
    envelope = {
        "body": base64.b64encode(
            b'[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
        ).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
    message = Message.scan(dumps(envelope, "json")[2])
    args, kwargs, embed = message.json_payload()

    class Job:
        queue = "celery"
        redelivered = False

    request = Context.for_message(message, args, kwargs, embed, "w1@capture.example", Job())  # type: ignore[arg-type]
    assert request.origin == vector["origin"]
    assert request.__dict__ == vector
    for name, value in vector.items():
        assert getattr(request, name) == value


def test_timeout_is_ours() -> None:
    assert issubclass(TimeoutError, Exception)
    assert isinstance(make_app().backend, SQLiteBackend)
    assert loads(dumps(1, "json")[2], "application/json") == 1
