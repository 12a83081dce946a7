"""Fixtures of the border's benches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benches.boundary.pure import FORMS, PureBroker


@pytest.fixture(params=list(FORMS))
def pure(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PureBroker]:
    """The pure-Python broker on a file, in each form of message."""
    broker = PureBroker(tmp_path / "pure.db", request.param)
    yield broker
    broker.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A SQLite store of celeriac's."""
    return f"sqlite:///{tmp_path}/celeriac.db"
