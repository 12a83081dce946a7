"""Runs in the environment that has Celery: reads our records and writes its own for `test_results_differential.py`.

stdin and stdout are JSON, one document each.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from celery import Celery
from celery import exceptions as celery_exceptions
from celery.app.task import Context

app = Celery("peer", broker="memory://", backend="cache+memory://")
app.conf.result_extended = True
backend = app.backend


def describe(value: Any) -> Any:
    if isinstance(value, BaseException):
        return {"class": f"{type(value).__module__}.{type(value).__qualname__}", "args": repr(value.args)}
    return value


def read(record: str) -> Any:
    try:
        meta = backend.decode_result(record)
    except Exception as exc:
        return {"raised": type(exc).__name__, "text": str(exc)}
    return {
        "status": meta["status"],
        "result": describe(meta["result"]),
        "traceback": meta["traceback"],
        "children": [child.as_tuple() for child in meta["children"]] if meta["children"] else meta["children"],
    }


def write(case: dict[str, Any]) -> str:
    result = case["result"]
    if "raise" in case:
        name, args = case["raise"]
        kind = getattr(celery_exceptions, name, None) or getattr(__import__("builtins"), name)
        result = kind(*args)
    if case["state"] in backend.EXCEPTION_STATES:
        result = backend.prepare_exception(result)
    else:
        result = backend.encode_result(result, case["state"])
    request = Context(**case["request"])
    meta = backend._get_result_meta(
        result=result, state=case["state"], traceback=case["traceback"], request=request, encode=False
    )
    meta["task_id"] = case["request"]["id"]
    encoded = backend.encode(meta)
    return encoded if isinstance(encoded, str) else encoded.decode()


given = json.load(sys.stdin)
json.dump({"read": [read(r) for r in given["read"]], "written": [write(c) for c in given["write"]]}, sys.stdout)
