"""Below the task API: bytes straight into a queue, and what the broker holds. Knows the bridge's calls."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from celeriac import Celery


class Dead(NamedTuple):
    """A dead letter, as the broker returns it."""

    id: int
    queue: str
    reason: str
    detail: str
    died_ms: int
    payload: bytes


def declare(app: Celery, queue: str = "celery") -> None:
    app.broker.declare(queue, queue, "direct", queue)


def push(app: Celery, payload: bytes, *, queue: str = "celery", due_ms: int | None = None) -> None:
    """Stores `payload` in a queue as it is."""
    assert app.broker.publish("", queue, 0, due_ms, payload) == 1


def dead(app: Celery) -> list[Dead]:
    return [Dead(*row) for row in app.broker.dead_list(100_000)]


def depths(app: Celery) -> dict[str, tuple[int, int, int]]:
    """Queue to `(ready, delayed, held)`."""
    return {name: (ready, delayed, held) for name, ready, delayed, held in app.broker.depths()}


def waiting(app: Celery) -> int:
    """Messages in all queues: ready, delayed or held."""
    return sum(sum(counts) for counts in depths(app).values())


def envelope(
    task: str = "t.add",
    body: bytes = b'[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]',
    *,
    id: str = "11111111-2222-3333-4444-555555555555",
    content_type: str = "application/json",
    content_encoding: str = "utf-8",
    headers: dict[str, Any] | None = None,
    properties: dict[str, Any] | None = None,
) -> bytes:
    """A message as Celery puts it on Redis; every part can be replaced."""
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": content_encoding,
        "content-type": content_type,
        "headers": {
            "lang": "py",
            "task": task,
            "id": id,
            "root_id": id,
            "parent_id": None,
            "group": None,
            "retries": 0,
            "eta": None,
            "expires": None,
            "timelimit": [None, None],
            "argsrepr": "(2, 3)",
            "kwargsrepr": "{}",
            "origin": "1@test",
            "ignore_result": False,
            **(headers or {}),
        },
        "properties": {
            "correlation_id": id,
            "reply_to": "00000000-0000-0000-0000-000000000000",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "99999999-2222-3333-4444-555555555555",
            **(properties or {}),
        },
    }
    return json.dumps(message).encode()
