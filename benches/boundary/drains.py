"""A worker without tasks: a hub's configuration, and jobs run through its port as a pool child does."""

from __future__ import annotations

from benches.boundary.messages import QUEUE
from celeriac import _core

_RESULT = b'{"status": "SUCCESS", "result": 4, "traceback": null, "children": []}'


def config(url: str, *, results: bool = True, prefetch: int | None = None) -> dict[str, object]:
    """Of a hub with one child; `prefetch` None: it adapts."""
    return {
        "url": url, "options": {}, "timeout_ms": 10_000, "node": "bench@host",
        "queues": [(QUEUE, QUEUE, "direct", QUEUE)], "children": 1, "prefetch": prefetch,
        "result_url": url if results else None, "tasks": {"proj.tasks.add": {}}, "accept": ["application/json"],
        "timezone_offset_ms": 0, "max_message_bytes": 1 << 24, "notify": [],
    }  # fmt: skip


def drain(port: _core.Port, count: int, *, results: bool = True) -> int:
    """Runs `count` jobs: `next_batch`, `start`, `finish`; the hub claims and settles meanwhile."""
    done = 0
    while done < count:
        jobs = port.next_batch(5_000)
        assert jobs, "the hub has nothing more"
        for job in jobs:
            job.message.json_payload()
            assert job.start()
            job.finish(_core.OUTCOME_SUCCESS, [(job.message.id, _RESULT, None, True)] if results else [], [])
        done += len(jobs)
    port.flush()
    return done
