"""Results in one Redis between us and real Celery (needs `make venvs`), and the commands that write them."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac import Celery
from celeriac.app.context import Context
from celeriac.result import GroupResult
from tests.compat.vectors_reader import load
from tests.support.needs import celery_python
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

SIDE = Path(__file__).with_name("celery_redis_side.py")
SETTINGS: list[dict[str, Any]] = [
    {},
    {"result_backend_transport_options": {"global_keyprefix": "team"}},
    {"result_serializer": "pickle", "result_accept_content": ["pickle"], "result_compression": "gzip"},
]


class Peer:
    """Real Celery at the other end of a pipe."""

    def __init__(self, url: str, settings: dict[str, Any]) -> None:
        argv = [str(celery_python()), str(SIDE), url, json.dumps(settings)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, do: str, task_id: str, value: Any = None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([do, task_id, value]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        answer = json.loads(self._process.stdout.readline())
        assert not (isinstance(answer, dict) and "raised" in answer), answer
        return answer

    def ask(self, do: str, task_id: str, value: Any = None) -> Any:
        self.send(do, task_id, value)
        return self.answer()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(params=SETTINGS, ids=["plain", "prefix", "pickle-gzip"])
def settings(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


@pytest.fixture
def app(redis_server: RedisServer, settings: dict[str, Any]) -> Iterator[Celery]:
    app = Celery("ours", broker="memory://compat", backend=redis_server.url, set_as_current=False)
    app.conf.update(settings)
    yield app
    app.close()


@pytest.fixture
def peer(redis_server: RedisServer, settings: dict[str, Any]) -> Iterator[Peer]:
    peer = Peer(redis_server.url, settings)
    yield peer
    peer.close()


@pytest.fixture
def admin(redis_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(port=redis_server.port) as client:
        yield client


@pytest.mark.celery_peer
def test_celery_reads_what_we_store(app: Celery, peer: Peer) -> None:
    backend = app.backend
    backend.mark_as_done("done", {"a": [1, "ü"]})
    backend.store_result("progress", {"half": 1}, "PROGRESS")
    backend.mark_as_failure("failed", KeyError("missing"), "Traceback …")
    assert peer.ask("wait", "done") == {"a": [1, "ü"]}
    assert peer.ask("state", "progress") == "PROGRESS"
    assert peer.ask("wait", "failed") == "KeyError('missing')"
    GroupResult("group", [app.AsyncResult("done"), app.AsyncResult("failed")], app=app).save()
    assert peer.ask("restore", "group") == ["done", "failed"]
    app.AsyncResult("progress").forget()
    assert peer.ask("state", "progress") == "PENDING"


@pytest.mark.celery_peer
def test_we_read_what_celery_stores(app: Celery, peer: Peer) -> None:
    peer.ask("done", "done", {"a": [1, "ü"]})
    peer.ask("progress", "progress", {"half": 1})
    peer.ask("failure", "failed", "missing")
    assert app.AsyncResult("done").get(timeout=10) == {"a": [1, "ü"]}
    assert (app.AsyncResult("progress").state, app.AsyncResult("progress").info) == ("PROGRESS", {"half": 1})
    with pytest.raises(KeyError, match="missing"):
        app.AsyncResult("failed").get(timeout=10)
    peer.ask("save", "group", ["done", "failed"])
    group = GroupResult.restore("group", app=app)
    assert group is not None
    assert [each.id for each in group.results] == ["done", "failed"]
    peer.ask("forget", "progress")
    assert app.AsyncResult("progress").state == "PENDING"


@pytest.mark.celery_peer
def test_neither_overwrites_the_others_success(app: Celery, peer: Peer) -> None:
    app.backend.mark_as_done("ours", 1)
    peer.ask("done", "theirs", 1)
    peer.ask("done", "ours", 2)
    app.backend.mark_as_done("theirs", 2)
    app.backend.mark_as_failure("theirs", ValueError())
    assert app.AsyncResult("ours").get(timeout=10) == app.AsyncResult("theirs").get(timeout=10) == 1


def channel(app: Celery, task_id: str) -> str:
    return str(app.backend.get_key_for_task(task_id))


@pytest.mark.celery_peer
def test_each_is_woken_by_the_other(app: Celery, peer: Peer, admin: Any) -> None:
    peer.ask("subscribe", "for celery")
    peer.send("wait", "for celery")
    wait_until(lambda: admin.pubsub_numsub(channel(app, "for celery"))[0][1], timeout=20, what="Celery's subscription")
    app.backend.mark_as_done("for celery", 7)
    assert peer.answer() == 7

    def store() -> None:
        wait_until(lambda: admin.pubsub_numsub(channel(app, "for us"))[0][1], timeout=20, what="our subscription")
        peer.ask("progress", "for us", {"half": 1})
        peer.ask("done", "for us", 8)

    thread = threading.Thread(target=store)
    thread.start()
    seen: list[Any] = []
    assert app.AsyncResult("for us").get(timeout=30, on_message=seen.append) == 8
    thread.join()
    assert [meta["status"] for meta in seen] == ["PROGRESS", "SUCCESS"]


# --- commands --------------------------------------------------------------------------------------------------------


def commands(admin: Any, act: Callable[[], Any]) -> list[list[str]]:
    """What `act` makes the server do."""
    with admin.monitor() as monitor:
        act()
        admin.echo("the end")
        seen = []
        while (row := monitor.next_command())["command"] != "ECHO the end":
            seen.append(row["command"].split(" ", 3))
    return [words for words in seen if words[0] not in {"CLIENT", "HELLO", "SELECT"}]


def test_states_are_written_as_celery_writes_them(redis_server: RedisServer, admin: Any) -> None:
    app = Celery("ours", broker="memory://compat", backend=redis_server.url, set_as_current=False)
    backend = app.backend
    vector = load("result-redis", "success")
    key = vector["key"]
    task_id = key.removeprefix("celery-task-meta-")
    seen = commands(admin, lambda: backend.mark_as_done(task_id, 5, request=Context(id=task_id)))
    assert [words[:2] for words in seen] == [["GET", key], ["MULTI"], ["SETEX", key], ["PUBLISH", key], ["EXEC"]]
    assert seen[2][2] == str(vector["ttl"])
    ours, captured = json.loads(admin.get(key)), json.loads(vector["raw"][0])
    ours.pop("date_done"), captured.pop("date_done")
    assert ours == captured
    assert [words[:2] for words in commands(admin, lambda: backend.mark_as_done(task_id, 6))] == [["GET", key]]
    assert commands(admin, lambda: backend.forget(task_id)) == [["DEL", key]]
    app.conf.result_expires = 0
    forever = app._get_backend()
    seen = commands(admin, lambda: forever.mark_as_done(task_id, 5))
    assert [words[0] for words in seen] == ["GET", "MULTI", "SET", "PUBLISH", "EXEC"]
    app.close()
    forever.close()
