"""Local runs: retries, eager mode, pydantic, coroutines."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from pydantic import BaseModel

from celeriac import Celery
from celeriac.app.context import collect
from celeriac.exceptions import AlwaysEagerIgnored, Ignore, MaxRetriesExceededError, OperationalError, Reject, Retry
from celeriac.utils.time import get_exponential_backoff_interval


@pytest.fixture
def eager() -> Any:
    return Celery("e", set_as_current=False, broker="memory://", backend="disabled://", task_always_eager=True)


# --- retry


def test_retries_run_until_one_succeeds(app: Any) -> None:
    seen: list[int] = []

    @app.task(bind=True, max_retries=5)
    def flaky(self: Any, x: int) -> int:
        seen.append(self.request.retries)
        if self.request.retries < 2:
            raise self.retry(args=(x + 1,), countdown=9)
        return x

    result = flaky.apply((1,))
    assert (result.get(), result.state, seen) == (3, "SUCCESS", [0, 1, 2])


def test_when_no_retries_are_left_the_cause_is_raised(app: Any) -> None:
    runs: list[int] = []

    @app.task(bind=True, max_retries=2)
    def failing(self: Any, with_exc: bool) -> None:
        runs.append(1)
        raise self.retry(exc=KeyError("k") if with_exc else None)

    result = failing.apply((True,))
    assert (type(result.result), len(runs)) == (KeyError, 3)
    result = failing.apply((False,))
    assert isinstance(result.result, MaxRetriesExceededError)
    assert (result.result.task_args, "failing" in str(result.result)) == ((False,), True)


def test_a_plain_call_raises_what_went_wrong(app: Any) -> None:
    @app.task(bind=True)
    def failing(self: Any, exc: Any) -> None:
        self.retry(exc=exc)

    with pytest.raises(KeyError):
        failing(KeyError("k"))
    with pytest.raises(Retry, match="can be retried"):
        failing(None)


def as_worker(task: Any, outbox: Any = None, **fields: Any) -> Any:
    """Pushes a request as a worker does."""
    delivery = {"exchange": "", "routing_key": "q7", "priority": 4, "redelivered": False}
    task.push_request(
        {
            "id": "the-id",
            "root_id": "root",
            "args": (1,),
            "kwargs": {},
            "called_directly": False,
            "retries": 1,
            "delivery_info": delivery,
            "timelimit": [9, 8],
            "headers": {"custom": 1, "x-death": []},
            "callbacks": [{"task": "cb", "args": [], "kwargs": {}, "options": {}}],
            "ignore_result": None,
            "origin": "gen1@far",
            "group": "g",
            **fields,
        }
    )
    task.request._outbox = outbox
    return task.request


def test_a_retry_is_the_same_task_again(app: Any, broker: Any) -> None:
    task = app.task(bind=True, name="proj.again", max_retries=3)(lambda self, x: None)
    as_worker(task)
    try:
        with pytest.raises(Retry) as caught:
            task.retry(countdown=5, exc=ValueError("no"))
    finally:
        task.pop_request()
    sent = broker.message()
    wanted = {"id": "the-id", "root_id": "root", "retries": 2, "timelimit": [9, 8], "group": "g", "custom": 1}
    assert {key: sent.headers.get(key) for key in wanted} == wanted
    assert sent.headers["origin"] == "gen1@far"
    assert sent.headers["parent_id"] == "the-id"
    assert "x-death" not in sent.headers
    assert sent.body[2]["callbacks"][0]["task"] == "cb"
    assert (sent.exchange, sent.routing_key, sent.priority) == ("", "q7", 4)
    assert sent.headers["eta"]
    assert sent.due_ms
    assert (caught.value.when, str(caught.value.exc)) == (5, "no")


def test_a_retry_goes_where_the_task_came_from(app: Any, broker: Any) -> None:
    task = app.task(bind=True, name="proj.again")(lambda self: None)
    as_worker(task, delivery_info={"exchange": "shop", "routing_key": "a.b", "priority": None}, args=())
    try:
        task.retry(throw=False, exchange_type="topic")
    finally:
        task.pop_request()
    assert (broker.message().exchange, broker.message().routing_key) == ("shop", "a.b")
    assert broker.message().headers["eta"], "after default_retry_delay"


def test_in_a_worker_the_retry_leaves_with_the_end_of_the_task(app: Any, broker: Any) -> None:
    task = app.task(bind=True, name="proj.again")(lambda self, x: None)
    outbox: list[Any] = []
    as_worker(task, outbox)
    try:
        assert isinstance(task.retry(throw=False), Retry)
        task.delay(2)
    finally:
        task.pop_request()
    assert [publication[1] for publication in outbox] == ["q7"]
    assert len(broker.published) == 1, "what the body sends itself leaves at once"


def test_a_retry_that_cannot_be_sent_is_a_reject(app: Any, broker: Any) -> None:
    broker.failures = [OperationalError("gone")]
    task = app.task(bind=True, name="proj.again")(lambda self, x: None)
    as_worker(task)
    try:
        with pytest.raises(Reject) as caught:
            task.retry()
    finally:
        task.pop_request()
    assert not caught.value.requeue


def test_max_retries_of_one_call(app: Any, broker: Any) -> None:
    task = app.task(bind=True, name="proj.again", max_retries=0)(lambda self, x: None)
    as_worker(task)
    try:
        assert task.retry(throw=False, max_retries=2)
        with pytest.raises(MaxRetriesExceededError):
            task.retry(throw=False)
        with pytest.raises(MaxRetriesExceededError):
            task.retry(max_retries=1)
    finally:
        task.pop_request()
    assert task.max_retries == 0


# --- automatic retries


@pytest.mark.parametrize("kind", ["function", "coroutine", "class"])
def test_autoretry(app: Any, kind: str) -> None:
    seen: list[int] = []

    def body(self: Any) -> str:
        seen.append(self.request.retries)
        if self.request.retries < 2:
            raise ValueError
        return "ok"

    options: dict[str, Any] = {"autoretry_for": (ValueError,), "retry_kwargs": {"max_retries": 4}, "name": "auto"}
    if kind == "function":
        task = app.task(bind=True, **options)(body)
    elif kind == "coroutine":

        async def coroutine(self: Any) -> str:
            return body(self)

        task = app.task(bind=True, **options)(coroutine)
    else:
        task = app.register_task(type("Auto", (app.Task,), {"run": body, **options})())
    assert task.apply().get() == "ok"
    assert seen == [0, 1, 2]
    assert task.retry_kwargs == {"max_retries": 4}


@pytest.mark.parametrize(
    ("raised", "runs"), [(ValueError, 4), (KeyError, 1), (UnicodeError, 1), (Ignore, 1)], ids=lambda v: str(v)
)
def test_which_exceptions_retry(app: Any, raised: Any, runs: int) -> None:
    seen: list[int] = []

    @app.task(autoretry_for=(ValueError,), dont_autoretry_for=(UnicodeError,), retry_backoff=True)
    def failing() -> None:
        seen.append(1)
        raise raised

    failing.apply()
    assert len(seen) == runs


@pytest.mark.parametrize(
    ("options", "countdowns"),
    [
        ({"retry_backoff": True}, [1, 2, 4, 8]),
        ({"retry_backoff": 3}, [3, 6, 12, 24]),
        ({"retry_backoff": 0.5}, [1, 2, 4, 8]),
        ({"retry_backoff": True, "retry_backoff_max": 3}, [1, 2, 3, 3]),
        ({"retry_backoff": True, "retry_kwargs": {"countdown": 77}}, [1, 2, 4, 8]),
        ({"retry_kwargs": {"countdown": 77}}, [77, 77, 77, 77]),
        ({}, [180, 180, 180, 180]),
    ],
)
def test_pauses_of_automatic_retries(app: Any, options: Any, countdowns: list[int]) -> None:
    whens: list[Any] = []

    @app.task(bind=True, autoretry_for=(ValueError,), max_retries=4, retry_jitter=False, name="pauses", **options)
    def failing(self: Any) -> None:
        raise ValueError

    for retries in range(4):
        failing.push_request(id="i", args=(), kwargs={}, called_directly=False, retries=retries, is_eager=True)
        try:
            failing.run()
        except Retry as exc:
            whens.append(exc.when)
        finally:
            failing.pop_request()
    assert whens == countdowns


def test_jitter_stays_within_the_backoff() -> None:
    drawn = {get_exponential_backoff_interval(2, 3, 600, full_jitter=True) for _ in range(500)}
    assert drawn <= set(range(17))
    assert len(drawn) > 5
    assert get_exponential_backoff_interval(1, 10**6, 600) == 600


# --- eager


def test_eager_mode_runs_here_and_passes_through_the_serializer(eager: Any) -> None:
    @eager.task
    def show(value: Any) -> Any:
        return value

    assert show.delay((1, 2)).get() == [1, 2]
    assert show.apply_async((1,), task_id="mine").id == "mine"
    assert [result.get() for result in show.apply_many([(1,), {"value": 2}])] == [1, 2]


def test_an_eager_failure_is_kept_or_raised(eager: Any) -> None:
    @eager.task
    def failing() -> None:
        raise KeyError("k")

    result = failing.delay()
    assert result.failed()
    assert "KeyError" in (result.traceback or "")
    with pytest.raises(KeyError):
        result.get()
    with pytest.raises(KeyError):
        failing.apply(throw=True)
    eager.conf.task_eager_propagates = True
    with pytest.raises(KeyError):
        failing.delay()


def test_the_eager_request(eager: Any) -> None:
    @eager.task(bind=True)
    def show(self: Any) -> Any:
        request = self.request
        return [request.is_eager, request.called_directly, request.retries, request.headers, request.id]

    assert show.apply(task_id="i", headers={"a": 1}, retries=2).get() == [True, False, 2, {"a": 1}, "i"]
    assert show.apply_async(task_id="i").get() == [True, False, 0, None, "i"]


def test_send_task_warns_in_eager_mode(eager: Any, broker: Any) -> None:
    eager._broker = broker
    with pytest.warns(AlwaysEagerIgnored):
        eager.send_task("t")
    assert len(broker.published) == 1


# --- pydantic


class Order(BaseModel):
    number: int
    note: str = ""


def test_models_in_and_out(app: Any) -> None:
    seen: list[Any] = []

    @app.task(pydantic=True, pydantic_dump_kwargs={"exclude_defaults": True})
    def double(order: Order, other: Order | None = None, plain: Any = None) -> Order:
        seen.extend([order, other, plain])
        return Order(number=order.number * 2)

    result = double.apply(({"number": "3"},), {"plain": {"number": 1}})
    assert result.get() == {"number": 6}
    assert seen == [Order(number=3), None, {"number": 1}]
    assert double.apply(({"number": "x"},)).failed()


def test_models_of_bound_and_coroutine_tasks(app: Any) -> None:
    @app.task(bind=True, pydantic=True, pydantic_strict=True)
    async def double(self: Any, order: Order) -> Order:
        assert self.name
        return Order(number=order.number * 2)

    assert double.apply(({"number": 3},)).get() == {"number": 6, "note": ""}
    assert double.apply(({"number": "3"},)).failed()


def test_apps_and_results_are_pickled(app: Any) -> None:
    app.conf.task_acks_late = True
    found = pickle.loads(pickle.dumps(app))
    assert (found.main, found.conf.task_acks_late, found.conf.broker_url) == ("proj", True, "memory://unit")
    assert found is not app


def test_collecting_nests() -> None:
    outer: list[Any] = []
    app: Any = Celery("c", set_as_current=False, broker="memory://", backend="disabled://")
    with collect(outer):
        app.send_task("a")
        with collect([]):
            app.send_task("b")
    assert len(outer) == 1
