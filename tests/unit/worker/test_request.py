"""A received message as signals and `worker.state` show it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celeriac._bridge.codec import Message
from celeriac.exceptions import WorkerShutdown, WorkerTerminate
from celeriac.worker import state
from celeriac.worker.request import Request
from tests.unit.worker.fake_hub import FakeJob, envelope


@pytest.fixture
def request_() -> Request:
    app: Any = SimpleNamespace(conf=SimpleNamespace(accept_content=["json"]), tasks={"add": "the task"})
    return Request(Message.scan(envelope("add", "i1", [1], {"y": 2})), app, hostname="w@h")


def test_it_has_celery_s_attributes(request_: Request) -> None:
    task: Any = request_.task
    assert (request_.id, request_.name, task) == ("i1", "add", "the task")
    assert (request_.args, request_.kwargs) == ([1], {"y": 2})
    assert (request_.root_id, request_.eta, request_.correlation_id) == ("i1", None, "i1")
    assert request_.delivery_info["routing_key"] == "celery"
    assert request_.humaninfo() == "add[i1]"
    assert request_.info()["name"] == "add"
    with pytest.raises(AttributeError, match="no_such"):
        _ = request_.no_such


def test_state_shows_what_runs(request_: Request) -> None:
    job = FakeJob(request_.message)
    worker: Any = type("W", (), {})()
    worker.app, worker.hostname = request_.app, "w@h"
    worker.pool = SimpleNamespace(running_jobs=lambda: [job])
    state._workers.add(worker)
    try:
        assert state.active_requests == {request_}
        assert state.requests["i1"].name == "add"
    finally:
        state._workers.discard(worker)
    assert state.active_requests == set()


@pytest.mark.parametrize(
    ("flag", "value", "error", "code"),
    [
        ("should_stop", True, WorkerShutdown, 0),
        ("should_stop", 0, WorkerShutdown, 0),
        ("should_stop", 3, WorkerShutdown, 3),
        ("should_terminate", True, WorkerTerminate, 1),
        ("should_terminate", 4, WorkerTerminate, 4),
    ],
)
def test_flags_ask_for_an_end_with_a_code(
    flag: str, value: Any, error: type[SystemExit], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, flag, value)
    with pytest.raises(error) as raised:
        state.maybe_shutdown()
    assert raised.value.code == code


@pytest.mark.parametrize("value", [None, False])
def test_no_flag_no_end(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "should_stop", value)
    state.maybe_shutdown()
