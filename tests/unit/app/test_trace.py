"""What the tracer does around a task, in which order, and what it says about its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac import Celery, Task, signals
from celeriac.app import _loop, trace
from celeriac.app.context import Context, running_task
from celeriac.exceptions import EncodeError, Ignore, Reject, TaskRevokedError, WorkerTerminate
from tests.unit.app.jobs import Bench, FakeJob, body, raw_envelope


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Task signals as they are sent."""
    seen: list[tuple[str, dict[str, Any]]] = []
    connected = []
    for name in ("prerun", "postrun", "success", "failure", "retry", "internal_error", "revoked"):
        signal = getattr(signals, f"task_{name}")

        def hear(signal: Any = None, sender: Any = None, _name: str = name, **named: Any) -> None:
            seen.append((_name, {"sender": sender, **named}))

        signal.connect(hear, weak=False)
        connected.append((signal, hear))
    yield seen
    for signal, hear in connected:
        signal.disconnect(hear)


def names(heard: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [name for name, _ in heard]


# --- success ---------------------------------------------------------------------------------------------------------


def test_success_leaves_a_record_and_nothing_else(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def add(x: int, y: int) -> int:
        return x + y

    job = bench.run(add, 2, y=3)
    assert job.outcome == "SUCCESS"
    ((key, _, expires_ms, success),) = job.finished[0][1]
    assert key == "celery-task-meta-the-id"
    assert success
    assert expires_ms is not None
    meta = job.meta
    assert meta.pop("date_done").endswith("+00:00")
    assert meta == {"status": "SUCCESS", "result": 5, "traceback": None, "children": [], "task_id": "the-id"}
    assert job.published == []
    assert memory_app.AsyncResult("the-id").get(timeout=0) == 5


def test_order_of_everything(bench: Bench, memory_app: Celery, heard: list[Any], caplog: Any) -> None:
    order: list[str] = []

    class Base(Task[..., Any]):
        def before_start(self, *args: Any) -> None:
            order.append(f"before_start after {names(heard)}")

        def on_success(self, retval: Any, *args: Any) -> None:
            order.append(f"on_success {retval} after {names(heard)}")

        def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            order.append(f"after_return {status} {einfo} after {names(heard)}")

    @memory_app.task(base=Base, bind=True, track_started=True)
    def work(self: Any) -> str:
        order.append(f"body of {self.request.id}")
        return "done"

    with caplog.at_level(logging.INFO, "celeriac.app.trace"):
        job = bench.run(work)
    assert order == [
        "before_start after ['prerun']",
        "body of the-id",
        "on_success done after ['prerun']",
        "after_return SUCCESS None after ['prerun', 'success']",
    ]
    assert names(heard) == ["prerun", "success", "postrun"]
    assert heard[2][1]["state"] == "SUCCESS"
    assert heard[2][1]["retval"] == "done"
    assert [meta["status"] for meta in job.metas] == ["STARTED", "SUCCESS"]
    assert job.metas[0]["result"]["hostname"] == "w1@example"
    (record,) = caplog.records
    assert record.getMessage().startswith(f"Task {work.name}[the-id] succeeded in ")
    assert record.getMessage().endswith("s: 'done'")
    assert record.data["return_value"] == "'done'"


def test_request_of_a_running_task(bench: Bench, memory_app: Celery) -> None:
    seen: dict[str, Any] = {}

    @memory_app.task(bind=True)
    def look(self: Any) -> None:
        request = self.request
        seen.update(id=request.id, eager=request.is_eager, direct=request.called_directly, host=request.hostname)
        seen["current"] = running_task().name

    bench.run(look)
    assert seen == {"id": "the-id", "eager": False, "direct": False, "host": "w1@example", "current": look.name}
    assert running_task() is None


@pytest.mark.parametrize("options", [{"ignore_result": True}, {}])
def test_ignored_results_are_not_stored(bench: Bench, memory_app: Celery, options: dict[str, Any]) -> None:
    @memory_app.task(ignore_result=not options)
    def quiet() -> int:
        return 1

    job = bench.run(quiet, options=options)
    assert job.outcome == "SUCCESS"
    assert job.metas == []


def test_result_names_group_and_parent(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def work() -> int:
        return 1

    meta = bench.run(work, options={"group_id": "g", "parent_id": "p"}).meta
    assert (meta["group_id"], meta["parent_id"]) == ("g", "p")


def test_sub_tasks_are_children(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def leaf() -> None: ...

    @memory_app.task
    def root() -> str:
        return leaf.apply_async(task_id="leaf-id").id

    job = bench.run(root)
    assert job.meta["children"] == [[["leaf-id", None], None]]
    assert job.published == []  # the sub-task went out at once
    assert memory_app.AsyncResult("the-id").children == ["leaf-id"]


def test_a_job_that_was_taken_back_is_left_alone(bench: Bench, memory_app: Celery) -> None:
    ran: list[int] = []

    @memory_app.task
    def work() -> None:
        ran.append(1)

    job = bench.run(work, job={"startable": False})
    assert (job.finished, ran, job.started) == ([], [], 1)


def test_a_redelivered_success_does_not_run_again(memory_app: Celery) -> None:
    memory_app.conf.worker_deduplicate_successful_tasks = True
    bench, ran = Bench(memory_app), list[int]()

    @memory_app.task(acks_late=True)
    def work() -> None:
        ran.append(1)

    bench.run(work)
    job = bench.run(work, job={"redelivered": True})
    assert ran == [1]
    assert job.outcome == "SUCCESS"
    assert job.metas == []


def test_callbacks_leave_with_the_result(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def then(x: int) -> None: ...

    @memory_app.task
    def first() -> int:
        return 7

    job = bench.run(first, options={"link": [then.signature()]})
    ((_, routing_key, _, _, envelope),) = job.published
    sent = FakeJob(envelope).message
    assert routing_key == "celery"
    assert sent.task == then.name
    assert sent.json_payload()[0] == [7]
    assert sent.headers()["parent_id"] == "the-id"
    assert job.meta["children"] == [[[sent.id, None], None]]


def test_next_step_of_a_chain_leaves_with_the_result(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def step(x: int = 0) -> int:
        return x + 1

    steps = [step.s().set(task_id="third"), step.s().set(task_id="second")]
    job = bench.run(step, options={"chain": steps})
    (publication,) = job.published
    sent = FakeJob(publication[4]).message
    payload: Any = sent.json_payload()
    args, _, embed = payload
    assert (sent.id, args) == ("second", [1])
    assert [each["options"]["task_id"] for each in embed["chain"]] == ["third"]


# --- failure ---------------------------------------------------------------------------------------------------------


def test_failure_is_stored_as_structure(bench: Bench, memory_app: Celery, heard: list[Any], caplog: Any) -> None:
    @memory_app.task
    def boom() -> None:
        raise KeyError("missing")

    job = bench.run(boom)
    assert job.outcome == "FAILURE"
    assert job.meta["result"] == {"exc_type": "KeyError", "exc_message": ["missing"], "exc_module": "builtins"}
    assert job.meta["traceback"].endswith("KeyError: 'missing'\n")
    assert "trace.py" not in job.meta["traceback"].replace("test_trace.py", "")
    assert names(heard) == ["prerun", "failure", "postrun"]
    named: dict[str, Any] = heard[1][1]
    assert named["exception"].args == ("missing",)
    assert named["einfo"].type is KeyError
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == f"Task {boom.name}[the-id] raised unexpected: KeyError('missing')"
    assert record.exc_info
    with pytest.raises(KeyError, match="missing"):
        memory_app.AsyncResult("the-id").get(timeout=0)


def test_expected_failures_are_logged_quietly(bench: Bench, memory_app: Celery, caplog: Any) -> None:
    @memory_app.task(throws=(KeyError,))
    def boom() -> None:
        raise KeyError("missing")

    with caplog.at_level(logging.INFO, "celeriac.app.trace"):
        assert bench.run(boom).outcome == "FAILURE"
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert "raised expected" in record.getMessage()


def test_failure_handlers_come_before_the_signal(bench: Bench, memory_app: Celery, heard: list[Any]) -> None:
    order: list[str] = []

    class Base(Task[..., Any]):
        def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            order.append(f"on_failure {exc!r} {names(heard)} {str(einfo)[:9]}")

        def after_return(self, status: str, *args: Any) -> None:
            order.append(f"after_return {status}")

    @memory_app.task(base=Base)
    def boom() -> None:
        raise ValueError(1)

    bench.run(boom)
    assert order == ["on_failure ValueError(1) ['prerun'] Traceback", "after_return FAILURE"]


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle")


class Opaque:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Broken(1), "Broken", [1]),
        (lambda: ValueError(Opaque()), "ValueError", ["<unrepresentable Opaque object>"]),
        (lambda: ValueError({1, 2}), "ValueError", ["{1, 2}"]),
        (lambda: ValueError(KeyError(1)), "ValueError", ["KeyError(1)"]),
    ],
)
def test_exceptions_that_resist_are_stored_all_the_same(
    bench: Bench, memory_app: Celery, make: Any, kind: str, message: Any
) -> None:
    @memory_app.task
    def boom() -> None:
        raise make()

    job = bench.run(boom)
    assert (job.outcome, job.meta["status"]) == ("FAILURE", "FAILURE")
    assert (job.meta["result"]["exc_type"], job.meta["result"]["exc_message"]) == (kind, message)
    assert isinstance(memory_app.AsyncResult("the-id").result, Exception)


def test_an_unserialisable_result_is_a_failure_and_nothing_follows(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def then(x: Any) -> None: ...

    @memory_app.task
    def work() -> Any:
        return {1, 2}

    job = bench.run(work, options={"link": [then.signature()]})
    assert job.outcome == "FAILURE"
    assert job.published == []
    assert job.meta["result"]["exc_type"] == "EncodeError"
    assert job.meta["result"]["exc_module"] == "kombu.exceptions"
    assert isinstance(memory_app.AsyncResult("the-id").result, EncodeError)


@pytest.mark.parametrize("exit", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
def test_what_would_end_the_process_ends_the_task(bench: Bench, memory_app: Celery, exit: BaseException) -> None:
    @memory_app.task
    def leave() -> None:
        raise exit

    job = bench.run(leave)
    assert job.outcome == "FAILURE"
    assert job.meta["result"]["exc_type"] == "WorkerLostError"
    assert type(exit).__name__ in job.meta["result"]["exc_message"][0]


def test_a_cold_stop_goes_through_and_gives_the_message_back(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def stop() -> None:
        raise WorkerTerminate

    job = FakeJob(bench.envelope(stop))
    with pytest.raises(WorkerTerminate):
        bench.tracer.execute(job)  # type: ignore[arg-type]
    assert job.finished == []
    assert running_task() is None


def test_failures_are_stored_in_spite_of_ignore_result(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task(ignore_result=True, store_errors_even_if_ignored=True)
    def boom(fail: bool) -> int:
        if fail:
            raise ValueError
        return 1

    assert bench.run(boom, fail=True).meta["status"] == "FAILURE"
    assert bench.run(boom, fail=False).metas == []


def test_a_failure_fails_the_rest_of_its_chain(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def boom() -> None:
        raise KeyError("missing")

    steps = [boom.si().set(task_id="third"), boom.si().set(task_id="second")]
    job = bench.run(boom, options={"chain": steps})
    assert [meta["task_id"] for meta in job.metas] == ["the-id", "second", "third"]
    assert {meta["status"] for meta in job.metas} == {"FAILURE"}
    assert len({meta["traceback"] for meta in job.metas}) == 1
    assert job.published == []


def test_errbacks_are_called_here_or_sent(bench: Bench, memory_app: Celery) -> None:
    called: list[Any] = []

    @memory_app.task
    def inline(request: Context, exc: BaseException, traceback: Any) -> None:
        called.append((request.id, exc.args, bool(traceback)))

    @memory_app.task
    def sent(task_id: str) -> None: ...

    @memory_app.task
    def boom() -> None:
        raise KeyError("missing")

    job = bench.run(boom, options={"link_error": [inline.signature(), sent.signature()]})
    assert called == [("the-id", ("missing",), True)]
    (publication,) = job.published
    message = FakeJob(publication[4]).message
    assert (message.task, message.json_payload()[0]) == (sent.name, ["the-id"])


# --- predicates ------------------------------------------------------------------------------------------------------


def test_retry_stores_the_reason_and_hands_over_the_message(
    bench: Bench, memory_app: Celery, heard: list[Any], caplog: Any
) -> None:
    @memory_app.task(bind=True)
    def flaky(self: Any) -> None:
        try:
            raise ValueError("try again")
        except ValueError as exc:
            raise self.retry(exc=exc, countdown=5)

    with caplog.at_level(logging.INFO, "celeriac.app.trace"):
        job = bench.run(flaky)
    assert job.outcome == "RETRY"
    assert job.meta["status"] == "RETRY"
    assert job.meta["date_done"] is None
    assert job.meta["result"] == {"exc_type": "ValueError", "exc_message": ["try again"], "exc_module": "builtins"}
    ((_, _, _, due_ms, envelope),) = job.published
    again = FakeJob(envelope).message
    assert due_ms is not None
    assert (again.id, again.retries) == ("the-id", 1)
    assert names(heard) == ["prerun", "retry", "postrun"]
    assert "retry: Retry in 5s: ValueError('try again')" in caplog.text


def test_retry_without_reason_stores_none(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task(bind=True)
    def flaky(self: Any) -> None:
        raise self.retry(countdown=1)

    assert bench.run(flaky).meta["result"] is None
    assert memory_app.AsyncResult("the-id").result is None


def test_a_retry_that_was_not_raised_leaves_too(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task(bind=True)
    def work(self: Any) -> None:
        self.retry(throw=False)
        raise ValueError

    job = bench.run(work)
    assert job.outcome == "FAILURE"
    assert len(job.published) == 1


def test_ignore_stores_nothing(bench: Bench, memory_app: Celery, heard: list[Any]) -> None:
    @memory_app.task
    def skip() -> None:
        raise Ignore("not now")

    job = bench.run(skip)
    assert (job.outcome, job.metas) == ("IGNORE", [])
    assert names(heard) == ["prerun", "postrun"]
    assert heard[1][1]["state"] == "IGNORED"


def test_reject_stores_a_failure_unless_it_requeues(bench: Bench, memory_app: Celery, heard: list[Any]) -> None:
    @memory_app.task
    def refuse(requeue: bool) -> None:
        raise Reject("no thanks", requeue=requeue)

    job = bench.run(refuse, False)
    assert job.outcome == "REJECT"
    assert job.meta["result"] == {
        "exc_type": "Reject",
        "exc_message": ["no thanks", False],
        "exc_module": "celery.exceptions",
    }
    assert job.meta["traceback"] is None
    assert names(heard) == ["prerun", "failure", "postrun"]
    assert bench.run(refuse, True).outcome == "REQUEUE"


# --- messages that cannot run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kwargs", [None, [], "text", 3])
def test_keyword_arguments_must_be_a_mapping(bench: Bench, memory_app: Celery, kwargs: Any) -> None:
    @memory_app.task
    def work() -> None: ...

    job = bench.execute(FakeJob(raw_envelope(work.name, body([], kwargs))))
    assert job.outcome == "FAILURE"
    assert job.meta["result"]["exc_type"] == "InvalidTaskError"


@pytest.mark.parametrize("embed", [None, {}, [], {"extra": 1, "chain": []}])
def test_odd_embeds_run(bench: Bench, memory_app: Celery, embed: Any) -> None:
    @memory_app.task
    def work() -> int:
        return 1

    assert bench.execute(FakeJob(raw_envelope(work.name, body([], {}, embed)))).outcome == "SUCCESS"


def test_arguments_null_are_a_type_error_and_those_of_a_map_its_keys(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def work(*args: Any) -> Any:
        return list(args)

    job = bench.execute(FakeJob(raw_envelope(work.name, body(None, {}))))
    assert job.meta["result"]["exc_type"] == "TypeError"
    assert bench.execute(FakeJob(raw_envelope(work.name, body({"a": 1, "b": 2}, {})))).meta["result"] == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"{not json", "application/json"),
        (b"[1, 2]", "application/json"),
        (b"null", "application/json"),
        (b'[[], {}, {"__type__": "unheard", "__value__": 1}]', "application/json"),
        (b"\x80\x04N.", "application/x-python-serialize"),
        (b"??", "application/unheard"),
    ],
)
def test_undecodable_bodies_fail_their_callers(
    bench: Bench, memory_app: Celery, data: bytes, content_type: str
) -> None:
    @memory_app.task
    def work() -> None: ...

    job = bench.execute(FakeJob(raw_envelope(work.name, data, content_type=content_type)))
    assert job.outcome == "UNDECODABLE"
    assert job.started == 0
    assert job.finished[0][3]
    assert job.meta["status"] == "FAILURE"
    assert isinstance(memory_app.AsyncResult("the-id").result, Exception)


@pytest.mark.parametrize(
    ("verdict", "state", "kind", "message"),
    [
        ("unknown", "FAILURE", "NotRegistered", ["unit.absent"]),
        ("revoked", "REVOKED", "TaskRevokedError", ["revoked"]),
        ("expired", "REVOKED", "TaskRevokedError", ["expired"]),
    ],
)
def test_verdicts_are_recorded(bench: Bench, verdict: str, state: str, kind: str, message: Any) -> None:
    job = FakeJob(raw_envelope("unit.absent", body([], {})), verdict=verdict)
    bench.execute(job)
    assert job.outcome == "IGNORE"
    assert job.started == 0
    assert job.meta["status"] == state
    assert job.meta["result"] == {"exc_type": kind, "exc_message": message, "exc_module": "celery.exceptions"}


@pytest.mark.parametrize(("verdict", "lines"), [("unknown", 0), ("crashed", 1)])
def test_an_unknown_task_is_logged_by_the_worker_alone(
    bench: Bench, caplog: pytest.LogCaptureFixture, verdict: str, lines: int
) -> None:
    bench.execute(FakeJob(raw_envelope("unit.absent", body([], {})), verdict=verdict))
    assert len([text for text in caplog.messages if "does not run" in text]) == lines


def test_expired_tasks_send_the_revoked_signal(bench: Bench, memory_app: Celery, heard: list[Any]) -> None:
    @memory_app.task
    def late() -> None: ...

    bench.run(late, job={"verdict": "expired"})
    ((name, named),) = heard
    assert name == "revoked"
    assert (named["sender"], named["expired"], named["terminated"]) == (late, True, False)
    assert named["request"].id == "the-id"
    with pytest.raises(TaskRevokedError, match="expired"):
        memory_app.AsyncResult("the-id").get(timeout=0)


def test_crashed_tasks_name_the_lost_worker(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def killer() -> None: ...

    job = bench.run(killer, job={"verdict": "crashed", "crashes": 3})
    assert job.meta["result"]["exc_module"] == "billiard.exceptions"
    assert "took down 3 worker processes" in job.meta["result"]["exc_message"][0]


def test_a_task_that_cannot_run_fails_its_chain_and_calls_its_errbacks(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def killer() -> None: ...

    @memory_app.task
    def sent(task_id: str) -> None: ...

    options = {"chain": [killer.si().set(task_id="second")], "link_error": [sent.signature()]}
    job = bench.run(killer, options=options, job={"verdict": "crashed", "crashes": 3})
    assert [(meta["task_id"], meta["status"]) for meta in job.metas] == [("the-id", "FAILURE"), ("second", "FAILURE")]
    (publication,) = job.published
    assert FakeJob(publication[4]).message.task == sent.name


def test_a_task_that_is_not_registered_is_recorded_without_a_verdict(bench: Bench) -> None:
    job = bench.execute(FakeJob(raw_envelope("unit.absent", body([], {}))))
    assert job.meta["result"]["exc_type"] == "NotRegistered"


# --- handlers that fail ----------------------------------------------------------------------------------------------


def test_a_failing_before_start_is_the_tasks_failure(bench: Bench, memory_app: Celery, heard: list[Any]) -> None:
    class Base(Task[..., Any]):
        def before_start(self, *args: Any) -> None:
            raise ValueError("not ready")

    @memory_app.task(base=Base)
    def work() -> None: ...

    assert bench.run(work).meta["result"]["exc_message"] == ["not ready"]
    assert names(heard) == ["prerun", "failure", "postrun"]


def test_a_failing_handler_does_not_change_the_end(
    bench: Bench, memory_app: Celery, heard: list[Any], caplog: Any
) -> None:
    class Base(Task[..., Any]):
        def on_success(self, *args: Any) -> None:
            raise ValueError("handler")

    @memory_app.task(base=Base)
    def work() -> int:
        return 1

    job = bench.run(work)
    assert (job.outcome, job.meta["status"]) == ("SUCCESS", "SUCCESS")
    assert names(heard) == ["prerun", "postrun", "internal_error"]
    assert "INTERNAL ERROR" in caplog.text


def test_a_loader_that_fails_makes_the_task_fail(memory_app: Celery, heard: list[Any]) -> None:
    class Loader(type(memory_app.loader)):  # type: ignore[misc]
        def on_task_init(self, task_id: str, task: Any) -> None:
            raise ValueError("loader")

    memory_app.loader = Loader(memory_app)

    @memory_app.task
    def work() -> int:
        return 1

    job = Bench(memory_app).run(work)
    assert (job.outcome, job.meta["result"]["exc_message"]) == ("FAILURE", ["loader"])
    assert names(heard) == ["prerun", "postrun", "internal_error"]


# --- coroutines ------------------------------------------------------------------------------------------------------


def test_coroutine_tasks_share_a_loop_and_see_themselves(bench: Bench, memory_app: Celery) -> None:
    loops: list[Any] = []

    @memory_app.task(bind=True)
    async def work(self: Any, x: int) -> Any:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        assert asyncio.current_task() is not None
        return [x * 2, self.request.id]

    assert bench.run(work, 4).meta["result"] == [8, "the-id"]
    bench.run(work, 5)
    assert loops[0] is loops[1]
    bench.tracer.close()
    assert loops[0].is_closed()


def test_what_a_coroutine_left_running_is_cancelled_at_the_end(bench: Bench, memory_app: Celery) -> None:
    ends: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ends.append("cancelled")

    kept: list[Any] = []

    @memory_app.task
    async def work() -> None:
        kept.append(asyncio.get_running_loop().create_task(background()))
        await asyncio.sleep(0)

    bench.run(work)
    assert ends == []
    bench.tracer.close()
    assert ends == ["cancelled"]


def test_what_ignores_its_cancellation_is_left_behind(
    bench: Bench, memory_app: Celery, caplog: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(_loop, "PATIENCE_S", 0.01)
    finish = asyncio.Event()

    async def stubborn() -> None:
        while not finish.is_set():
            try:
                await asyncio.wait_for(finish.wait(), 3600)
            except asyncio.CancelledError:
                pass

    kept: list[Any] = []

    @memory_app.task
    async def work() -> None:
        kept.append(asyncio.get_running_loop().create_task(stubborn(), name="stubborn"))
        await asyncio.sleep(0)

    bench.run(work)
    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "call_exception_handler", lambda *a: None)
    bench.tracer.close()
    assert "'stubborn' goes on although it was cancelled" in caplog.text
    kept[0]._log_destroy_pending = False


def test_eager_coroutines_run_where_a_loop_runs_already(memory_app: Celery) -> None:
    @memory_app.task
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    async def caller() -> Any:
        return work.apply((1,)).get()

    assert asyncio.run(caller()) == 2


# --- eager -----------------------------------------------------------------------------------------------------------


def test_eager_results_are_not_stored(memory_app: Celery) -> None:
    @memory_app.task
    def add(x: int, y: int) -> int:
        return x + y

    result = add.apply((1, 2), task_id="eager")
    assert (result.get(), result.state, result.id) == (3, "SUCCESS", "eager")
    assert not memory_app.AsyncResult("eager").exists()


def test_eager_results_can_be_stored(memory_app: Celery) -> None:
    memory_app.conf.task_store_eager_result = True

    @memory_app.task
    def add(x: int, y: int) -> int:
        return x + y

    add.apply((1, 2), task_id="eager")
    assert memory_app.AsyncResult("eager").get(timeout=0) == 3


def test_eager_failures_are_kept_or_raised(memory_app: Celery, heard: list[Any]) -> None:
    @memory_app.task
    def boom() -> None:
        raise KeyError("missing")

    result = boom.apply()
    assert (result.state, result.failed()) == ("FAILURE", True)
    assert "KeyError" in (result.traceback or "")
    with pytest.raises(KeyError):
        result.get()
    with pytest.raises(KeyError):
        boom.apply(throw=True)
    assert names(heard) == ["prerun", "failure", "postrun", "prerun", "postrun"]


def test_eager_retries_run_at_once(memory_app: Celery) -> None:
    attempts: list[int] = []

    @memory_app.task(bind=True, max_retries=3)
    def flaky(self: Any) -> int:
        attempts.append(self.request.retries)
        if self.request.retries < 2:
            raise self.retry(exc=ValueError())
        return self.request.retries

    assert flaky.apply().get() == 2
    assert attempts == [0, 1, 2]


def test_no_waiting_inside_a_task(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task
    def waits() -> Any:
        return memory_app.AsyncResult("other").get(timeout=0)

    meta = bench.run(waits).meta
    assert meta["result"]["exc_type"] == "RuntimeError"
    assert "Never call result.get() within a task" in meta["result"]["exc_message"][0]


def test_log_formats_can_be_replaced(bench: Bench, memory_app: Celery, caplog: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(trace, "LOG_SUCCESS", "%(name)s made %(return_value)s")

    @memory_app.task(name="unit.make")
    def make() -> int:
        return 4

    with caplog.at_level(logging.INFO, "celeriac.app.trace"):
        bench.run(make)
    assert caplog.messages == ["unit.make made 4"]


def test_update_state_goes_the_way_of_the_result(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task(bind=True)
    def work(self: Any) -> str:
        self.update_state(state="PROGRESS", meta={"done": 3})
        return "finished"

    job = bench.run(work)
    assert [(meta["status"], meta["result"]) for meta in job.metas] == [
        ("PROGRESS", {"done": 3}),
        ("SUCCESS", "finished"),
    ]


class Held:
    """Something that a failing task holds, say a connection."""


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), Reject("no"), Ignore()])
def test_what_a_failed_task_held_is_freed_at_once(
    bench: Bench, memory_app: Celery, monkeypatch: Any, error: BaseException
) -> None:
    monkeypatch.setattr(trace.logger, "disabled", True)  # pytest keeps log records, and they keep tracebacks
    gone: list[int] = []

    @memory_app.task
    def boom() -> None:
        held = Held()
        weakref.finalize(held, gone.append, 1)
        raise type(error)(*error.args)

    gc.collect()
    gc.disable()
    try:
        bench.run(boom)
        assert gone == [1]
    finally:
        gc.enable()


# --- odd tasks, odd values -------------------------------------------------------------------------------------------


def test_a_custom_call_runs_within_the_same_request(bench: Bench, memory_app: Celery) -> None:
    class Base(Task[..., Any]):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return ["wrapped", super().__call__(*args, **kwargs)]

    @memory_app.task(base=Base, bind=True)
    def work(self: Any, x: int) -> Any:
        return [x, self.request.id, self.request.called_directly, len(self.request_stack)]

    assert bench.run(work, 1).meta["result"] == ["wrapped", [1, "the-id", False, 1]]
    assert work(1) == ["wrapped", [1, None, True, 1]]


def test_calling_itself_is_a_plain_call(bench: Bench, memory_app: Celery) -> None:
    @memory_app.task(bind=True)
    def work(self: Any, deeper: bool) -> Any:
        mine = [self.request.id, self.request.called_directly]
        return [mine, self(False) if deeper else None, self.request.id]

    assert bench.run(work, True).meta["result"] == [["the-id", False], [[None, True], None, None], "the-id"]


def test_the_retry_names_itself_as_its_child_and_parent(bench: Bench, memory_app: Celery) -> None:
    """As captured in result-redis/retry_success and task-worker/retry."""

    @memory_app.task(bind=True)
    def flaky(self: Any) -> None:
        raise self.retry(exc=ValueError("try again"), countdown=0.5)

    job = bench.run(flaky)
    assert job.meta["children"] == [[["the-id", None], None]]
    headers = FakeJob(job.published[0][4]).message.headers()
    assert (headers["parent_id"], headers["root_id"], headers["retries"]) == ("the-id", "the-id", 1)


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _circular() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("make", [lambda: _nested(100_000), _circular, lambda: {(1, 2): 3}, object])
def test_results_without_an_end_are_failures(bench: Bench, memory_app: Celery, make: Any) -> None:
    @memory_app.task
    def work() -> Any:
        return make()

    job = bench.run(work)
    assert (job.outcome, job.meta["status"]) == ("FAILURE", "FAILURE")


def test_endless_recursion_is_a_failure(bench: Bench, memory_app: Celery) -> None:
    def deeper(x: int) -> int:
        return deeper(x + 1)

    @memory_app.task
    def work() -> Any:
        return deeper(0)

    assert bench.run(work).meta["result"]["exc_type"] == "RecursionError"


def test_odd_text_in_exceptions(memory_app: Celery) -> None:
    memory_app.conf.update(result_serializer="msgpack", result_accept_content=["msgpack"])
    bench = Bench(memory_app)
    odd = type("Odd", (ValueError,), {"__module__": None})

    @memory_app.task
    def work() -> Any:
        raise odd("\udcff")

    job = FakeJob(bench.envelope(work))
    bench.execute(job)
    result = memory_app.AsyncResult("the-id")
    assert result.state == "FAILURE"
    assert "udcff" in str(result.result)


def test_extended_records_of_arguments_that_results_cannot_hold(memory_app: Celery) -> None:
    memory_app.conf.update(result_extended=True, accept_content=["json", "pickle"])
    bench = Bench(memory_app)

    @memory_app.task
    def work(*args: Any) -> int:
        return 1

    job = bench.run(work, {1, 2}, options={"serializer": "pickle"})
    assert (job.outcome, job.meta["args"]) == ("SUCCESS", "({1, 2},)")


def test_results_of_a_backend_that_the_hub_cannot_write_are_stored_at_once(bench: Bench, memory_app: Celery) -> None:
    stored: list[Any] = []

    class Own:
        hub_url = None
        persistent = True
        expires = None

        def store_result(self, task_id: str, result: Any, state: str, **options: Any) -> None:
            stored.append((task_id, state, result))

        def mark_as_failure(self, task_id: str, exc: Any, *rest: Any) -> None:
            stored.append((task_id, "FAILURE", repr(exc)))

        def process_cleanup(self) -> None:
            stored.append("cleanup")

    @memory_app.task(track_started=True)
    def work(fail: bool) -> int:
        if fail:
            raise ValueError(1)
        return 5

    work.backend = Own()
    job = bench.run(work, False)
    assert (job.outcome, job.metas) == ("SUCCESS", [])
    assert [each[1:] if each != "cleanup" else each for each in stored][1:] == [("SUCCESS", 5), "cleanup"]
    bench.run(work, True)
    assert stored[-2] == ("the-id", "FAILURE", "ValueError(1)")


def test_without_results_nothing_is_stored(memory_app: Celery) -> None:
    memory_app.conf.result_backend = "disabled://"

    @memory_app.task
    def work() -> int:
        return 5

    bench = Bench(memory_app)
    job = FakeJob(bench.envelope(work))
    bench.tracer.execute(job)  # type: ignore[arg-type]
    assert (job.outcome, job.metas) == ("SUCCESS", [])


def test_messages_of_protocol_1_run(bench: Bench, memory_app: Celery) -> None:
    import json

    @memory_app.task(bind=True)
    def work(self: Any, x: int, y: int) -> Any:
        return [x + y, self.request.id, self.request.retries, self.request.utc]

    fields = {"task": work.name, "id": "one", "args": [2], "kwargs": {"y": 3}, "retries": 1, "utc": True}
    from celeriac._bridge.codec import encode_envelope

    properties = {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "celery"}}
    envelope = encode_envelope({}, properties, json.dumps(fields).encode(), "application/json", "utf-8")
    assert bench.execute(FakeJob(envelope)).meta["result"] == [5, "one", 1, True]


def test_children_share_a_tracer(bench: Bench, memory_app: Celery) -> None:
    """Plain and coroutine tasks in many threads: each sees its own request, loop and result."""

    @memory_app.task(bind=True)
    def work(self: Any, number: int) -> Any:
        if number % 3 == 0:
            raise ValueError(self.request.id)
        return [number, self.request.id, self.request.args]

    @memory_app.task(bind=True)
    async def wait(self: Any, number: int) -> Any:
        await asyncio.sleep(0)
        return [number, self.request.id, self.request.args]

    wrong: list[Any] = []

    def child(index: int) -> None:
        for number in range(100):
            task_id = f"{index}-{number}"
            task = wait if number % 5 == 0 else work
            meta = bench.run(task, number, task_id=task_id).meta
            if task is work and number % 3 == 0:
                good = meta["result"]["exc_message"] == [task_id]
            else:
                good = meta["result"] == [number, task_id, [number]]
            if not good or meta["task_id"] != task_id:
                wrong.append(meta)
        bench.tracer.close()

    trace.logger.disabled, before = True, trace.logger.disabled
    try:
        threads = [threading.Thread(target=child, args=(index,)) for index in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        trace.logger.disabled = before
    assert wrong == []
