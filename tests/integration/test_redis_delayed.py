"""Messages for later on Redis: parked by the server itself, in crowds, by its clock."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac._bridge.broker import open_broker
from tests.support.apps.tasks import build
from tests.support.journal import Journal
from tests.support.node import Node
from tests.support.redis_server import HOST, RedisServer
from tests.support.waiting import wait_until
from tests.support.worker import ROOT, Worker

DUE = ROOT / "rust/celeriac-transport/src/redis/lua/due.lua"
CLOCK = ROOT / "tests/support/clock_ahead.c"
TOMORROW = datetime.now(timezone.utc) + timedelta(days=1)


@pytest.fixture
def line(redis_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(host=HOST, port=redis_server.port) as client:
        yield client


@pytest.fixture
def node(redis_server: RedisServer) -> Iterator[Callable[..., Node]]:
    made: list[Node] = []

    def make(prefetch: int = 0) -> Node:
        made.append(Node(redis_server.url, prefetch=prefetch))
        return made[-1]

    yield make
    for one in made:
        one.stop(cold=True)


def message(eta: datetime | None = None, *, priority: int = 0) -> bytes:
    """What Celery writes, member by member in its order."""
    text = eta.isoformat() if eta else None
    headers = {"lang": "py", "task": "t", "id": f"id-{priority}", "shadow": None, "eta": text, "expires": None}
    properties = {
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "jobs"},
        "priority": priority,
        "body_encoding": "base64",
        "delivery_tag": "99999999-2222-3333-4444-555555555555",
    }
    envelope = {
        "body": "W1tdLCB7fSwge31d",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {**headers, "group": None, "retries": 0, "timelimit": [None, None]},
        "properties": properties,
    }
    return json.dumps(envelope).encode()


# --- what the script reads --------------------------------------------------------------------------------------


@pytest.fixture
def due_ms(line: Any) -> Callable[..., list[int | None]]:
    """The script's answers for messages, read one after the other in one run."""
    script = line.register_script(
        DUE.read_text() + "local all = {} for i, entry in ipairs(ARGV) do all[i] = due_ms(entry) or -1 end return all"
    )
    return lambda *entries: [None if ms == -1 else ms for ms in script(args=entries)]


@pytest.mark.parametrize(
    "eta",
    [
        "1970-01-01T00:00:00+00:00",
        "1999-12-31T23:59:59.999999+00:00",
        "2000-02-29T12:00:00+00:00",
        "2026-11-25T18:14:22.123456+00:00",
        "2027-01-01T00:00:00+00:00",
        "2028-02-29T23:59:59.5+00:00",
        "2028-03-01T00:00:00+00:00",
        "2100-02-28T23:59:59+00:00",
        "2100-03-01T00:00:00+00:00",
    ],
)
def test_a_date_is_what_python_says(due_ms: Callable[..., list[int | None]], eta: str) -> None:
    moment = datetime.fromisoformat(eta.replace(".5+", ".500000+"))
    raw = message(moment).replace(moment.isoformat().encode(), eta.encode())
    exact = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
    assert due_ms(raw, raw) == [exact, exact]


def test_what_our_own_producer_writes_is_read(redis_server: RedisServer, line: Any, due_ms: Any) -> None:
    app = build(redis_server.url)
    app.tasks["t.echo"].apply_async(('"eta": "1999-01-01T00:00:00+00:00"',), eta=TOMORROW)
    app.tasks["t.echo"].apply_async(('"eta": "1999-01-01T00:00:00+00:00"',))
    later, now = line.lrange("celery", 0, -1)[::-1]
    assert due_ms(now, later, now) == [None, int(TOMORROW.timestamp() * 1000), None]


def test_whatever_else_stands_there_is_left_to_the_worker(due_ms: Callable[..., list[int | None]]) -> None:
    plain = message(TOMORROW)
    eta = TOMORROW.isoformat().encode()
    header = b'"shadow": null, "eta": "' + eta + b'"'
    assert header in plain
    now = message()
    assert b'"eta": null' in now
    nested = json.loads(now)
    others = [
        now,
        plain.replace(eta, eta.replace(b"+00:00", b"+05:30")),
        plain.replace(eta, eta.replace(b"+00:00", b"")),
        plain.replace(eta, b"2026-13-01T00:00:00+00:00"),
        plain.replace(eta, b"2026-12-01T24:00:00+00:00"),
        plain.replace(eta, b"2026-12-01T00:00:60+00:00"),
        plain.replace(eta, b"soon"),
        plain.replace(b'"expires": null', b'"expires": "' + eta + b'"'),
        plain.replace(b'"task": "t"', rb'"task": "\"t"'),
        plain.replace(b'"id": "id-0"', rb'"id": "id\", "'),
        plain.replace(b'"lang": "py", ', b""),
        plain.replace(b'"body": ', b'"body":'),
        # The name in another place: in arguments, in headers and properties of the sender's own.
        json.dumps({**nested, "body": plain.decode()}).encode(),
        json.dumps({**nested, "headers": {"mine": json.loads(plain)["headers"], **nested["headers"]}}).encode(),
        json.dumps({**nested, "properties": json.loads(plain)}).encode(),
        json.dumps({"x": json.loads(plain), **nested}).encode(),
        plain[:40],
        plain[: plain.index(eta)],
        b"{}",
        b"",
        b"\xff\x00",
    ]
    assert plain not in others
    assert due_ms(plain, *others, plain) == [
        int(TOMORROW.timestamp() * 1000),
        *[None] * len(others),
        int(TOMORROW.timestamp() * 1000),
    ]


# --- what becomes of them ---------------------------------------------------------------------------------------


