"""Waits for results in Redis while connections are cut and signals come at any moment: none is lost or mistaken."""

from __future__ import annotations

import multiprocessing
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from celeriac import Celery
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.stress, pytest.mark.timeout(120)]


@pytest.fixture
def app(redis_server: RedisServer) -> Iterator[Celery]:
    app = Celery("stress", broker="memory://stress", backend=redis_server.url, set_as_current=False)
    yield app
    app.close()


def test_no_wake_up_is_lost_while_connections_are_cut(app: Celery, redis_server: RedisServer) -> None:
    errors: list[BaseException] = []
    stop = threading.Event()
    killed = 0

    def kill() -> None:
        nonlocal killed
        with redis.Redis(port=redis_server.port) as client:
            while not stop.wait(random.uniform(0.001, 0.02)):
                killed += client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    def work(number: int) -> None:
        try:
            for index in range(60):
                task_id = f"{number}-{index}"
                sender = threading.Timer(random.uniform(0, 0.01), app.backend.mark_as_done, (task_id, task_id))
                sender.start()
                assert app.AsyncResult(task_id).get(timeout=30) == task_id
                sender.join()
        except BaseException as exc:
            errors.append(exc)

    killer = threading.Thread(target=kill)
    killer.start()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    killer.join()
    assert errors == []
    assert killed > 10


def interrupted_again_and_again(app: Celery, count: int) -> None:
    errors: list[Any] = []
    stop = threading.Event()

    def other() -> None:
        try:
            while not stop.is_set():
                number = random.randrange(count)
                assert app.AsyncResult(f"id-{number}").get(timeout=30) == number
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    interrupts = 0
    deadline = time.monotonic() + 25
    while interrupts < 400 and time.monotonic() < deadline:
        number = random.randrange(count)
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00002, 0.0004))
            got = app.AsyncResult(f"id-{number}").get(timeout=30)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert got == number
        except KeyboardInterrupt:
            interrupts += 1
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert errors == []
    assert interrupts >= 400
    assert app.AsyncResult("id-7").get(timeout=10) == 7


def test_signals_at_any_moment_mix_up_no_results(app: Celery) -> None:
    count = 300
    for number in range(count):
        app.backend.mark_as_done(f"id-{number}", number)
    # In a process of its own, so that only our code is interrupted.
    context = multiprocessing.get_context("fork")
    process = context.Process(target=interrupted_again_and_again, args=(app, count))
    process.start()
    process.join(50)
    if process.exitcode is None:
        process.kill()
        process.join(10)
    assert process.exitcode == 0
