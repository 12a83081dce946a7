"""Runs in the environment that has Celery, on the Redis of the first argument, for `test_redis_results.py`.

A line of JSON in is a request, a line out its answer; `wait` answers when the result has come.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from celery import Celery
from celery.result import GroupResult

app = Celery("peer", broker="memory://", backend=sys.argv[1])
app.conf.update(json.loads(sys.argv[2]))


def answer(do: str, task_id: str, value: Any) -> Any:
    result = app.AsyncResult(task_id)
    if do == "done":
        return app.backend.mark_as_done(task_id, value)
    if do == "progress":
        return app.backend.store_result(task_id, value, "PROGRESS")
    if do == "failure":
        return app.backend.mark_as_failure(task_id, KeyError(value), "Traceback …")
    if do == "forget":
        return result.forget()
    if do == "save":
        return GroupResult(task_id, [app.AsyncResult(each) for each in value], app=app).save()
    if do == "restore":
        return [each.id for each in GroupResult.restore(task_id, app=app)]
    if do == "subscribe":
        return app.backend.on_task_call(None, task_id)
    if do == "wait":
        got = result.get(timeout=30, propagate=False)
        return repr(got) if isinstance(got, Exception) else got
    return result.state


for line in sys.stdin:
    try:
        told: Any = answer(*json.loads(line))
    except Exception as exc:
        told = {"raised": repr(exc)}
    try:
        print(json.dumps(told), flush=True)
    except TypeError:
        print("null", flush=True)
