"""A producer and reader driven by JSON lines, in the environment of either library. See `tests/support/interop.py`."""

import json
import sys
from datetime import datetime, timedelta, timezone

sys.path.insert(0, sys.argv[1])
import interop_tasks as tasks

app = tasks.app


def values(name):
    """Values that JSON alone does not carry, by name: both sides make them anew and compare."""
    import uuid
    from decimal import Decimal

    return {
        "plain": [None, True, 0, -1, 1.5, "ünï\n", [1, [2]], {"a": {"b": None}}, 2**65],
        "dates": [
            datetime(2026, 1, 2, 3, 4, 5, 678901),  # noqa: DTZ001  # a naive one is the case
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
            Decimal("1.10"),
            uuid.UUID("12345678123456781234567812345678"),
        ],
        "bytes": [b"\x00\xff\xfe", b"text"],
        "large": ["x" * 300_000],
    }[name]


def send(task, args=(), kwargs=None, options=None, count=1, values_of=None):
    options = dict(options or {})
    for name in ("eta_in", "expires_in"):
        if name in options:
            options[name[:-3]] = datetime.now(timezone.utc) + timedelta(seconds=options.pop(name))
    for name in ("link", "link_error"):
        if name in options:
            options[name] = [app.signature(one["task"], args=one.get("args", ()), immutable=one.get("immutable", False))
                             for one in options[name]]  # fmt: skip
    if values_of:
        args = [values(values_of)]
    return [app.tasks[task].apply_async(tuple(args), kwargs or {}, **options).id for _ in range(count)]


def outcome(id, timeout=30, values_of=None):
    result = app.AsyncResult(id)
    try:
        value = result.get(timeout=timeout)
    except Exception as exc:
        return {
            "state": result.state,
            "error": type(exc).__name__,
            "module": type(exc).__module__,
            "args": [repr(arg) for arg in exc.args],
            "traceback": bool(result.traceback),
        }
    if values_of:
        return {"state": result.state, "same": value == values(values_of), "value": repr(value)[:400]}
    return {"state": result.state, "value": value}


def meta(id):
    got = app.backend.get_task_meta(id)
    got = {key: value for key, value in got.items() if key != "children"}
    return json.loads(json.dumps(got, default=repr))


def state_of(id):
    result = app.AsyncResult(id)
    return {"state": result.state, "info": result.info if isinstance(result.info, dict) else repr(result.info)}


OPS = {"send": send, "outcome": outcome, "meta": meta, "state": state_of}

print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    op, arguments = json.loads(line)
    try:
        answer = {"ok": OPS[op](**arguments)}
    except Exception as exc:
        import traceback

        answer = {"error": f"{type(exc).__name__}: {exc}\n{traceback.format_exc()}"}
    print(json.dumps(answer), flush=True)
