"""Declaring tasks, and what a task object can do."""

from __future__ import annotations

import copy
import functools
import pickle
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from celeriac import Celery, _state, current_app, current_task, shared_task
from celeriac.app import _making
from celeriac.app._checker import make_checker
from celeriac.app.registry import TaskRegistry
from celeriac.app.task import Task
from celeriac.exceptions import DuplicateTaskNameWarning, InvalidTaskError, NotRegistered
from celeriac.local import PromiseProxy


def plain(x: int, y: int = 2) -> int:
    """Adds."""
    return x + y


# --- declaring


def test_a_task_is_made_when_it_is_needed(app: Any) -> None:
    task = app.task(plain)
    assert type(task) is PromiseProxy
    assert not app.finalized
    assert task.name == f"{__name__}.plain"
    assert app.finalized
    assert app.tasks[task.name] == task
    assert isinstance(task, Task)


def test_threads_that_ask_at_once_all_find_the_tasks(app: Any) -> None:
    began = threading.Event()
    asked = threading.Event()

    class Slow(Task):
        @classmethod
        def on_bound(cls, app: Any) -> None:
            began.set()
            asked.wait(0.2)  # the other thread cannot say that it waits for the lock, so this one must end by itself

    app.task(plain, name="t.slow", base=Slow)
    app.task(plain, name="t.plain")
    first = threading.Thread(target=app.finalize)
    first.start()
    assert began.wait(10)
    assert app.tasks["t.plain"](1) == 3
    asked.set()
    first.join(10)


def test_the_function_shows_through(app: Any) -> None:
    task = app.task(plain)
    assert task.__wrapped__ is plain
    assert task.run is plain
    assert task.__doc__ == "Adds."
    assert task.__name__ == "plain"
    assert task.__qualname__ == "plain"
    assert task.__module__ == __name__
    assert task(1) == 3


def test_options_are_attributes(app: Any) -> None:
    def on_failure(self: Any, *args: Any) -> str:
        return "handled"

    task = app.task(name="n", acks_late=True, max_retries=None, my_own=3, on_failure=on_failure)(plain)
    assert (task.name, task.acks_late, task.max_retries, task.my_own) == ("n", True, None, 3)
    assert task.on_failure() == "handled"


def test_bind_hands_the_task_over(app: Any) -> None:
    @app.task(bind=True)
    def bound(self: Any, x: int) -> Any:
        return self.name, x, self.request.args, current_task.name

    name = f"{__name__}.bound"
    assert bound(3) == (name, 3, (3,), name)
    assert app.current_task is None


@pytest.mark.parametrize(
    "wrong", [lambda app: app.task(3), lambda app: app.task(plain, plain), lambda app: app.task()(3)]
)
def test_what_is_no_function_is_refused(app: Any, wrong: Any) -> None:
    with pytest.raises(TypeError):
        wrong(app)


def test_a_name_that_is_taken_gives_the_first_task(app: Any) -> None:
    first = app.task(name="same", lazy=False)(plain)
    assert app.task(name="same", lazy=False)(plain) is first
    with pytest.warns(DuplicateTaskNameWarning, match="'same' is taken"):
        assert app.task(name="same", lazy=False)(lambda: None) is first
    assert app.task(name="same", lazy=False)(lambda: None) is first, "said once a name"


def test_a_class_takes_the_place_of_a_task_of_its_name(app: Any) -> None:
    app.task(name="same", lazy=False)(plain)
    with pytest.warns(DuplicateTaskNameWarning, match="takes its place"):
        second = app.register_task(type("Second", (Task,), {"name": "same", "run": plain}))
    assert app.tasks["same"] is second


def test_lazy_off_makes_it_at_once(app: Any) -> None:
    assert type(app.task(lazy=False)(plain)) is not PromiseProxy


def test_filter_changes_what_the_decorator_returns(app: Any) -> None:
    assert app.task(filter=lambda task: ("kept", task), lazy=False)(plain)[0] == "kept"


def test_without_autofinalize_early_use_is_an_error() -> None:
    app: Any = Celery("x", set_as_current=False, autofinalize=False)
    task = app.task(plain)
    with pytest.raises(RuntimeError, match="not finalized"):
        _ = task.name
    app.finalize()
    assert task.name


