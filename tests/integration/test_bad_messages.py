"""Messages that no worker can run: kept as dead letters with their bytes and the reason, while the worker lives on."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.support import raw
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from celeriac import Celery
    from tests.support.worker import Worker

GOOD = raw.envelope()
JSON_BODY = b'[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


def without(*path: str) -> bytes:
    """The good message less one member."""
    message = json.loads(GOOD)
    inner = message
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return json.dumps(message).encode()


def replaced(value: object, *path: str) -> bytes:
    """The good message with another value for one member."""
    message = json.loads(GOOD)
    inner = message
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return json.dumps(message).encode()


MALFORMED = {
    "empty": b"",
    "one byte": b"{",
    "noise": bytes(range(256)) * 4,
    "zeros": bytes(1000),
    "not UTF-8": b'{"body": "\xff\xfe"}',
    "cut in half": GOOD[: len(GOOD) // 2],
    "cut at the end": GOOD[:-1],
    "twice": GOOD + GOOD,
    "an array": b"[1, 2, 3]",
    "a number": b"42",
    "a text": b'"hello"',
    "deep arrays": b"[" * 200_000,
    "deep objects": b'{"headers": ' * 100_000,
    "no headers": without("headers"),
    "headers of the wrong type": replaced([1], "headers"),
    "headers null": replaced(None, "headers"),
    "task not a text": replaced({"a": 1}, "headers", "task"),
    "no id": without("headers", "id"),
    "body not a text": replaced(17, "body"),
    "content type empty": raw.envelope(content_type=""),
}

UNDECODABLE = {
    "body not base64": replaced("@@@@", "body"),
    "body cut": replaced(base64.b64encode(JSON_BODY[:20]).decode(), "body"),
    "body empty": raw.envelope(body=b""),
    "body noise": raw.envelope(body=bytes(range(256))),
    "body a number": raw.envelope(body=b"17"),
    "body an array of two": raw.envelope(body=b"[[1], {}]"),
    "body deep": raw.envelope(body=b"[" * 200_000),
    "unknown compression": raw.envelope(headers={"compression": "application/x-rot13"}),
    "damaged compression": raw.envelope(headers={"compression": "application/x-gzip"}, body=b"not zlib at all"),
    "bomb": raw.envelope(headers={"compression": "application/x-gzip"}, body=zlib.compress(bytes(300 << 20), 9)),
}

CONTENT_TYPE = {
    "unknown": raw.envelope(content_type="application/x-never-heard-of"),
    "pickle, not accepted": raw.envelope(
        content_type="application/x-python-serialize", content_encoding="binary", body=b"\x80\x04N."
    ),
    "yaml, not accepted": raw.envelope(content_type="application/x-yaml", body=b"[[1, 2], {}, {}]"),
}


def still_works(app: Celery) -> None:
    assert app.tasks["t.add"].delay(2, 3).get(timeout=20) == 5


def dead_with(app: Celery, count: int) -> dict[bytes, raw.Dead]:
    """Dead letters by their bytes, once there are `count`."""
    with suppress(TimeoutError):  # the caller says which are missing
        wait_until(lambda: len(raw.dead(app)) >= count, timeout=10, what=f"{count} dead letters")
    return {letter.payload: letter for letter in raw.dead(app)}


@pytest.mark.parametrize("pool", ["threads", "solo"])
@pytest.mark.parametrize(
    ("cases", "reasons"),
    [
        pytest.param(MALFORMED, {"malformed"}, id="malformed"),
        pytest.param(UNDECODABLE, {"undecodable", "malformed"}, id="undecodable"),
        pytest.param(CONTENT_TYPE, {"content-type"}, id="content-type"),
    ],
)
def test_unreadable_message_is_kept_with_its_bytes_and_the_reason(
    app: Celery, start_worker: Callable[..., Worker], cases: dict[str, bytes], reasons: set[str], pool: str
) -> None:
    raw.declare(app)
    for payload in cases.values():
        raw.push(app, payload)
    worker = start_worker(pool=pool)
    still_works(app)
    letters = dead_with(app, len(cases))
    wrong = {
        name: (letters[payload].reason, letters[payload].detail) if payload in letters else "not there"
        for name, payload in cases.items()
        if payload not in letters or letters[payload].reason not in reasons or not letters[payload].detail
    }
    assert not wrong
    assert {letter.queue for letter in letters.values()} == {"celery"}
    assert raw.waiting(app) == 0
    assert worker.stop() == 0


def test_unknown_task_is_kept_and_its_result_says_so(app: Celery, start_worker: Callable[..., Worker]) -> None:
    from celeriac.exceptions import NotRegistered

    start_worker()
    sent = app.send_task("t.no_such_task", (1,))
    with pytest.raises(NotRegistered, match=r"t\.no_such_task"):
        sent.get(timeout=20)
    (letter,) = dead_with(app, 1).values()
    assert letter.reason == "unknown-task"
    assert "t.no_such_task" in letter.detail
    still_works(app)


def test_oversized_message_is_not_taken_apart(app: Celery, start_worker: Callable[..., Worker]) -> None:
    raw.declare(app)
    large = raw.envelope("t.echo", json.dumps([["x" * 200_000], {}, {}]).encode())
    raw.push(app, large)
    start_worker(env={"T_CONF": json.dumps({"worker_max_message_bytes": 100_000})})
    still_works(app)
    assert dead_with(app, 1)[large].reason == "oversized"


def test_replayed_dead_letter_runs_once_a_worker_knows_its_task(
    app: Celery, start_worker: Callable[..., Worker], broker_url: str
) -> None:
    worker = start_worker()
    sent = app.send_task("t.later", (20, 1))
    dead_with(app, 1)
    worker.stop()
    start_worker(env={"T_ALSO": "t.later"})
    assert app.broker.dead_replay(None) == 1
    assert app.AsyncResult(sent.id).get(timeout=20, propagate=False) is not None
    wait_until(lambda: app.AsyncResult(sent.id).state == "SUCCESS", timeout=20, what="success")
    assert app.AsyncResult(sent.id).result == 21
    assert raw.dead(app) == []


def test_wrong_arguments_fail_the_task(app: Celery, start_worker: Callable[..., Worker]) -> None:
    start_worker()
    for args, kwargs in [((1,), {}), ((1, 2, 3), {}), ((1,), {"z": 2}), ((), {"x": 1, "y": 2, "self": 3})]:
        with pytest.raises(TypeError):
            app.send_task("t.add", args, kwargs).get(timeout=20)
    assert raw.dead(app) == []
    still_works(app)


@pytest.mark.parametrize("body", [b"[17, {}, {}]", b"[[1, 2], [3], {}]", b"[null, null, null]"])
def test_arguments_of_the_wrong_shape_fail_the_task(
    app: Celery, start_worker: Callable[..., Worker], body: bytes
) -> None:
    raw.declare(app)
    raw.push(app, raw.envelope(id="shapeless", body=body))
    start_worker()
    result = app.AsyncResult("shapeless")
    assert isinstance(result.get(timeout=20, propagate=False), Exception)
    assert result.state == "FAILURE"
    still_works(app)


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_task_that_ends_badly_is_a_failure_and_nothing_more(
    app: Celery, start_worker: Callable[..., Worker], pool: str
) -> None:
    worker = start_worker(pool=pool)
    sent = {
        name: app.tasks[name].delay()
        for name in (
            "t.fail_unhappy",
            "t.fail_heavy",
            "t.return_unserialisable",
            "t.deep",
            "t.recurse",
            "t.exit",
        )
    }
    sent["t.fail"] = app.tasks["t.fail"].delay("as told")
    for name, result in sent.items():
        error = result.get(timeout=30, propagate=False)
        assert result.state == "FAILURE", name
        assert isinstance(error, BaseException), name
        assert isinstance(result.traceback, str), name
    assert isinstance(sent["t.fail"].result, ValueError)
    assert sent["t.fail"].result.args == ("as told",)
    assert isinstance(sent["t.recurse"].result, RecursionError)
    still_works(app)
    assert worker.returncode is None
