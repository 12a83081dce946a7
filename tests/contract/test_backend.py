"""What every result backend that keeps results must do; run against each of them."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery, states
from celeriac.app.context import Context
from celeriac.exceptions import (
    EncodeError,
    ImproperlyConfigured,
    SecurityError,
    TaskRevokedError,
    TimeoutError,
    WorkerLostError,
)
from celeriac.result import AsyncResult, GroupResult, ResultSet

_numbers = itertools.count()


class PollingDict:
    """Makes a backend of a dict: what somebody's own `KeyValueStoreBackend` looks like."""

    @staticmethod
    def build() -> type[Any]:
        from celeriac.backends.base import KeyValueStoreBackend

        class DictBackend(KeyValueStoreBackend):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.kept: dict[str, bytes] = {}

            def get(self, key: str) -> Any:
                return self.kept.get(key)

            def set(self, key: str, value: bytes) -> Any:
                self.kept[key] = value

            def delete(self, key: str) -> Any:
                self.kept.pop(key, None)

        return DictBackend


@pytest.fixture(params=["sqlite", "memory", "dict", "redis", "redis-cluster"])
def kind(request: Any) -> str:
    return str(request.param)


@pytest.fixture
def app(kind: str, tmp_path: Path, request: Any) -> Iterator[Celery]:
    urls: dict[str, Any] = {
        "redis": request.getfixturevalue("redis_server").url if kind == "redis" else None,
        "redis-cluster": request.getfixturevalue("redis_cluster").url if kind == "redis-cluster" else None,
        "sqlite": f"sqlite:///{tmp_path / 'results.db'}",
        "memory": f"memory://contract-{next(_numbers)}",
        "dict": PollingDict.build(),
    }
    app = Celery("contract", broker="memory://contract", backend=urls[kind], set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def backend(app: Celery) -> Any:
    return app.backend


def test_unknown_ids_are_pending(app: Celery, backend: Any) -> None:
    assert backend.get_task_meta("nobody") == {"status": "PENDING", "result": None}
    result = app.AsyncResult("nobody")
    assert (result.state, result.result, result.traceback, result.date_done) == ("PENDING", None, None, None)
    assert not result.ready()
    assert not result.exists()


@pytest.mark.parametrize("value", [None, 0, "", [], {}, 3.5, "ünï", [1, {"a": None}], 2**70])
def test_values_come_back(app: Celery, backend: Any, value: Any) -> None:
    backend.mark_as_done("id", value)
    result = app.AsyncResult("id")
    assert result.get(timeout=0) == value
    assert (result.state, result.successful(), result.failed(), result.exists()) == ("SUCCESS", True, False, True)
    assert result.date_done is not None
    assert abs((dt.datetime.now(dt.timezone.utc) - result.date_done).total_seconds()) < 60


def test_states_follow_each_other(app: Celery, backend: Any) -> None:
    backend.mark_as_started("id", pid=1, hostname="h")
    assert (app.AsyncResult("id").state, app.AsyncResult("id").info) == ("STARTED", {"pid": 1, "hostname": "h"})
    backend.store_result("id", {"done": 3}, "PROGRESS")
    assert (app.AsyncResult("id").state, app.AsyncResult("id").info) == ("PROGRESS", {"done": 3})
    backend.mark_as_retry("id", ValueError("again"), "the traceback")
    retry = app.AsyncResult("id")
    assert (retry.state, repr(retry.result), retry.traceback) == ("RETRY", "ValueError('again')", "the traceback")
    backend.mark_as_done("id", 1)
    assert app.AsyncResult("id").get(timeout=0) == 1


def test_success_is_final(app: Celery, backend: Any) -> None:
    backend.mark_as_done("id", 1)
    backend.mark_as_failure("id", ValueError())
    backend.store_result("id", 2, "SUCCESS")
    backend.store_result("id", 2, "PROGRESS")
    assert (app.AsyncResult("id").state, app.AsyncResult("id").result) == ("SUCCESS", 1)


def test_failure_is_not_final(app: Celery, backend: Any) -> None:
    backend.mark_as_failure("id", ValueError())
    backend.mark_as_done("id", 1)
    assert app.AsyncResult("id").state == "SUCCESS"


def test_failures_are_raised_or_returned(app: Celery, backend: Any) -> None:
    backend.mark_as_failure("id", KeyError("missing", 1), "Traceback of the worker")
    result = app.AsyncResult("id")
    with pytest.raises(KeyError) as caught:
        result.get(timeout=0)
    assert caught.value.args == ("missing", 1)
    value: Any = app.AsyncResult("id").get(timeout=0, propagate=False)
    assert isinstance(value, KeyError)
    assert result.traceback == "Traceback of the worker"
    assert result.failed()


def test_revoked_raises_too(app: Celery, backend: Any) -> None:
    backend.mark_as_revoked("id", "terminated")
    result = app.AsyncResult("id")
    assert result.state == "REVOKED"
    with pytest.raises(TaskRevokedError, match="terminated"):
        result.get(timeout=0)


def test_classes_of_ours_are_stored_under_celerys_names(backend: Any) -> None:
    document = backend.prepare_exception(WorkerLostError("gone"))
    assert document == {
        "exc_type": "WorkerLostError",
        "exc_message": ["gone"],
        "exc_module": "billiard.exceptions",
    }
    assert type(backend.exception_to_python(document)) is WorkerLostError


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ({"exc_type": "Gone", "exc_message": ["x"], "exc_module": "not.importable"}, "Gone"),
        ({"exc_type": "Nope", "exc_message": ["x"], "exc_module": "builtins"}, "Nope"),
        ({"exc_type": "Bare", "exc_message": "x"}, "Bare"),
    ],
)
def test_classes_that_are_not_loaded_are_fabricated(backend: Any, document: Any, name: str) -> None:
    exc = backend.exception_to_python(document)
    assert (type(exc).__name__, exc.args) == (name, ("x",))
    assert type(exc) is type(backend.exception_to_python(document))