def test_main_stands_for_dunder_main(app: Any) -> None:
    assert app.gen_task_name("f", "__main__") == "proj.f"
    assert app.gen_task_name("f", "some.module") == "some.module.f"

    class Named(Celery):
        def gen_task_name(self, name: str, module: Any) -> str:
            return f"mine.{name}"

    assert Named("x", set_as_current=False).task(plain).name == "mine.plain"


def test_a_base_class(app: Any) -> None:
    class Base(app.Task):  # type: ignore[misc]
        tag = "base"

        def __call__(self, *args: Any) -> Any:
            return "called", super().__call__(*args)

    task = app.task(base=Base)(plain)
    assert task.tag == "base"
    assert task(1) == ("called", 3)


def test_shared_tasks_reach_every_app() -> None:
    one: Any = Celery("one", set_as_current=False)
    one.finalize()

    @shared_task(name="shared.by.decorator")
    def by_decorator() -> str:
        return current_app.main or ""

    later: Any = Celery("later", set_as_current=False)
    later.task(name="shared.by.app")(plain)
    private = later.task(name="not.shared", shared=False)(plain)
    last: Any = Celery("last", set_as_current=False)
    for app in (one, later, last):
        assert "shared.by.decorator" in app.tasks
    assert "shared.by.app" in later.tasks
    assert "shared.by.app" in last.tasks
    assert private.name not in last.tasks
    one.set_current()
    assert by_decorator() == "one"
    assert by_decorator.app is one
    last.set_current()
    assert by_decorator() == "last"


def test_class_based_tasks(app: Any) -> None:
    class Counter(Task[..., Any]):
        def __init__(self) -> None:
            self.count = 0

        def run(self, by: int) -> int:
            self.count += by
            return self.count

    task = app.register_task(Counter())
    assert task.name == f"{__name__}.Counter"
    assert app.tasks[task.name] is task
    assert task.app is app
    assert (task(2), task(3)) == (2, 5)
    with pytest.raises(TypeError, match="missing 1 required"):
        task.delay()
    assert isinstance(app.register_task(type("Other", (Task,), {"name": "o", "run": plain})), Task)


def test_a_task_without_run(app: Any) -> None:
    with pytest.raises(NotImplementedError, match="must define run"):
        app.register_task(type("Empty", (Task,), {"name": "e"}))()


# --- binding


def test_settings_fill_what_a_task_leaves_open() -> None:
    app: Any = Celery(
        "b",
        set_as_current=False,
        task_acks_late=True,
        task_serializer="pickle",
        task_time_limit=3,
        task_default_priority=4,
        task_acks_on_failure_or_timeout=False,
        task_acks_on_timeout=True,
        task_max_crashes=7,
        broker="memory://",
    )
    task = app.task(plain)
    assert (task.acks_late, task.serializer, task.time_limit, task.priority) == (True, "pickle", 3, 4)
    assert (task.acks_on_failure, task.acks_on_timeout, task.max_crashes) == (False, True, 7)
    own = app.task(name="own", acks_late=False)(plain)
    assert own.acks_late is False
    assert Task.acks_late is None


def test_annotations_change_tasks() -> None:
    class Any_:
        def annotate_any(self) -> Any:
            return {"rate_limit": "1/s", "tag": "any"}

    class One:
        def annotate(self, task: Any) -> Any:
            return {"tag": "one"} if task.name == "one" else None

    calls: list[str] = []

    def around(run: Any) -> Any:
        @functools.wraps(run)
        def wrapper(*args: Any) -> Any:
            calls.append("around")
            return run(*args)

        return wrapper

    app: Any = Celery(
        "a", set_as_current=False, task_annotations=[One(), Any_(), {"one": {"x": 1}, "two": {"x": 2, "@run": around}}]
    )
    one, two = app.task(name="one")(plain), app.task(name="two")(plain)
    assert (one.tag, one.rate_limit, getattr(one, "x", None)) == ("any", "1/s", None)
    assert (two.tag, two.x) == ("any", 2)
    assert two(1) == 3
    assert calls == ["around"]


def test_handlers_can_be_hooked_on_binding(app: Any) -> None:
    seen: list[Any] = []

    class Base(app.Task):  # type: ignore[misc]
        @classmethod
        def on_bound(cls, app: Any) -> None:
            seen.append((cls.name, app))

    app.task(base=Base, name="n", lazy=False)(plain)
    assert ("n", app) in seen


# --- checking arguments


def positional_only(a: int, /, b: int, *, c: int, d: int = 0) -> None: ...
def anything(*args: int, **kwargs: int) -> None: ...
def keyword_only(*, a: int) -> None: ...


