"""The worker around the hub: its order of signals, its ends, what it does with notices."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celeriac import Celery, signals
from celeriac._bridge.codec import Message
from celeriac._bridge.hub import OUTCOME_SUCCESS
from celeriac.exceptions import ImproperlyConfigured
from celeriac.worker import WorkController, state
from tests.unit.worker.fake_hub import FakeHub, envelope

Start = Callable[..., tuple[WorkController, FakeHub]]


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("t", broker="memory://controller", backend="disabled://", set_as_current=False)
    made.conf.worker_hijack_root_logger = False

    @made.task(name="add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    yield made
    made.close()


@pytest.fixture
def start(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a worker in a thread and returns it with its hub once it is ready; it is stopped at the end."""
    monkeypatch.setattr("celeriac.worker.worker.Hub", FakeHub)
    monkeypatch.setattr("celeriac.worker.worker.check_privileges", lambda _: None)
    running: list[tuple[WorkController, threading.Thread]] = []
    state.reset_state()

    def begin(**options: Any) -> tuple[WorkController, FakeHub]:
        worker = WorkController(app=app, hostname="w@h", **{"pool": "threads", "concurrency": 2, **options})
        thread = threading.Thread(target=worker.start, daemon=True)
        thread.start()
        assert worker.is_ready.wait(5), worker.failure
        running.append((worker, thread))
        return worker, FakeHub.latest

    yield begin
    for worker, thread in running:
        worker.stop(in_sighandler=True)
        thread.join(5)
        assert not thread.is_alive()
    state.reset_state()


@pytest.fixture
def sent() -> Iterator[list[tuple[str, Any]]]:
    """Signals of the worker's life, in the order in which they were sent: `(name, sender)`."""
    seen: list[tuple[str, Any]] = []
    names = (
        "celeryd_init", "worker_init", "worker_process_init", "worker_ready", "worker_process_shutdown",
        "worker_shutdown", "task_received", "task_unknown", "task_rejected",
    )  # fmt: skip
    kept = []
    for name in names:

        def note(sender: Any, _name: str = name, **_: Any) -> None:
            seen.append((_name, sender))

        kept.append((getattr(signals, name), note))
        getattr(signals, name).connect(note)
    yield seen
    for signal, note in kept:
        signal.disconnect(note)


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_job_is_run_and_finished(start: Start, pool: str) -> None:
    worker, hub = start(pool=pool)
    job = hub.put("add", 1, 2)
    assert job.done.wait(5)
    assert job.ended is not None
    assert job.ended[0] == OUTCOME_SUCCESS
    assert hub.config["children"] == (1 if pool == "solo" else 2)
    assert worker.pool is not None
    assert worker.pool.running_jobs() == []


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_signals_of_its_life_come_in_celery_s_order(start: Start, sent: list[tuple[str, Any]], pool: str) -> None:
    worker, hub = start(pool=pool)
    worker.stop()
    assert [name for name, _ in sent] == [
        "celeryd_init", "worker_init", "worker_process_init", "worker_ready", "worker_process_shutdown",
        "worker_shutdown",
    ]  # fmt: skip
    senders = dict(sent)
    assert senders["celeryd_init"] == "w@h"
    assert senders["worker_init"] is worker
    assert senders["worker_ready"] is worker.consumer
    assert hub.stops == [False]
    assert worker.exitcode == 0


def test_stop_from_another_thread_returns_when_it_has_ended(start: Start) -> None:
    worker, _ = start()
    worker.stop(exitcode=5)
    assert worker.exitcode == 5
    assert worker._ended.is_set()


def test_terminate_is_cold_and_ends_with_1(start: Start) -> None:
    worker, hub = start()
    worker.terminate()
    assert (worker.exitcode, hub.stops[0]) == (1, True)


def test_the_flags_of_state_stop_it(start: Start) -> None:
    worker, hub = start()
    state.should_stop = 7
    assert worker._ended.wait(5)
    assert (worker.exitcode, hub.stops) == (7, [False])


