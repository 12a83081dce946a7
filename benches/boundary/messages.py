"""A plain task's message, as celeriac sends it."""

from __future__ import annotations

from celeriac import _core

QUEUE = "celeriac"


def headers(task_id: str) -> dict[str, object]:
    """Every header of Celery's protocol 2."""
    return {
        "lang": "py", "task": "proj.tasks.add", "id": task_id, "shadow": None, "eta": None, "expires": None,
        "group": None, "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": task_id,
        "parent_id": None, "argsrepr": "(2, 2)", "kwargsrepr": "{}", "origin": "gen1@host", "ignore_result": False,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    }  # fmt: skip


def properties(task_id: str) -> dict[str, object]:
    """Every property that Celery sets."""
    return {
        "correlation_id": task_id, "reply_to": "3f1c6f8c-6b7b-3d8f-9d3a-1e6a1b2c3d4e", "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": QUEUE}, "priority": 0, "body_encoding": "base64",
        "delivery_tag": _core.new_id(),
    }  # fmt: skip


def envelope(args: object = (2, 2)) -> bytes:
    """From Python values to the bytes that are stored: id, body, headers, properties, envelope."""
    task_id = _core.new_id()
    body = _core.json_dumps((args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}))
    return _core.encode_envelope(headers(task_id), properties(task_id), body, "application/json", "utf-8")


def publication(args: object = (2, 2)) -> tuple[str, str, int, int | None, bytes]:
    """The same with its destination."""
    return "", QUEUE, 0, None, envelope(args)