@pytest.mark.parametrize(
    ("fun", "args", "kwargs", "error"),
    [
        (plain, (), {}, "missing 1 required positional argument: 'x'"),
        (plain, (1, 2, 3), {}, "takes from 1 to 2 positional arguments but 3 were given"),
        (plain, (1,), {"z": 2}, "unexpected keyword argument 'z'"),
        (plain, (1,), {"x": 2}, "multiple values for argument 'x'"),
        (positional_only, (), {"a": 1, "b": 2, "c": 3}, "positional"),
        (positional_only, (1, 2), {}, "missing 1 required keyword-only argument: 'c'"),
        (keyword_only, (1,), {}, "takes 0 positional arguments but 1 was given"),
        (plain, (1,), {}, None),
        (positional_only, (1,), {"b": 2, "c": 3}, None),
        (anything, (1, 2, 3), {"k": 1}, None),
        (keyword_only, (), {"a": 1}, None),
        (functools.partial(plain, 1), (), {"y": 3}, None),
    ],
)
def test_arguments_are_checked_as_python_does(
    app: Any, broker: Any, fun: Any, args: Any, kwargs: Any, error: Any
) -> None:
    if isinstance(fun, functools.partial):
        functools.update_wrapper(fun, plain)
    task = app.task(name="checked")(fun)
    if error is None:
        task.apply_async(args, kwargs)
        assert len(broker.published) == 1
        return
    with pytest.raises(TypeError, match=error):
        task.apply_async(args, kwargs)
    assert broker.published == []