@pytest.mark.parametrize("kind_of_exit", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_a_stored_exit_does_not_end_the_reader(backend: Any, kind_of_exit: str) -> None:
    exc = backend.exception_to_python({"exc_type": kind_of_exit, "exc_message": ["1"], "exc_module": "builtins"})
    assert isinstance(exc, Exception)
    assert kind_of_exit in str(exc)


def test_what_is_no_exception_is_refused(backend: Any) -> None:
    with pytest.raises(SecurityError, match=r"os\.system"):
        backend.exception_to_python({"exc_type": "system", "exc_message": ["true"], "exc_module": "os"})


def test_unserialisable_results_are_refused(app: Celery, backend: Any) -> None:
    with pytest.raises(EncodeError):
        backend.mark_as_done("id", object())
    assert app.AsyncResult("id").state == "PENDING"


def test_forget(app: Celery, backend: Any) -> None:
    backend.mark_as_done("id", 1)
    backend.mark_as_done("parent", 2)
    result = app.AsyncResult("id", parent=app.AsyncResult("parent"))
    assert result.get(timeout=0) == 1
    result.forget()
    assert (app.AsyncResult("id").state, app.AsyncResult("parent").state) == ("PENDING", "PENDING")
    assert result.state == "PENDING"


def test_extended_records(app: Celery) -> None:
    app.conf.result_extended = True
    backend = app._get_backend()
    app.backend = backend
    request = Context(
        id="id", task="t", args=[1], kwargs={"k": 2}, hostname="w1@h", retries=2, delivery_info={"routing_key": "fast"}
    )
    backend.mark_as_done("id", 1, request=request)
    result = app.AsyncResult("id")
    assert (result.name, result.args, result.kwargs) == ("t", [1], {"k": 2})
    assert (result.worker, result.retries, result.queue) == ("w1@h", 2, "fast")


def test_requests_that_ignore_results_store_nothing(app: Celery, backend: Any) -> None:
    backend.mark_as_done("id", 1, request=Context(id="id", ignore_result=True))
    assert app.AsyncResult("id").state == "PENDING"


def test_a_failure_fails_later_steps_of_a_chain(app: Celery, backend: Any) -> None:
    def step(task_id: str) -> dict[str, Any]:
        return {"task": "t", "args": [], "kwargs": {}, "options": {"task_id": task_id}, "subtask_type": None}

    chord = {
        "task": "celery.chord",
        "kwargs": {"header": [], "body": step("body")},
        "options": {},
        "subtask_type": "chord",
    }
    request = Context(id="first", chain=[step("last"), chord, step("second")])
    backend.mark_as_failure("first", ValueError("x"), request=request)
    assert [app.AsyncResult(each).state for each in ("first", "second", "body", "last")] == ["FAILURE"] * 4


def test_groups(app: Celery, backend: Any) -> None:
    group = GroupResult("g", [app.AsyncResult("a"), app.AsyncResult("b")], app=app)
    assert backend.restore_group("g") is None
    group.save()
    assert GroupResult.restore("g", app=app) == group
    group.delete()
    assert GroupResult.restore("g", app=app) is None


def test_results_as_values_become_handles(app: Celery, backend: Any) -> None:
    backend.mark_as_done("id", app.AsyncResult("other"))
    assert app.AsyncResult("id").get(timeout=0) == [["other", None], None]


# --- waiting ---------------------------------------------------------------------------------------------------------


def later(seconds: float, work: Any) -> threading.Thread:
    thread = threading.Timer(seconds, work)
    thread.start()
    return thread


def test_get_wakes_up_when_the_result_comes(app: Celery, backend: Any) -> None:
    thread = later(0.1, lambda: backend.mark_as_done("id", 7))
    began = time.monotonic()
    assert app.AsyncResult("id").get(timeout=10, interval=0.01) == 7
    assert time.monotonic() - began < 5
    thread.join()


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_get_gives_up(app: Celery, timeout: float) -> None:
    with pytest.raises(TimeoutError, match="timed out"):
        app.AsyncResult("nobody").get(timeout=timeout, interval=0.01)


def test_no_wake_up_is_lost(app: Celery, backend: Any) -> None:
    """Results that come at any moment of a wait end it; a lost wake-up would run into the timeout."""
    for number in range(200):
        task_id = f"id-{number}"
        thread = threading.Thread(target=backend.mark_as_done, args=(task_id, number))
        thread.start()
        assert app.AsyncResult(task_id).get(timeout=20, interval=0.01) == number
        thread.join()


def test_callbacks_of_get(app: Celery, backend: Any) -> None:
    calls: list[Any] = []
    thread = later(0.15, lambda: backend.mark_as_done("id", 7))
    app.AsyncResult("id").get(
        timeout=10, interval=0.02, on_interval=lambda: calls.append("turn"), callback=lambda *a: calls.append(a)
    )
    thread.join()
    assert calls[-1] == ("id", 7)
    assert calls.count("turn") >= 2


def test_on_message_is_refused_where_not_every_state_is_told(app: Celery, backend: Any, kind: str) -> None:
    if kind.startswith("redis"):
        seen: list[Any] = []
        backend.store_result("id", {"done": 1}, "PROGRESS")
        thread = later(0.05, lambda: backend.mark_as_done("id", 7))
        assert app.AsyncResult("id").get(timeout=10, on_message=seen.append) == 7
        thread.join()
        assert [meta["status"] for meta in seen] == ["PROGRESS", "SUCCESS"]
        return
    with pytest.raises(ImproperlyConfigured, match="on_message"):
        app.AsyncResult("id").get(timeout=1, on_message=print)


def test_a_failed_parent_ends_the_wait(app: Celery, backend: Any) -> None:
    thread = later(0.05, lambda: backend.mark_as_failure("parent", ValueError("first step")))
    with pytest.raises(ValueError, match="first step"):
        app.AsyncResult("id", parent=app.AsyncResult("parent")).get(timeout=10, interval=0.02)
    thread.join()


def test_await(app: Celery, backend: Any) -> None:
    async def main() -> Any:
        results = [app.AsyncResult(f"id-{number}") for number in range(50)]
        waiting = [asyncio.ensure_future(result) for result in results]
        await asyncio.sleep(0.02)
        for number in range(50):
            backend.mark_as_done(f"id-{number}", number)
        return await asyncio.gather(*waiting)

    before = threading.active_count()
    assert asyncio.run(main()) == list(range(50))
    assert threading.active_count() <= before + 2  # one for all waiters


def test_await_raises_and_gives_up(app: Celery, backend: Any) -> None:
    backend.mark_as_failure("id", KeyError("missing"))

    async def main() -> None:
        with pytest.raises(KeyError):
            await app.AsyncResult("id")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(app.AsyncResult("nobody"), 0.05)

    asyncio.run(main())
    assert not backend.watcher._waiting


def test_then_is_called_without_anybody_waiting(app: Celery, backend: Any) -> None:
    told, event = [], threading.Event()

    def tell(result: Any) -> None:
        told.append((result.id, result.result))
        event.set()

    app.AsyncResult("id").then(tell)
    backend.mark_as_done("id", 7)
    assert event.wait(10)
    app.AsyncResult("id").then(tell)
    assert told == [("id", 7), ("id", 7)]


def test_join(app: Celery, backend: Any) -> None:
    members = ResultSet([app.AsyncResult(f"id-{number}") for number in range(5)], app=app)
    with pytest.raises(TimeoutError):
        members.get(timeout=0.05, interval=0.01)
    for number in reversed(range(5)):
        backend.mark_as_done(f"id-{number}", number)
    assert members.get(timeout=5) == members.join(timeout=5) == members.join_native(timeout=5) == [0, 1, 2, 3, 4]
    assert {id: meta["result"] for id, meta in members.iter_native()} == {f"id-{n}": n for n in range(5)}
    calls: list[Any] = []
    assert members.join(callback=lambda *call: calls.append(call)) == []
    assert calls == [(f"id-{n}", n) for n in range(5)]
    assert (members.ready(), members.successful(), members.failed(), members.completed_count()) == (
        True,
        True,
        False,
        5,
    )


def test_join_raises_the_failure_of_a_member(app: Celery, backend: Any) -> None:
    backend.mark_as_failure("bad", KeyError("missing"))
    members = ResultSet([app.AsyncResult("bad"), app.AsyncResult("nobody")], app=app)
    for join in (members.join, members.join_native):
        with pytest.raises(KeyError):
            join(timeout=5)
    assert (members.failed(), members.waiting(), members.successful()) == (True, True, False)


# --- what only stores of their own can do ----------------------------------------------------------------------------


def test_records_expire(app: Celery, kind: str) -> None:
    if kind == "dict":
        pytest.skip("keeps what it has")
    app.conf.result_expires = 0.05
    backend = app.backend = app._get_backend()
    backend.mark_as_done("id", 1)
    deadline = time.monotonic() + 10
    while app.AsyncResult("id").state != "PENDING":
        assert time.monotonic() < deadline
    # Redis lets records go by itself.
    assert backend.cleanup() == (None if kind.startswith("redis") else 1)


def test_another_handle_sees_the_result(app: Celery, backend: Any, kind: str) -> None:
    if kind == "dict":
        pytest.skip("each has its own")
    other = app._get_backend()
    thread = later(0.05, lambda: other.mark_as_done("id", 1))
    assert app.AsyncResult("id").get(timeout=10) == 1
    thread.join()


def test_backends_and_results_can_be_pickled(app: Celery, backend: Any, kind: str) -> None:
    if kind == "dict":
        pytest.skip("a local class")
    result: AsyncResult[Any] = pickle.loads(pickle.dumps(AsyncResult("id", app=app)))
    assert result.id == "id"


def _child(app: Celery, task_id: str) -> None:
    assert app.AsyncResult("known").get(timeout=0) == 1
    app.backend.mark_as_done(task_id, os.getpid())


def test_use_after_a_fork(app: Celery, backend: Any, kind: str) -> None:
    if kind not in {"sqlite", "redis", "redis-cluster"}:
        pytest.skip("memory is not shared")
    backend.mark_as_done("known", 1)
    process = multiprocessing.get_context("fork").Process(target=_child, args=(app, "from the child"))
    process.start()
    assert app.AsyncResult("from the child").get(timeout=20) == process.pid
    process.join(20)
    assert process.exitcode == 0


def test_many_threads(app: Celery, backend: Any) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for index in range(20):
                task_id = f"{number}-{index}"
                backend.mark_as_done(task_id, index)
                assert app.AsyncResult(task_id).get(timeout=10) == index
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
def test_serializers(kind: str, app: Celery, serializer: str) -> None:
    if serializer == "yaml":
        pytest.importorskip("yaml")
    app.conf.update(result_serializer=serializer, result_accept_content=[serializer])
    backend = app.backend = app._get_backend()
    backend.mark_as_done("good", {"a": [1, 2]})
    backend.mark_as_failure("bad", KeyError("missing"), "trace")
    assert app.AsyncResult("good").get(timeout=0) == {"a": [1, 2]}
    with pytest.raises(KeyError, match="missing"):
        app.AsyncResult("bad").get(timeout=0)


class Awkward(Exception):
    def __init__(self, first: Any, second: Any) -> None:
        super().__init__(first)
        self.lock = threading.Lock()


def test_pickle_keeps_what_it_can_of_an_exception(app: Celery) -> None:
    app.conf.update(result_serializer="pickle", result_accept_content=["pickle"])
    backend = app.backend = app._get_backend()
    backend.mark_as_failure("bad", Awkward("a", "b"))
    value: Any = app.AsyncResult("bad").result
    assert isinstance(value, Exception)
    assert "Awkward" in f"{type(value).__name__} {value}"


def test_a_cache_of_results(app: Celery) -> None:
    app.conf.result_cache_max = 2
    backend = app._get_backend()
    for number in range(3):
        backend.mark_as_done(str(number), number)
        backend.get_task_meta(str(number))
    assert [key for key in "012" if backend._cache.get(key)] == ["1", "2"]
    backend.forget("1")
    assert backend.get_task_meta("1")["status"] == states.PENDING


def test_records_are_celerys_json(app: Celery, backend: Any, kind: str) -> None:
    backend.mark_as_done("id", 5)
    prefix = "{celeriac}_" if kind == "redis-cluster" else ""
    meta = json.loads(backend.get(f"{prefix}celery-task-meta-id"))
    assert list(meta) == ["status", "result", "traceback", "children", "date_done", "task_id"]


def test_states_of_a_set_are_asked_for_in_one_question(app: Celery, backend: Any, monkeypatch: Any) -> None:
    questions: list[int] = []
    ask = backend.mget

    def counting(keys: list[str]) -> Any:
        questions.append(len(keys))
        return ask(keys)

    monkeypatch.setattr(backend, "mget", counting)
    monkeypatch.setattr(backend, "get_task_meta", lambda *a, **k: pytest.fail("asked one by one"))
    members = ResultSet([app.AsyncResult(f"id-{number}") for number in range(100)], app=app)
    for number in range(60):
        backend.mark_as_done(f"id-{number}", number)
    assert (members.completed_count(), members.ready(), members.failed()) == (60, False, False)
    assert questions == [100, 40, 40]


def test_joining_many_reads_few(app: Celery, backend: Any, monkeypatch: Any) -> None:
    """Results that come one by one must not each cost a look at all the others."""
    read = [0]
    ask = backend.mget

    def counting(keys: list[str]) -> Any:
        read[0] += len(keys)
        return ask(keys)

    monkeypatch.setattr(backend, "mget", counting)
    count = 1000
    members = ResultSet([app.AsyncResult(f"id-{number}") for number in range(count)], app=app)
    thread = threading.Thread(target=lambda: [backend.mark_as_done(f"id-{n}", n) for n in range(count)])
    thread.start()
    assert members.get(timeout=30, interval=0.001) == list(range(count))
    thread.join()
    assert read[0] < count * count / 10
