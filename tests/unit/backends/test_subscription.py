"""How a subscription answers for a server that misbehaves: both ends of the line are the test's."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.backends._redis_waiting import PushedWaiting
from celeriac.backends._subscription import RetryPolicy, Subscription
from celeriac.backends.base import _Cache
from celeriac.exceptions import TimeoutError

POLICY = {"max_retries": 3, "interval_start": 0, "interval_step": 0, "interval_max": 0}
CONFIRMED = b">3\r\n$9\r\nsubscribe\r\n$1\r\nk\r\n:1\r\n"


class Server:
    """Says the same on each connection, whatever it is asked."""

    def __init__(self, says: bytes) -> None:
        self.ends: list[socket.socket] = []
        self.says = says

    def connect(self, budget: float) -> Any:
        del budget
        ours, theirs = socket.socketpair()
        theirs.sendall(self.says)
        self.ends.append(theirs)
        return SimpleNamespace(_sock=ours)

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Server, Subscription]]]:
    made: list[tuple[Server, Subscription]] = []

    def start(says: bytes, *, answer_s: float = 20.0, idle_s: float = 20.0) -> tuple[Server, Subscription]:
        server = Server(says)
        subscription = Subscription(
            server.connect,
            RetryPolicy(POLICY),
            connect_s=5,
            idle_s=idle_s,
            answer_s=answer_s,
            exhausted=lambda why: RuntimeError(f"exhausted: {why}"),
            refused=lambda error: ValueError(f"refused: {error}"),
        )
        made.append((server, subscription))
        return server, subscription

    yield start
    for server, subscription in made:
        subscription.close()
        server.close()


@pytest.mark.parametrize("error", ["LOADING the dataset", "MASTERDOWN no link", "CLUSTERDOWN hash slot not served"])
def test_a_server_that_is_never_ready_uses_the_tries_up(serve: Any, error: str) -> None:
    """It says something each time: a confirmation, and then that it cannot answer."""
    server, subscription = serve(CONFIRMED + b"-" + error.encode() + b"\r\n")
    with pytest.raises(RuntimeError, match=f"exhausted: {error}"):
        subscription.waiter([b"k"]).take(10)
    assert len(server.ends) == 1 + POLICY["max_retries"]


def test_answers_give_the_tries_back(serve: Any) -> None:
    server, subscription = serve(CONFIRMED + b"$-1\r\n")
    waiter = subscription.waiter([b"k"])
    for connections in range(1, 10):
        assert waiter.take(10) == [(b"k", None)]
        assert len(server.ends) == connections
        server.ends[-1].close()


def test_a_question_that_was_just_asked_is_not_late(serve: Any) -> None:
    """After a silence that is longer than any answer may take."""
    server, subscription = serve(CONFIRMED + b"$-1\r\n", answer_s=0.2, idle_s=20.0)
    waiter = subscription.waiter([b"k"])
    assert waiter.take(10) == [(b"k", None)]

    class Asked(deque[Any]):
        raced = False

        def __len__(self) -> int:
            if not self.raced:  # looked at by who reads: at that very moment another thread asks
                self.raced = True
                with subscription.lock:
                    subscription.enter(waiter, [b"k"])
                server.ends[-1].sendall(b"$1\r\nv\r\n")
            return super().__len__()

    line = subscription._line
    line.asked = Asked()
    line.heard -= 5.0
    assert waiter.take(10) == [(b"k", b"v")]
    assert len(server.ends) == 1


def test_a_closed_waiter_is_forgotten_while_another_one_reads(serve: Any) -> None:
    server, subscription = serve(CONFIRMED + b"$-1\r\n")
    waiter = subscription.waiter([b"k"])
    assert waiter.take(10) == [(b"k", None)]
    reading = threading.Thread(target=waiter.take, args=(20,))
    reading.start()
    other = subscription.waiter([b"other"])
    other.abandon()
    server.ends[0].settimeout(10)
    asked = b""
    while b"UNSUBSCRIBE" not in asked:
        asked += server.ends[0].recv(4096)
    assert b"other" in asked[asked.index(b"UNSUBSCRIBE") :]
    server.ends[0].sendall(b"$-1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nk\r\n$1\r\nv\r\n")
    reading.join(20)
    assert not reading.is_alive()


class Backend(PushedWaiting):
    _cache = _Cache(-1)

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    @property
    def subscription(self) -> Subscription:
        return self._subscription

    def get_key_for_task(self, task_id: str, key: str = "") -> str:
        return task_id + key

    def _decoded(self, task_id: str, value: Any) -> dict[str, Any]:
        return {"status": "SUCCESS", "result": value, "task_id": task_id}


def test_a_wait_without_time_looks_at_every_result(serve: Any) -> None:
    """They are asked for in several commands, and the first answer is not the last."""
    ids = [f"{number}" for number in range(1500)]
    server, subscription = serve(b"*1000\r\n" + b"+done\r\n" * 1000)
    found = Backend(subscription).get_many(ids, timeout=0)
    seen = {next(found)[0]}
    server.ends[0].sendall(b"*500\r\n" + b"+done\r\n" * 500)
    seen |= {task_id for task_id, _ in found}
    assert seen == set(ids)


def test_a_wait_without_time_ends_once_it_has_looked(serve: Any) -> None:
    server, subscription = serve(b"*1000\r\n" + b"_\r\n" * 1000 + b"*500\r\n" + b"+done\r\n" * 499 + b"_\r\n")
    found = Backend(subscription).get_many([f"{number}" for number in range(1500)], timeout=0)
    assert len([next(found) for _ in range(499)]) == 499
    with pytest.raises(TimeoutError):
        next(found)
    assert subscription._waiters == set()
