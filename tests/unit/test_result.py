"""Handles of results, apart from waiting (tests/contract/test_backend.py)."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import io
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac import Celery
from celeriac.app.context import Context, pop_request, push_request
from celeriac.exceptions import ImproperlyConfigured, IncompleteStream, TimeoutError
from celeriac.result import (
    AsyncResult,
    EagerResult,
    GroupResult,
    ResultSet,
    allow_join_result,
    assert_will_not_block,
    denied_join_result,
    result_from_tuple,
)


@pytest.fixture
def app(request: Any) -> Iterator[Celery]:
    name = request.node.name
    made = Celery("results", broker="memory://r", backend=f"memory://{name}", set_as_current=False)
    yield made
    made.close()


def test_an_id_is_needed(app: Celery) -> None:
    with pytest.raises(ValueError, match="valid id"):
        AsyncResult(None, app=app)  # type: ignore[arg-type]


def test_identity(app: Celery) -> None:
    result = app.AsyncResult("a")
    assert (str(result), repr(result), hash(result)) == ("a", "<AsyncResult: a>", hash("a"))
    assert result == app.AsyncResult("a") == "a"
    assert result != app.AsyncResult("b")
    assert result != "b"
    assert result.task_id == "a"
    assert copy.copy(result) == result
    assert pickle.loads(pickle.dumps(AsyncResult("a", app=app, parent=None))).id == "a"


def test_ignored_results_are_none_at_once(app: Celery) -> None:
    result = app.AsyncResult("a")
    result.ignored = True
    assert result.get() is None

    async def wait() -> Any:
        return await result

    assert asyncio.run(wait()) is None


def test_tuples_and_lists_of_ids(app: Celery) -> None:
    result = app.AsyncResult("b", parent=app.AsyncResult("a"))
    assert result.as_tuple() == (("b", (("a", None), None)), None)
    assert result.as_list() == ["b", "a"]
    again = result_from_tuple(result.as_tuple(), app)
    assert (again, again.parent) == (result, result.parent)
    group = GroupResult("g", [result, app.AsyncResult("c")], app=app)
    again = result_from_tuple([["g", None], [[["b", [["a", None], None]], None], [["c", None], None]]], app)
    assert again == group
    assert again[0].parent == "a"
    assert result_from_tuple(group, app) is group
    assert result_from_tuple((("g", None), []), app) == GroupResult("g", [], app=app)


def test_final_states_are_read_once(app: Celery) -> None:
    app.backend.mark_as_done("a", 1)
    result = app.AsyncResult("a")
    assert result.get(timeout=0) == 1
    app.backend.forget("a")
    assert (result.state, result.result) == ("SUCCESS", 1)


def test_a_failure_raised_twice_does_not_show_the_way_of_the_first(app: Celery) -> None:
    app.backend.mark_as_failure("a", KeyError("x"))
    result = app.AsyncResult("a")
    lengths = []
    for _ in range(3):
        with pytest.raises(KeyError) as caught:
            result.get(timeout=0)
        lengths.append(len(caught.traceback))
    assert lengths[1] == lengths[2]  # the first one waited, which takes more frames


def tree(app: Celery) -> AsyncResult[Any]:
    """root -> (a -> c, group of b)."""
    app.backend.mark_as_done("c", "C", request=Context(children=[]))
    app.backend.mark_as_done("b", "B")
    app.backend.mark_as_done("a", "A", request=Context(children=[app.AsyncResult("c")]))
    children = [app.AsyncResult("a"), app.AsyncResult("b")]
    app.backend.mark_as_done("root", "R", request=Context(children=children))
    return app.AsyncResult("root")


def test_collect_goes_through_sub_tasks(app: Celery) -> None:
    root = tree(app)
    assert [(str(result), value) for result, value in root.collect()] == [
        ("root", "R"),
        ("a", "A"),
        ("b", "B"),
        ("c", "C"),
    ]
    assert root.get_leaf() == "C"
    assert [(str(parent), str(node)) for parent, node in root.iterdeps()][1:] == [
        ("root", "a"),
        ("root", "b"),
        ("a", "c"),
    ]


def test_collect_wants_everything_ready(app: Celery) -> None:
    root = tree(app)
    app.backend.forget("b")
    with pytest.raises(IncompleteStream):
        list(root.iterdeps())
    with pytest.raises(TimeoutError):
        list(root.collect(timeout=0))
    assert [str(node) for _, node in root.iterdeps(intermediate=True)] == ["root", "a", "b", "c"]


def test_graph(app: Celery) -> None:
    graph = tree(app).graph
    assert [str(node) for node in graph.topsort()] == ["c", "a", "b", "root"]
    assert {str(node): [str(other) for other in others] for node, others in graph.items()} == {
        "root": ["a", "b"],
        "a": ["c"],
        "b": [],
        "c": [],
    }
    out = io.StringIO()
    graph.to_dot(out)
    assert '"root" -> "a";' in out.getvalue()


def test_revoke_says_that_it_cannot_yet(app: Celery) -> None:
    try:
        assert app.control
    except (AttributeError, ImportError, NotImplementedError):
        pass
    else:
        pytest.skip("there is remote control")
    with pytest.raises(ImproperlyConfigured, match="remote control"):
        app.AsyncResult("a").revoke()


# --- waiting inside tasks --------------------------------------------------------------------------------------------


def test_waiting_is_refused_only_where_it_was_denied() -> None:
    assert_will_not_block()
    with denied_join_result():
        with pytest.raises(RuntimeError, match=r"Never call result\.get\(\) within a task"):
            assert_will_not_block()
        with allow_join_result():
            assert_will_not_block()
        with pytest.raises(RuntimeError):
            assert_will_not_block()
        outcomes: list[str] = []

        def elsewhere() -> None:
            assert_will_not_block()  # what one thread denies the others need not care for
            outcomes.append("allowed")

        thread = threading.Thread(target=contextvars.Context().run, args=(elsewhere,))
        thread.start()
        thread.join()
        assert outcomes == ["allowed"]
    assert_will_not_block()


def test_inside_a_worker_task_get_join_and_await_are_refused(app: Celery) -> None:
    request = Context()
    request._job = object()  # type: ignore[assignment]
    token = push_request(object(), request)
    try:
        with pytest.raises(RuntimeError):
            app.AsyncResult("a").get(timeout=0)
        with pytest.raises(RuntimeError):
            ResultSet([app.AsyncResult("a")], app=app).join(timeout=0)
        with pytest.raises(RuntimeError):
            EagerResult("a", 1, "SUCCESS").get()

        async def wait() -> Any:
            return await app.AsyncResult("a")

        with pytest.raises(RuntimeError):
            asyncio.run(wait())
        app.backend.mark_as_done("a", 1)
        assert app.AsyncResult("a").get(timeout=0, disable_sync_subtasks=False) == 1
    finally:
        pop_request(token)


# --- eager -----------------------------------------------------------------------------------------------------------


def test_eager_results() -> None:
    result: EagerResult[int] = EagerResult("e", 5, "SUCCESS", name="task")
    assert (result.get(), result.state, result.result, result.ready(), result.successful()) == (
        5,
        "SUCCESS",
        5,
        True,
        True,
    )
    assert (result.id, result.name, result.traceback, result.supports_native_join) == ("e", "task", None, False)
    result.forget()

    async def wait() -> int:
        return await result

    assert asyncio.run(wait()) == 5
    assert copy.copy(result).get() == 5
    assert pickle.loads(pickle.dumps(result)).get() == 5
    told: list[Any] = []
    result.then(told.append)
    assert told == [result]


def test_eager_failures() -> None:
    failed: EagerResult[Any] = EagerResult("e", KeyError("x"), "FAILURE", traceback="text")
    with pytest.raises(KeyError):
        failed.get()
    assert isinstance(failed.get(propagate=False), KeyError)
    assert (failed.failed(), failed.traceback) == (True, "text")
    with pytest.raises(Exception, match="plain text"):
        EagerResult("e", "plain text", "FAILURE").get()
    assert EagerResult("e", 1, "IGNORED").get() is None
    failed.revoke()
    assert failed.state == "REVOKED"


# --- sets ------------------------------------------------------------------------------------------------------------


def test_sets_hold_each_result_once(app: Celery) -> None:
    a, b = app.AsyncResult("a"), app.AsyncResult("b")
    members = ResultSet([a], app=app)
    members.add(b)
    members.add(app.AsyncResult("a"))
    assert (list(members), len(members), members[1]) == ([a, b], 2, b)
    members.remove("a")
    members.discard("a")
    with pytest.raises(KeyError):
        members.remove("a")
    members.update([a, b])
    assert members.results == [b, a]
    assert members == ResultSet([b, a], app=app)
    members.clear()
    assert len(members) == 0
    assert ResultSet([], app=app).join() == []


def test_groups_are_known_by_id(app: Celery) -> None:
    group = GroupResult("g", [app.AsyncResult("a")], app=app)
    assert group == "g"
    assert group == GroupResult("g", [app.AsyncResult("a")], app=app)
    assert group != GroupResult("g", [], app=app)
    assert bool(GroupResult("g", [], app=app))
    assert not bool(GroupResult(None, [], app=app))
    assert (str(group), repr(group), group.children) == ("g", "<GroupResult: g [a]>", [app.AsyncResult("a")])


def test_sets_tell_when_they_are_full(app: Celery) -> None:
    members = ResultSet([app.AsyncResult("a"), app.AsyncResult("b")], app=app)
    event = threading.Event()
    members.then(lambda result: event.set())
    app.backend.mark_as_done("a", 1)
    app.backend.mark_as_done("b", 1)
    assert event.wait(10)


def test_duplicate_members_get_a_value_each(app: Celery) -> None:
    app.backend.mark_as_done("a", 1)
    app.backend.mark_as_done("b", 2)
    members = ResultSet([app.AsyncResult(each) for each in ("a", "b", "a")], app=app)
    assert members.join_native(timeout=5) == [1, 2, 1]


def test_pickles_are_read_by_a_process_that_has_imported_nothing(app: Celery) -> None:
    group = GroupResult("g", [EagerResult("a", 1, "SUCCESS")], app=app)
    code = "import sys, pickle; print(repr(pickle.loads(sys.stdin.buffer.read())))"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(group), stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().strip() == "<GroupResult: g [a]>"
