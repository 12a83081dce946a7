"""Reading and writing results on a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benches.boundary.pure import PureBroker
from celeriac import _core

_META = {"status": "SUCCESS", "result": 4, "traceback": None, "children": [], "date_done": "2026-01-01T00:00:00+00:00"}
_KEY = "celery-task-meta-6b6f36fc-da0d-4069-b46c-c0d4ccff1df6"


@pytest.fixture
def results(url: str) -> Iterator[_core.ResultStore]:
    made = _core.ResultStore(url, {}, 10_000)
    made.put(_KEY, _core.json_dumps(_META), None, False)
    yield made
    made.close()


def test_result_get(benchmark, results: _core.ResultStore) -> None:
    """Bytes of a result that is there."""
    assert benchmark(results.get, _KEY) is not None


def test_result_get_and_decode(benchmark, results: _core.ResultStore) -> None:
    """The same as a Python value."""

    def read() -> object:
        data = results.get(_KEY)
        return _core.json_loads(data) if data is not None else None

    assert benchmark(read) == _META


def test_result_get_missing(benchmark, results: _core.ResultStore) -> None:
    """What a poll costs."""
    assert benchmark(results.get, "celery-task-meta-none") is None


def test_result_put(benchmark, results: _core.ResultStore) -> None:
    """One durable write; not a success, for those are written once."""
    benchmark(lambda: results.put(_KEY, _core.json_dumps(_META), None, False))


def test_result_generation(benchmark, results: _core.ResultStore) -> None:
    """What a waiting client asks first."""
    benchmark(results.generation)


def test_pure_result_get(benchmark, pure: PureBroker) -> None:
    """Read and decoded, in pure Python."""
    pure.put(_KEY, _META)
    assert benchmark(pure.get, _KEY) == _META


def test_pure_result_put(benchmark, pure: PureBroker) -> None:
    """Encoded and written, in pure Python."""
    benchmark(pure.put, _KEY, _META)
