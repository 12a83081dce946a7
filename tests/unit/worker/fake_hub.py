"""A hub that is a script: what it was told is recorded, what it hands out is put in by the test."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celeriac._bridge.codec import Message, encode_envelope, json_dumps


def envelope(
    task: str, task_id: str = "id-1", args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> bytes:
    """A plain task message, protocol 2."""
    body = json_dumps(
        [list(args), dict(kwargs or {}), {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    )
    headers = {"lang": "py", "task": task, "id": task_id, "root_id": task_id, "argsrepr": "()", "eta": None}
    properties = {
        "correlation_id": task_id,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "celery"},
        "priority": 0,
        "delivery_tag": task_id,
    }
    return encode_envelope(headers, properties, body, "application/json", "utf-8")


@dataclass
class FakeJob:
    """One attempt; `ended` is what `finish` was given."""

    message: Message
    queue: str = "celery"
    redelivered: bool = False
    crashes: int = 0
    verdict: str | None = None
    started: bool = False
    ended: tuple[Any, ...] | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def start(self) -> bool:
        self.started = True
        return True

    def finish(self, outcome: int, results: Sequence[Any], publish: Sequence[Any], detail: str | None = None) -> None:
        self.ended = (outcome, list(results), list(publish), detail)
        self.done.set()

    def progress(self, results: Sequence[Any]) -> None: ...


class FakePort:
    """Hands out what was put into the hub's queue; all ports share it."""

    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    def next_batch(self, timeout_ms: int) -> list[FakeJob] | None:
        if self._hub.stops and self._hub.jobs.empty():
            return None
        try:
            job = self._hub.jobs.get(timeout=min(timeout_ms, 50) / 1000)
        except queue.Empty:
            return None if self._hub.stops else []
        return None if job is None else [job]

    def flush(self) -> None: ...


class FakeHub:
    """The contract of `_core.Hub`, without a broker."""

    latest: FakeHub

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = dict(config)
        self.jobs: queue.Queue[FakeJob | None] = queue.Queue()
        self.outbox: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.stops: list[bool] = []
        self.consuming: list[tuple[Any, bool]] = []
        self.started = False
        type(self).latest = self

    def start(self) -> None:
        self.started = True
        self.outbox.put(("up", None))
        self.outbox.put(("ready", None))

    def port(self, child: int) -> FakePort:
        return FakePort(self)

    def notices(self, timeout_ms: int) -> list[tuple[str, Any]]:
        found = []
        try:
            found.append(self.outbox.get(timeout=timeout_ms / 1000) if timeout_ms else self.outbox.get_nowait())
            while True:
                found.append(self.outbox.get_nowait())
        except queue.Empty:
            return found

    def set_consuming(self, queue: Any, on: bool) -> None:
        self.consuming.append((queue, on))

    def stop(self, cold: bool) -> None:
        if not self.stops or (cold and True not in self.stops):
            self.stops.append(cold)
            self.outbox.put(("stopped", None))

    def join(self, timeout_ms: int) -> bool:
        return True

    def stats(self) -> dict[str, int]:
        return {}

    def put(self, task: str, *args: Any, task_id: str = "id-1") -> FakeJob:
        job = FakeJob(Message.scan(envelope(task, task_id, args)))
        self.jobs.put(job)
        return job
