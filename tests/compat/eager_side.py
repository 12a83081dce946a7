"""Runs the same eager tasks on the package named by argv[1] (`celery` or `celeriac`); prints what happened as JSON.

Started in either environment by `test_eager_differential.py`.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from typing import Any

package = sys.argv[1]
Celery = importlib.import_module(package).Celery
Task: Any = importlib.import_module(package).Task
signals = importlib.import_module(f"{package}.signals")
exceptions = importlib.import_module(f"{package}.exceptions")

app = Celery("peer", broker="memory://", backend="cache+memory://", set_as_current=True)
logging.disable(logging.CRITICAL)
happened: list[Any] = []


def text(value: Any) -> Any:
    if isinstance(value, exceptions.Retry):
        return f"Retry of {value.exc!r} in {value.when}"  # Celery's repr shows itself as its first argument
    return repr(value) if isinstance(value, BaseException) else value


def note(*what: Any) -> None:
    happened.append([text(each) for each in what])


class Noting(Task):  # type: ignore[misc]  # it is whichever package
    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note("before_start", task_id, args, kwargs)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note("on_success", retval, task_id, args, kwargs)

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("on_failure", exc, task_id, args, kwargs, einfo.type.__name__)

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("on_retry", exc, task_id, args, kwargs, einfo.type.__name__)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("after_return", status, retval, task_id, args, kwargs, einfo)


class Wrapping(Noting):
    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        note("__call__", self.request.id)
        return super().__call__(*args, **kwargs)


@app.task(base=Noting, bind=True)
def add(self: Any, x: int, y: int = 0) -> int:
    request = self.request
    note("body", request.id, request.retries, request.is_eager, request.called_directly, request.args, request.kwargs)
    return x + y


@app.task(base=Noting)
def boom() -> None:
    raise KeyError("missing")


@app.task(base=Noting, bind=True, max_retries=2)
def flaky(self: Any, times: int) -> int:
    note("body", self.request.retries)
    if self.request.retries < times:
        raise self.retry(exc=ValueError("again"), countdown=1)
    return int(self.request.retries)


@app.task(base=Noting, bind=True, max_retries=1)
def bare(self: Any) -> None:
    raise self.retry(countdown=1)


@app.task(base=Noting)
def skip() -> None:
    raise exceptions.Ignore("not now")


@app.task(base=Noting)
def refuse() -> None:
    raise exceptions.Reject("no", requeue=False)


@app.task(base=Wrapping, bind=True)
def wrapped(self: Any, x: int) -> Any:
    return [x, self.request.id]


class Unready(Noting):
    abstract = True

    def before_start(self, *args: Any) -> None:
        raise ValueError("not ready")


@app.task(base=Unready)
def unready() -> int:
    return 1


@app.task(base=Noting, autoretry_for=(KeyError,), max_retries=1, retry_kwargs={"countdown": 0})
def auto() -> None:
    raise KeyError("auto")


def listen(name: str) -> None:
    def receive(signal: Any = None, sender: Any = None, **named: Any) -> None:
        kept = {
            key: text(value)
            for key, value in named.items()
            if key in {"task_id", "args", "kwargs", "retval", "state", "result", "exception", "reason"}
        }
        note(name, sender.name.rpartition(".")[2], kept)

    getattr(signals, name).connect(receive, weak=False)


for each in ("prerun", "postrun", "success", "failure", "retry", "internal_error"):
    listen(f"task_{each}")


def run(label: str, task: Any, *args: Any, **options: Any) -> None:
    happened.append(["---", label])
    try:
        result = task.apply(args, task_id="the-id", **options)
        value = result.result
        note("result", result.state, value, result.id, result.successful(), result.failed(), bool(result.traceback))
        note("get", result.get(propagate=False))
        result.get()
    except BaseException as exc:
        note("raised", exc)


run("success", add, 1, kwargs={"y": 2})
run("failure", boom)
run("failure thrown", boom, throw=True)
run("retry once", flaky, 1)
run("retry too often", flaky, 5)
run("retry without reason", bare)
run("ignore", skip)
run("reject", refuse)
run("custom call", wrapped, 3)
run("before_start fails", unready)
run("autoretry", auto)
run("wrong arguments", add)
app.conf.task_always_eager = True
happened.append(["---", "always eager with a callback"])
result = add.apply_async((1, 2), task_id="the-id", link=add.s(10).set(task_id="linked"))
note("result", result.get())
app.conf.task_eager_propagates = True
happened.append(["---", "propagates"])
try:
    boom.apply_async(task_id="the-id")
except KeyError as exc:
    note("raised", exc)
json.dump(happened, sys.stdout)
