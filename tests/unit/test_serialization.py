"""Serializers and types of an application's own, by public names."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

import pytest

from celeriac import Celery, serialization
from celeriac.contrib.testing.worker import start_worker
from celeriac.exceptions import EncodeError, SerializerNotInstalled


@pytest.fixture
def mirror() -> Iterator[str]:
    """JSON from right to left, so that one can see who wrote it."""
    serialization.register(
        "mirror", lambda value: json.dumps(value)[::-1], lambda data: json.loads(data[::-1]), "application/x-mirror"
    )
    yield "mirror"
    serialization.unregister("mirror")


def test_a_serializer_of_ones_own_carries_arguments_and_results(mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celeriac.worker.worker.check_privileges", lambda _: None)
    app = Celery("own", broker="memory://own", backend="memory://own", set_as_current=False)
    app.conf.update(task_serializer=mirror, result_serializer=mirror, accept_content=[mirror])

    @app.task(name="own.join", shared=False)
    def join(left: str, right: str) -> str:
        return left + right

    assert serialization.dumps({"a": "b"}, mirror) == ("application/x-mirror", "utf-8", b'}"b" :"a"{')
    with app, start_worker(app, perform_ping_check=False):
        assert join.delay("ab", "cd").get(timeout=10) == "abcd"


def test_an_unregistered_serializer_is_not_there() -> None:
    with pytest.raises(SerializerNotInstalled, match="'mirror'"):
        serialization.dumps({}, "mirror")


def test_json_learns_a_type() -> None:
    with pytest.raises(EncodeError):
        serialization.dumps(dt.timedelta(seconds=2), "json")
    serialization.register_type(
        dt.timedelta, "delta", lambda value: value.total_seconds(), lambda seconds: dt.timedelta(seconds=seconds)
    )
    try:
        content_type, encoding, data = serialization.dumps([dt.timedelta(seconds=2)], "json")
        assert json.loads(data) == [{"__type__": "delta", "__value__": 2.0}]
        assert serialization.loads(data, content_type, encoding) == [dt.timedelta(seconds=2)]
    finally:
        assert serialization.unregister_type("delta")