def test_self_is_not_counted(app: Any) -> None:
    @app.task(bind=True)
    def bound(self: Any, x: int) -> None: ...

    bound.delay(1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        bound.delay()


@pytest.mark.parametrize("off", ["app", "task"])
def test_checking_can_be_turned_off(broker: Any, off: str) -> None:
    app: Any = Celery("t", set_as_current=False, strict_typing=off != "app", broker="memory://", backend="disabled://")
    app._broker = broker
    task = app.task(name="t", **({"typing": False} if off == "task" else {}))(plain)
    task.delay(1, 2, 3)
    assert len(broker.published) == 1


def test_the_checker_can_be_replaced(broker: Any) -> None:
    class Sub(Celery):
        def type_checker(self, fun: Any, bound: bool = False) -> Any:
            def check(*args: Any, **kwargs: Any) -> None:
                raise TypeError("mine")

            return check

    with pytest.raises(TypeError, match="mine"):
        Sub("s", set_as_current=False).task(plain).delay(1)


def test_a_soft_limit_above_the_hard_one(app: Any) -> None:
    with pytest.raises(ValueError, match="soft_time_limit 5"):
        app.task(soft_time_limit=5, time_limit=3)(plain).delay(1)


# --- calling


def test_options_of_the_task_go_with_its_messages(app: Any, broker: Any) -> None:
    task = app.task(name="n", queue="q", priority=3, expires=60, time_limit=9, ignore_result=True)(plain)
    task.delay(1)
    sent = broker.message()
    assert (sent.routing_key, sent.priority, sent.headers["timelimit"]) == ("q", 3, [9, None])
    assert sent.headers["expires"]
    assert sent.headers["ignore_result"] is True
    result = task.apply_async((1,), queue="other", ignore_result=False)
    assert broker.message().routing_key == "other"
    assert result.ignored is False


def test_shadow_name(app: Any, broker: Any) -> None:
    class Base(app.Task):  # type: ignore[misc]
        def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str:
            return f"for {args[0]}"

    task = app.task(base=Base)(plain)
    task.delay(1)
    assert broker.message().headers["shadow"] == "for 1"
    task.apply_async((1,), shadow="said")
    assert broker.message().headers["shadow"] == "said"


def test_children_inherit_root_parent_and_priority(app: Any, broker: Any) -> None:
    app.conf.task_inherit_parent_priority = True
    task = app.task(plain)
    task.push_request(id="p", root_id="r", called_directly=False, delivery_info={"priority": 6})
    try:
        result = task.delay(1)
        unlisted = task.apply_async((1,), add_to_parent=False, priority=1)
        assert task.request.children == [result]
    finally:
        task.pop_request()
    first, second = broker.message(0), broker.message(1)
    assert (first.headers["root_id"], first.headers["parent_id"], first.priority) == ("r", "p", 6)
    assert second.priority == 1
    assert unlisted.id
    task.delay(1)
    assert broker.message().headers["parent_id"] is None


def test_a_task_called_as_a_function_is_no_parent(app: Any, broker: Any) -> None:
    inner = app.task(name="inner")(plain)

    @app.task(name="outer")
    def outer() -> None:
        inner.delay(1)

    outer()
    assert broker.message().headers["parent_id"] is None


def test_what_comes_later_says_so(app: Any) -> None:
    task = app.task(plain)
    for call in (
        lambda: task.replace(None),
        lambda: task.map([1]),
        lambda: task.starmap([]),
        lambda: task.chunks([], 1),
    ):
        with pytest.raises(NotImplementedError, match="not there yet"):
            call()
    with pytest.raises(ValueError, match="not a member of a chord"):
        task.add_to_chord(None)
    assert task.send_event("task-custom") is None


# --- the objects


def test_tasks_are_pickled_by_name(app: Any) -> None:
    app.set_current()
    task = app.task(name="proj.pickled")(plain)
    found = pickle.loads(pickle.dumps(task._get_current_object()))
    assert found is task._get_current_object()
    assert copy.copy(task) is task._get_current_object()


def test_a_request_outside_of_a_run_is_new_each_time(app: Any) -> None:
    task = app.task(plain)
    task.request.update(id="leak")
    assert task.request.id is None
    assert task.request.called_directly


def test_the_registry() -> None:
    registry = TaskRegistry()
    task = type("T", (Task,), {"name": "t", "run": plain})
    registry.register(task)
    registry.register(type("P", (Task,), {"name": "p", "type": "periodic", "run": plain})())
    assert isinstance(registry["t"], task)
    assert dict(registry.regular()).keys() == {"t"}
    assert dict(registry.periodic()).keys() == {"p"}
    registry.unregister("t")
    with pytest.raises(NotRegistered):
        _ = registry["t"]
    with pytest.raises(NotRegistered):
        registry.unregister("t")
    with pytest.raises(InvalidTaskError):
        registry.register(Task)


def test_built_in_tasks(app: Any) -> None:
    names = {"celery.backend_cleanup", "celery.accumulate", "celery.map", "celery.starmap"}
    assert names <= set(app.tasks)
    assert app.tasks["celery.accumulate"](1, 2) == (1, 2)
    assert app.tasks["celery.accumulate"](1, 2, index=0) == 1
    task = app.task(name="proj.double", shared=False)(lambda x: 2 * x)
    assert app.tasks["celery.map"](task.s(), [1, 2]) == [2, 4]
    assert app.tasks["celery.starmap"](dict(task.s()), [[1], [2]]) == [2, 4]


@pytest.mark.parametrize("pause_s", [0, 0.002])
def test_threads_finalise_once(app: Any, monkeypatch: pytest.MonkeyPatch, pause_s: float) -> None:
    """Every thread gets the task that is registered, even if others are about to make it, too."""
    make = make_checker

    def make_slowly(*args: Any) -> Any:
        time.sleep(pause_s)  # how long others have to come in between is the experiment
        return make(*args)

    monkeypatch.setattr(_making, "make_checker", make_slowly)
    tasks = [app.task(name=f"t{n}")(plain) for n in range(20)]
    start = threading.Barrier(8)
    names: list[Any] = []

    def use() -> None:
        start.wait(10)
        names.extend(task.name for task in tasks)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(names) == 160
    assert all(app.tasks[f"t{n}"] == tasks[n] for n in range(20))


def test_default_and_current_apps() -> None:
    app = Celery("cur", set_as_current=False)
    _state._tls.current_app = _state.default_app = None
    app.set_default()
    assert current_app.main == "cur"
    other = Celery("other")
    assert current_app.main == "other"
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(str(current_app.main)))
    thread.start()
    thread.join(10)
    assert seen == ["cur"]
    assert _state.app_or_default(None) is other


def test_a_fork_is_told_in_the_child() -> None:
    """In a process of its own: forking the one that runs the tests would fork its threads' locks, too."""
    program = """
import os
from celeriac import Celery
app = Celery("f", broker="memory://")
app.on_after_fork.connect(lambda sender, **kw: os.write(write, sender.main.encode()), weak=False)
read, write = os.pipe()
before = app.thread_oid
child = os.fork()
if child == 0:
    os.write(write, b" same" if app.thread_oid == before else b" new")
    os._exit(0)
os.waitpid(child, 0)
print(os.read(read, 99).decode())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "f new"
