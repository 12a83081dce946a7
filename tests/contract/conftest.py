"""Brokers that the contract suites are run against."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from celeriac._bridge.broker import Broker, open_broker


@pytest.fixture(params=["sqlite", "memory", "redis", "redis-cluster"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh broker of each kind."""
    if request.param == "redis-cluster":
        return str(request.getfixturevalue("redis_cluster").url)
    if request.param == "redis":
        return str(request.getfixturevalue("redis_server").url)
    return f"sqlite:///{tmp_path / 'broker.db'}" if request.param == "sqlite" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def broker(url: str) -> Broker:
    """What publishes to it, and what an operator asks."""
    return open_broker(url)
