"""A worker whose only child is the test: what a transport hands over, end by end."""

from __future__ import annotations

import json
import uuid

from celeriac._bridge import hub as core
from celeriac._bridge.topology import QueueTable
from tests.support.waiting import wait_until

Row = tuple[str, str, str, str]
JOBS: Row = ("jobs", "", "direct", "jobs")


def envelope(name: str, **headers: object) -> bytes:
    message = {
        "body": "W1tdLCB7fSwge31d",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"id": name, "task": "t", **headers},
        "properties": {
            "delivery_info": {"exchange": "", "routing_key": "jobs"},
            "delivery_tag": str(uuid.uuid4()),
            "body_encoding": "base64",
            "priority": 0,
        },
    }
    return json.dumps(message).encode()


class Node:
    """A worker whose only child is the test. `results`: the URL of their store, if it is not the broker's."""

    def __init__(self, url: str, *queues: Row | QueueTable, prefetch: int = 0, results: str | None = None) -> None:
        policy = {"acks_late": True, "acks_on_failure": True, "reject_on_worker_lost": True, "max_crashes": 3}
        self.hub = core.Hub(
            {
                "url": url,
                "options": {},
                "node": "n@test",
                "queues": list(queues or (JOBS,)),
                "children": 1,
                "prefetch": prefetch,
                "result_url": results or url,
                "tasks": {"t": policy},
                "accept": ["application/json"],
                "timezone_offset_ms": 0,
                "max_message_bytes": 1 << 20,
                "notify": ["broadcast", "log", "down"],
            }
        )
        self.hub.start()
        self.port = self.hub.port(0)
        self.open = True

    def jobs(self, count: int, timeout: float = 10) -> list[core.Job]:
        """The next jobs; fails if there are fewer in time."""
        got: list[core.Job] = []

        def enough() -> bool:
            got.extend(self.port.next_batch(20) or [])
            return len(got) >= count

        wait_until(enough, timeout=timeout, what=f"{count} jobs")
        return got

    def run(self, job: core.Job, outcome: int = core.OUTCOME_SUCCESS, **ends: list[object]) -> str:
        """Starts and ends a job; its task's id."""
        assert job.start()
        job.finish(outcome, ends.get("results", []), ends.get("publish", []))  # type: ignore[arg-type]
        self.port.flush()
        return job.message.id

    def stop(self, cold: bool = False) -> None:
        if not self.open:
            return
        self.open = False
        self.hub.stop(cold)
        while self.port.next_batch(10) is not None:
            pass
        assert self.hub.join(10_000)