def test_a_hub_that_dies_is_a_failure(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    worker, hub = start()
    hub.outbox.put(("stopped", "the file is damaged"))
    assert worker._ended.wait(5)
    assert worker.exitcode == 1
    assert "the file is damaged" in caplog.text


def test_a_broker_that_is_away_at_the_start_ends_it_if_retries_are_off(start: Start, app: Celery) -> None:
    app.conf.broker_connection_retry_on_startup = False
    worker, hub = start()
    worker.notices.was_up = False
    hub.outbox.put(("down", "nobody there"))
    assert worker._ended.wait(5)
    assert worker.exitcode == 1


def test_a_broker_that_goes_away_later_is_waited_for(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    worker, hub = start()
    up_again = threading.Event()
    hub.outbox.put(("down", "gone"))
    hub.outbox.put(("up", None))
    with caplog.at_level(logging.WARNING):
        hub.outbox.put(("log", ("warn", "end of the script")))
        worker.stop()
    assert "gone" in caplog.text
    assert "Connected again" in caplog.text
    assert not up_again.is_set()


def test_received_tasks_are_told_to_listeners(start: Start, sent: list[tuple[str, Any]]) -> None:
    worker, hub = start()
    assert "received" in hub.config["notify"]  # because `sent` listens
    requests: list[Any] = []
    arrived = threading.Event()

    @signals.task_received.connect
    def note(request: Any, **_: Any) -> None:
        requests.append((request.name, request.id, request.args, request.kwargs, request.argsrepr))
        arrived.set()

    hub.outbox.put(("received", Message.scan(envelope("add", "i1", [1, 2]))))
    assert arrived.wait(5)
    assert requests == [("add", "i1", [1, 2], {}, "()")]
    assert ("task_received", worker.consumer) in sent


@pytest.mark.parametrize("first", ["job", "notice"])
def test_received_is_said_once_and_before_the_task_runs(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Hub and child race; who reads the log must not see a task end before it came."""
    caplog.set_level(logging.INFO, "celeriac")
    worker, hub = start()
    noticed = threading.Event()
    take = worker.notices.on_received

    def take_and_tell(message: Message) -> None:
        take(message)
        noticed.set()

    monkeypatch.setattr(worker.notices, "on_received", take_and_tell)
    for task_id in ("i1", "i1", "i2"):  # a retry has the id of the attempt before
        noticed.clear()
        notice = ("received", Message.scan(envelope("add", task_id, [1, 2])))
        if first == "notice":
            hub.outbox.put(notice)
            assert noticed.wait(5)
        assert hub.put("add", 1, 2, task_id=task_id).done.wait(5)
        if first == "job":
            hub.outbox.put(notice)
            assert noticed.wait(5)
    lines = [line.split()[1:3] for line in caplog.messages if line.startswith("Task add[")]
    said = ["received", "succeeded"]
    assert lines == [[f"add[{task_id}]", word] for task_id in ("i1", "i1", "i2") for word in said]
    assert worker.notices.reception._ahead == {}


def test_a_task_waits_for_the_line_that_says_it_came(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notice was first, but its line is not written yet when a child gets the job."""
    caplog.set_level(logging.INFO, "celeriac")
    writing, may_go_on = threading.Event(), threading.Event()
    order: list[str] = []
    worker, hub = start()

    def slow(text: str, *args: Any) -> None:
        writing.set()
        assert may_go_on.wait(5)
        order.append("received")

    monkeypatch.setattr("celeriac.worker._reception.logger.info", slow)
    hub.outbox.put(("received", Message.scan(envelope("add", "id-1", [1, 2]))))
    assert writing.wait(5)
    job = hub.put("add", 1, 2)
    assert not job.done.wait(0.1)
    may_go_on.set()
    assert job.done.wait(5)
    assert order == ["received"]


def test_a_retry_that_overtakes_its_first_notice_is_said_before_it_runs(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "celeriac")
    worker, hub = start(pool="solo")
    for _ in range(2):
        assert hub.put("add", 1, 2).done.wait(5)
    for _ in range(2):
        hub.outbox.put(("received", Message.scan(envelope("add", "id-1", [1, 2]))))
    worker.stop()
    words = [line.split()[2] for line in caplog.messages if line.startswith("Task add[")]
    assert words == ["received", "succeeded"] * 2


def test_nobody_pays_for_received_notices_without_listeners(start: Start) -> None:
    logging.getLogger("celeriac.worker.strategy").setLevel(logging.WARNING)
    try:
        _, hub = start()
    finally:
        logging.getLogger("celeriac.worker.strategy").setLevel(logging.NOTSET)
    assert "received" not in hub.config["notify"]


def test_unknown_and_dead_messages_are_logged_and_signalled(
    start: Start, sent: list[tuple[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    worker, hub = start()
    hub.outbox.put(("unknown", Message.scan(envelope("proj.gone"))))
    hub.outbox.put(("dead", ("id-9", "proj.bad", "undecodable", "no JSON")))
    worker.stop()
    assert ("task_unknown", worker.consumer) in sent
    assert ("task_rejected", worker.consumer) in sent
    assert "proj.gone[id-1]" in caplog.text
    assert "undecodable" in caplog.text


def test_an_unknown_queue_is_refused_if_none_may_be_made_up(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    app.conf.task_create_missing_queues = False
    monkeypatch.setattr("celeriac.worker.worker.check_privileges", lambda _: None)
    with pytest.raises(ImproperlyConfigured, match="'typo'"):
        WorkController(app=app, hostname="w@h", queues="typo")


def test_queues_are_chosen_and_excluded(start: Start, app: Celery) -> None:
    app.conf.task_queues = {name: {} for name in "abc"}
    worker, hub = start(queues="a,b", exclude_queues="b")
    assert [row["name"] for row in hub.config["queues"]] == ["a"]
    worker.consumer.add_task_queue("late")
    worker.consumer.cancel_task_queue("a")
    assert [(row["name"], on) for row, on in hub.consuming] == [("late", True), ("a", False)]


def test_an_error_at_the_start_is_a_failure_with_its_cause(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(config: object) -> None:
        raise ImproperlyConfigured("no such file")

    monkeypatch.setattr("celeriac.worker.worker.Hub", broken)
    monkeypatch.setattr("celeriac.worker.worker.check_privileges", lambda _: None)
    worker = WorkController(app=app, hostname="w@h", pool="threads")
    worker.start()
    assert worker.exitcode == 1
    assert isinstance(worker.failure, ImproperlyConfigured)
    assert "no such file" in caplog.text


def test_tasks_given_up_by_a_cold_stop_are_stored_as_retry_if_acked_early(
    start: Start, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, begun = threading.Event(), threading.Event()
    stored: list[Any] = []

    @app.task(name="hang", shared=False, ignore_result=False)
    def hang() -> None:
        begun.set()
        gate.wait(10)

    monkeypatch.setattr(type(app.backend), "mark_as_retry", lambda self, task_id, *_, **__: stored.append(task_id))
    worker, hub = start()
    hub.put("hang", task_id="h1")
    assert begun.wait(5)
    worker.terminate()
    gate.set()
    assert stored == ["h1"]
