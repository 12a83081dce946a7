"""Results between us and real Celery, in both directions, in one subprocess. Needs `make venvs`."""

from __future__ import annotations

import builtins
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery, exceptions
from celeriac.app.context import Context
from tests.support.needs import celery_python

pytestmark = pytest.mark.celery_peer

SIDE = Path(__file__).with_name("celery_results_side.py")

REQUESTS: list[dict[str, Any]] = [
    {"id": "plain", "task": "t", "args": [1], "kwargs": {"a": None}, "hostname": "w@h", "retries": 2},
    {"id": "grouped", "task": "t", "args": [], "kwargs": {}, "group": "g", "parent_id": "p"},
    {
        "id": "stamped",
        "task": "t",
        "args": [],
        "kwargs": {},
        "stamped_headers": ["colour"],
        "stamps": {"colour": ["red", "blue"]},
        "delivery_info": {"routing_key": "fast"},
    },
]
VALUES: list[Any] = [None, 0, 1.5, "ünï\n", [1, [2]], {"a": {"b": None}}, True, 2**65]
RAISED: list[tuple[str, list[Any]]] = [
    ("KeyError", ["missing"]),
    ("ValueError", []),
    ("RuntimeError", ["a", 1, None]),
    ("NotRegistered", ["no.such.task"]),
    ("TaskRevokedError", ["expired"]),
    ("Reject", ["no thanks", False]),
    ("MaxRetriesExceededError", ["too often"]),
    ("ChordError", ["Dependency x raised y"]),
    ("WorkerLostError", ["gone"]),
    ("TimeLimitExceeded", [1]),
    ("SoftTimeLimitExceeded", []),
]


def made(name: str, args: list[Any]) -> BaseException:
    kind: Any = getattr(exceptions, name, None) or getattr(builtins, name)
    exc: BaseException = kind(*args)
    return exc


def cases() -> Iterator[dict[str, Any]]:
    for request in REQUESTS:
        for value in VALUES:
            yield {"request": request, "state": "SUCCESS", "result": value, "traceback": None}
        yield {"request": request, "state": "PROGRESS", "result": {"done": 1}, "traceback": None}
        for name, args in RAISED:
            for state in ("FAILURE", "RETRY", "REVOKED"):
                yield {
                    "request": request,
                    "state": state,
                    "raise": [name, args],
                    "result": None,
                    "traceback": "Traceback …",
                }


@pytest.fixture(scope="module")
def app() -> Iterator[Celery]:
    app = Celery("ours", broker="memory://d", backend="memory://d", set_as_current=False)
    app.conf.result_extended = True
    yield app
    app.close()


@pytest.fixture(scope="module")
def exchange(app: Celery) -> list[tuple[dict[str, Any], bytes, Any, str]]:
    """`(case, our record, what Celery reads in it, Celery's record)` of each case."""
    every = list(cases())
    ours = [
        app.backend.encode_write(
            case["request"]["id"],
            case["state"],
            made(*case["raise"]) if "raise" in case else case["result"],
            Context(case["request"]),
            case["traceback"],
        )[1]
        for case in every
    ]
    question = {"read": [record.decode() for record in ours], "write": every}
    done = subprocess.run(
        [str(celery_python()), str(SIDE)], input=json.dumps(question), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return list(zip(every, ours, answer["read"], answer["written"], strict=True))


def test_celery_reads_what_we_write(exchange: Any) -> None:
    for case, _, read, _ in exchange:
        assert read["status"] == case["state"], read
        assert read["traceback"] == case["traceback"]
        assert read["children"] == []
        if "raise" in case:
            exc = made(*case["raise"])
            assert read["result"]["args"] == repr(exc.args), case
            module, _, name = read["result"]["class"].rpartition(".")
            assert name == type(exc).__name__
            assert not module.startswith("celeriac")
        else:
            assert read["result"] == case["result"]


def test_our_records_are_celerys(exchange: Any) -> None:
    for _, ours, _, celerys in exchange:
        mine, theirs = json.loads(ours), json.loads(celerys)
        assert bool(mine.pop("date_done")) == bool(theirs.pop("date_done"))
        assert mine == theirs


def test_we_read_what_celery_writes(app: Celery, exchange: Any) -> None:
    for case, _, _, celerys in exchange:
        meta = app.backend.decode_result(celerys.encode())
        assert meta["status"] == case["state"]
        assert meta["traceback"] == case["traceback"]
        if "raise" in case:
            exc = made(*case["raise"])
            assert type(meta["result"]) is type(exc)
            assert meta["result"].args == exc.args
        else:
            assert meta["result"] == case["result"]
