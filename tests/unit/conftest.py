"""An app of its own for each test: no tasks, settings or current app of another test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import celeriac.app.builtins  # noqa: F401 - registers what every app has, before the first test
from celeriac import _state


class FakeBroker:
    """Keeps what is published; fails as often as `failures` has errors."""

    def __init__(self) -> None:
        self.published: list[Any] = []
        self.batches: list[int] = []
        self.tables: list[dict[str, Any]] = []
        self.declared: list[tuple[str, str, str, str]] = []
        """The bindings of `tables`: queue, exchange, its type, routing key."""
        self.failures: list[Exception] = []

    def publish(self, *publication: Any) -> int:
        if self.failures:
            raise self.failures.pop(0)
        self.published.append(publication)
        return 1

    def publish_many(self, batch: Any) -> int:
        if self.failures:
            raise self.failures.pop(0)
        self.published += batch
        self.batches.append(len(batch))
        return len(batch)

    def declare(self, queue: Any) -> None:
        self.tables.append(queue)
        rows = [(row["exchange"]["name"], row["exchange"]["type"], row["routing_key"]) for row in queue["bindings"]]
        self.declared += [(queue["name"], *row) for row in rows]

    def close(self) -> None:
        pass

    def message(self, index: int = -1) -> Message:
        return Message(self.published[index])


class Message:
    """A publication taken apart."""

    def __init__(self, publication: Any) -> None:
        import base64
        import json

        self.exchange, self.routing_key, self.priority, self.due_ms, envelope = publication
        whole = json.loads(envelope)
        self.headers, self.properties = whole["headers"], whole["properties"]
        self.content_type = whole["content-type"]
        self.raw_body = base64.b64decode(whole["body"])
        self.body = json.loads(self.raw_body) if self.content_type == "application/json" else None


@pytest.fixture(autouse=True)
def no_other_apps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undoes what declaring tasks and apps leaves behind in the process."""
    finalizers = set(_state._on_app_finalizers)
    current, default = _state._tls.current_app, _state.default_app
    yield
    _state._on_app_finalizers.clear()
    _state._on_app_finalizers.update(finalizers)
    _state._tls.current_app, _state.default_app = current, default


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def app(broker: FakeBroker) -> Any:
    """An app whose publications stay in `broker`; results are disabled."""
    from celeriac import Celery

    made: Any = Celery("proj", broker="memory://unit", backend="disabled://")
    made._broker = broker
    return made