def test_a_crowd_for_later_is_parked_by_the_server_and_who_stands_behind_it_is_served(
    line: Any, node: Callable[..., Node]
) -> None:
    """All messages are the same bytes: each of them is kept."""
    many = 20_000
    raw = message(TOMORROW)
    for _ in range(many // 1000):
        line.lpush("jobs", *[raw] * 1000)
    line.lpush("jobs", message())
    worker = node(prefetch=8)
    job = worker.jobs(1)[0]
    assert worker.run(job) == "id-0"
    wait_until(lambda: line.zcard("celeriac.parked.jobs") == many, timeout=10, what="all parked")
    wait_until(lambda: not line.exists("jobs", "unacked"), timeout=10, what="nothing else left")
    # But for the first few, the worker never had them.
    assert worker.hub.stats()["parked"] < 100
    member, due = line.zrange("celeriac.parked.jobs", 0, 0, withscores=True)[0]
    assert member.split(b":0 ", 1)[1] == raw
    assert due == int(TOMORROW.timestamp() * 1000)


def test_what_was_parked_comes_back_in_its_time_with_its_priority(line: Any, node: Callable[..., Node]) -> None:
    due = datetime.now(timezone.utc) + timedelta(seconds=3)
    line.lpush("jobs\x06\x166", *[message(due, priority=6)] * 40)
    line.lpush("jobs\x06\x163", *[message(due, priority=3)] * 40)
    line.lpush("jobs", *[message(due)] * 40)
    worker = node(prefetch=4)
    wait_until(lambda: line.zcard("celeriac.parked.jobs") == 120, timeout=2.5, what="all parked")
    steps = [member.split(b":", 1)[1][:1] for member in line.zrange("celeriac.parked.jobs", 0, -1)]
    assert sorted(steps) == [b"0"] * 40 + [b"3"] * 40 + [b"6"] * 40
    ran = [worker.run(worker.jobs(1)[0])]
    assert time.time() >= due.timestamp()
    while len(ran) < 120:
        ran += [worker.run(job) for job in worker.jobs(1)]
    assert sorted(ran) == ["id-0"] * 40 + ["id-3"] * 40 + ["id-6"] * 40
    assert ran[0] == "id-0"
    wait_until(lambda: not line.exists("celeriac.parked.jobs", "unacked"), timeout=5, what="nothing left")


def test_ready_messages_among_those_for_later_keep_their_order(line: Any, node: Callable[..., Node]) -> None:
    texts = [b'"id": "n-%d"' % number for number in range(300)]
    for number, text in enumerate(texts):
        eta = None if number % 3 == 0 else TOMORROW
        line.lpush("jobs", message(eta).replace(b'"id": "id-0"', text))
    worker = node(prefetch=3)
    ran: list[str] = []
    while len(ran) < 100:
        ran += [worker.run(job) for job in worker.jobs(1)]
    assert ran == [f"n-{number}" for number in range(0, 300, 3)]
    wait_until(lambda: line.zcard("celeriac.parked.jobs") == 200, timeout=5, what="the others parked")


# --- clocks -----------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(tmp_path: Path) -> Callable[[int], dict[str, str]]:
    """`clock(seconds)`: environment of a process whose wall clock is so far ahead."""
    compiler = shutil.which("cc")
    assert compiler, "Rust needs a C compiler, so there is one"
    library = tmp_path / "clock_ahead.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(CLOCK)], check=True)
    return lambda seconds: {"LD_PRELOAD": str(library), "CLOCK_AHEAD_S": str(seconds)}


@pytest.mark.parametrize(("ahead", "due_in", "quiet"), [(4, 7, (-3.5, -0.5)), (-4, 3, (0.2, 2.8))])
def test_a_worker_with_another_clock_waits_without_asking_again_and_again(
    redis_server: RedisServer,
    line: Any,
    start_worker: Callable[..., Worker],
    journal: Journal,
    clock: Callable[[int], dict[str, str]],
    ahead: int,
    due_in: float,
    quiet: tuple[float, float],
) -> None:
    """In `quiet`, seconds from the due time, one of the two clocks has come to it and the other has not."""
    start_worker(redis_server.url, backend=None, env=clock(ahead))
    app = build(redis_server.url)
    due = time.time() + due_in
    app.tasks["t.note"].apply_async((str(journal.path), "later"), eta=datetime.fromtimestamp(due, timezone.utc))
    wait_until(lambda: line.zcard("celeriac.parked.celery") == 1, timeout=2, what="a parked message")

    def calls(command: str) -> int:
        return int(line.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])

    wait_until(lambda: time.time() > due + quiet[0], timeout=10, what="the first clock past the due time")
    scripts, pushes = calls("evalsha"), calls("lpush")
    wait_until(lambda: time.time() > due + quiet[1], timeout=10, what="the other clock near it")
    assert calls("evalsha") - scripts < 40
    assert calls("lpush") == pushes, "it came and was parked again"
    assert journal.lines() == []
    journal.wait_for(lines=1, timeout=5)
    assert time.time() >= due - 0.05


def test_purge_takes_what_is_parked(redis_server: RedisServer, line: Any, node: Callable[..., Node]) -> None:
    line.lpush("jobs", *[message(TOMORROW)] * 500)
    worker = node(prefetch=4)
    wait_until(lambda: line.zcard("celeriac.parked.jobs") == 500, timeout=5, what="all parked")
    with open_broker(redis_server.url) as broker:
        assert [depth[1:] for depth in broker.depths() if depth.name == "jobs"] == [(0, 500, 0)]
        worker.stop(cold=True)
        assert broker.purge("jobs") == 500
