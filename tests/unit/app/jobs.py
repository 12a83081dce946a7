"""Jobs as a hub would hand them out, and what was done with them."""

from __future__ import annotations

import json
from typing import Any

from celeriac import Celery
from celeriac._bridge import hub
from celeriac._bridge.codec import Message, dumps, encode_envelope
from celeriac.app.trace import Tracer

OUTCOMES = {getattr(hub, name): name[8:] for name in dir(hub) if name.startswith("OUTCOME_")}


class FakeJob:
    """A job that remembers; nothing is stored unless `Bench` does it."""

    def __init__(
        self,
        envelope: bytes,
        *,
        verdict: str | None = None,
        redelivered: bool = False,
        crashes: int = 0,
        startable: bool = True,
    ) -> None:
        self.message = Message.scan(envelope)
        self.verdict = verdict
        self.queue = "celery"
        self.redelivered = redelivered
        self.crashes = crashes
        self.cause: str | None = None
        self.started = 0
        self.finished: list[tuple[int, list[Any], list[Any], str | None]] = []
        self.progressed: list[Any] = []
        self._startable = startable

    def start(self) -> bool:
        self.started += 1
        return self._startable

    def finish(self, outcome: int, results: Any, publish: Any, detail: str | None = None) -> None:
        self.finished.append((outcome, list(results), list(publish), detail))

    def progress(self, results: Any) -> None:
        self.progressed.extend(results)

    @property
    def outcome(self) -> str:
        (end,) = self.finished
        return OUTCOMES[end[0]]

    @property
    def published(self) -> list[Any]:
        return self.finished[0][2]

    @property
    def metas(self) -> list[dict[str, Any]]:
        """The records that it would have stored, in order, STARTED and progress first."""
        writes = self.progressed + [write for end in self.finished for write in end[1]]
        return [json.loads(value) for _, value, _, _ in writes]

    @property
    def meta(self) -> dict[str, Any]:
        return self.metas[-1]


class Bench:
    """A tracer, and what it takes to give it work."""

    def __init__(self, app: Celery, hostname: str = "w1@example") -> None:
        self.app = app
        self.tracer = Tracer(app, hostname)

    def envelope(self, task: Any, *args: Any, task_id: str = "the-id", options: Any = None, **kwargs: Any) -> bytes:
        name = task if isinstance(task, str) else task.name
        envelope: bytes = self.app.amqp.publication(name, task_id, args, kwargs, **(options or {}))[4]
        return envelope

    def run(self, task: Any, *args: Any, job: Any = None, **kwargs: Any) -> FakeJob:
        made = FakeJob(self.envelope(task, *args, **kwargs), **(job or {}))
        return self.execute(made)

    def execute(self, job: FakeJob) -> FakeJob:
        self.tracer.execute(job)  # type: ignore[arg-type]
        assert len(job.finished) <= 1
        for write in job.progressed + [write for end in job.finished for write in end[1]]:
            self.app.backend.store.put(*write)
        return job


def raw_envelope(
    task: str, body: bytes, task_id: str = "the-id", content_type: str = "application/json", **headers: Any
) -> bytes:
    """A message of a sender that does as it likes."""
    properties = {
        "correlation_id": task_id,
        "delivery_info": {"exchange": "", "routing_key": "celery"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": "tag",
    }
    return encode_envelope({"task": task, "id": task_id, **headers}, properties, body, content_type, "utf-8")


def body(args: Any, kwargs: Any, embed: Any = None) -> bytes:
    return dumps([args, kwargs, embed], "json")[2]
