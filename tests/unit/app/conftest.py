from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from celeriac import Celery
from tests.unit.app.jobs import Bench

_numbers = itertools.count()


@pytest.fixture
def memory_app() -> Iterator[Celery]:
    """An app whose broker and results are this test's own, in memory."""
    name = f"unit-{next(_numbers)}"
    app = Celery("unit", broker=f"memory://{name}", backend=f"memory://{name}", set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def bench(memory_app: Celery) -> Bench:
    return Bench(memory_app)
