"""Queues on Redis beside Kombu: the keys and bytes that it wrote, and a Kombu that plays the other end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac._bridge.broker import open_broker
from tests.compat.test_kombu_differential import celery_python
from tests.support.apps.tasks import build
from tests.support.journal import Journal
from tests.support.redis_server import HOST, RedisServer
from tests.support.waiting import wait_until
from tests.support.worker import Worker

SIDE = Path(__file__).with_name("kombu_redis_side.py")
STATES = Path(__file__).parent / "vectors" / "redis-state"
Start = Callable[..., Worker]
State = dict[str, dict[str, Any]]


@pytest.fixture
def line(redis_server: RedisServer) -> Iterator[redis.Redis[str]]:
    with redis.Redis(host=HOST, port=redis_server.port, decode_responses=True) as client:
        yield client


def state(name: str) -> State:
    """What Kombu left in Redis."""
    found: State = json.loads((STATES / f"{name}.json").read_text())["raw"]
    return found


def lists(line: redis.Redis[str], prefix: str = "") -> dict[str, list[str]]:
    keys = line.keys("*")
    return {
        key: line.lrange(key, 0, -1)
        for key in keys
        if line.type(key) == "list" and not key.removeprefix(prefix).startswith("celeriac.")
    }


def kombu(*order: str) -> subprocess.Popen[str]:
    return subprocess.Popen([celery_python(), str(SIDE), *order], stdout=subprocess.PIPE, text=True)


# --- keys and bytes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("queued", {}),
        ("option-prefix", {"global_keyprefix": "pfx:"}),
        ("option-priority-steps", {"priority_steps": list(range(10)), "sep": ":"}),
        ("option-custom-keys", {"unacked_key": "my_unacked", "body_encoding": "utf-8"}),
    ],
)
def test_published_messages_stand_where_kombu_puts_them(
    redis_server: RedisServer, line: redis.Redis[str], name: str, options: dict[str, object]
) -> None:
    expected = {key: entry["value"] for key, entry in state(name).items() if entry["type"] == "list"}
    assert expected
    with open_broker(redis_server.url, options) as broker:
        for entries in expected.values():
            for raw in reversed(entries):
                properties = json.loads(raw)["properties"]
                info = properties["delivery_info"]
                key = info["routing_key"]
                assert broker.publish(info["exchange"], key, properties["priority"], None, raw.encode()) == 1
    assert lists(line, str(options.get("global_keyprefix", ""))) == expected


def test_bindings_are_kombus(redis_server: RedisServer, line: redis.Redis[str]) -> None:
    found = state("queued")
    with open_broker(redis_server.url) as broker:
        for name in ["celery", "other"]:
            broker.declare(name, name, "direct", name)
        broker.declare("orders", "topics", "topic", "order.#")
    for key in [key for key in found if key.startswith("_kombu")]:
        assert line.smembers(key) == set(found[key]["value"]), key
    assert line.smembers("_kombu.binding.topics") == {"order.#\x06\x16^order\\..*?$\x06\x16orders"}


def test_copies_of_a_topic_message_have_tags_of_their_own(redis_server: RedisServer, line: redis.Redis[str]) -> None:
    raw = state("queued")["celery"]["value"][0]
    with open_broker(redis_server.url) as broker:
        for name in ["a", "b", "c"]:
            broker.declare(name, "topics", "topic", "x.*")
        assert broker.publish("topics", "x.y", 0, None, raw.encode()) == 3
    found = [json.loads(line.lindex(name, 0)) for name in ["a", "b", "c"]]
    assert len({message["properties"].pop("delivery_tag") for message in found}) == 3
    assert found[0] == found[1] == found[2]


def test_restored_messages_are_kombus_byte_for_byte(
    redis_server: RedisServer, line: redis.Redis[str], start_worker: Start
) -> None:
    before, after = state("after-kill"), state("after-restore")
    for key, entry in before.items():
        if entry["type"] == "hash":
            line.hset(key, mapping=entry["value"])
        elif entry["type"] == "zset" and key == "unacked_index":
            line.zadd(key, {tag: score - 3_000_000_000 + 1_500_000_000 for tag, score in entry["value"]})
        elif entry["type"] == "set":
            line.sadd(key, *entry["value"])
    start_worker(redis_server.url, backend=None, args=["-Q", "nobody"])
    wait_until(lambda: not line.exists("unacked_index"), timeout=10, what="restored claims")
    assert lists(line) == {key: entry["value"] for key, entry in after.items() if entry["type"] == "list"}


# --- a Kombu on the other end -----------------------------------------------------------------------------------


def test_kombu_takes_what_we_publish_and_what_we_give_back(
    redis_server: RedisServer, line: redis.Redis[str], start_worker: Start, journal: Journal, tmp_path: Path
) -> None:
    app = build(redis_server.url)
    worker = start_worker(redis_server.url, backend=None, concurrency=1)
    app.tasks["t.start_then_end"].delay(str(journal.path), "a", str(tmp_path / "gate"))
    journal.wait_for(lines=1, timeout=10)
    app.tasks["t.note_late"].apply_async((str(journal.path), "b"), priority=6)
    wait_until(lambda: line.hlen("unacked") == 2, timeout=10, what="both claims")
    # What we recorded is what Kombu records: the message, its exchange and routing key.
    for record in line.hvals("unacked"):
        message, exchange, key = json.loads(record)
        assert (exchange, key) == ("", "celery")
        assert message["properties"]["delivery_info"]["routing_key"] == "celery"
    worker.kill()
    worker.wait()
    # Nobody of ours is left: Kombu's own sweep finds them.
    for tag in line.zrange("unacked_index", 0, -1):
        line.zadd("unacked_index", {tag: 1})
    with kombu("sweep", redis_server.url, "3", "5") as sweep:
        sweep.wait(30)
    with kombu("take", redis_server.url, "celery", "2") as taker:
        assert taker.stdout is not None
        taken = [json.loads(taker.stdout.readline()) for _ in range(2)]
        taker.wait(30)
    assert {headers["task"] for headers, _ in taken} == {"t.start_then_end", "t.note_late"}
    assert all(headers["redelivered"] for headers, _ in taken)
    assert not line.exists("unacked")


def test_claims_of_ours_are_never_taken_by_an_impatient_kombu(
    redis_server: RedisServer, line: redis.Redis[str], start_worker: Start, journal: Journal, tmp_path: Path
) -> None:
    conf = {"broker_transport_options": {"visibility_timeout": 3}}
    app = build(redis_server.url)
    gate = tmp_path / "gate"
    start_worker(redis_server.url, backend=None, concurrency=1, env={"T_CONF": json.dumps(conf)})
    app.tasks["t.start_then_end"].delay(str(journal.path), "a", str(gate))
    journal.wait_for(lines=1, timeout=10)
    app.tasks["t.note_late"].delay(str(journal.path), "b")
    with kombu("sweep", redis_server.url, "8", "3") as sweep:
        sweep.wait(30)
    assert line.llen("celery") == 0
    gate.touch()
    wait_until(lambda: len(journal.lines()) == 3, timeout=10, what="the end of both")
    wait_until(lambda: not line.exists("unacked"), timeout=10, what="end of all claims")
    assert journal.lines() == ["start a", "end a", "b"]


def test_message_that_a_killed_kombu_held_runs_with_us(
    redis_server: RedisServer, line: redis.Redis[str], start_worker: Start, journal: Journal
) -> None:
    build(redis_server.url).tasks["t.note_late"].delay(str(journal.path), "a")
    with kombu("hold", redis_server.url, "celery") as holder:
        assert holder.stdout is not None
        tag = holder.stdout.readline().strip()
        holder.kill()
    assert line.zscore("unacked_index", tag) is not None
    conf = {"broker_transport_options": {"visibility_timeout": 4}}
    start_worker(redis_server.url, backend=None, env={"T_CONF": json.dumps(conf)})
    journal.wait_for(lines=1, timeout=20)
    wait_until(lambda: not line.exists("unacked"), timeout=10, what="end of all claims")
    assert journal.lines() == ["a"]
