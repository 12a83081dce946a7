"""A trial on Redis through a proxy, for the modules that break connections or kill the server.

`CONF` of the module is its workers' configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import Trial, redis_trial
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    """The server of the trial. A module that kills it has one of its own."""
    return redis_server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """What the workers reach the server through."""
    with Proxy.start(server.port) as made:
        yield made


@pytest.fixture
def pool() -> str:
    """Of the trial's workers."""
    return "prefork"


@pytest.fixture
def trial(
    request: pytest.FixtureRequest, server: RedisServer, proxy: Proxy, pool: str, tmp_path: Path
) -> Iterator[Trial]:
    """Workers reach the server through the proxy, the producer does not."""
    with redis_trial(server, tmp_path, proxy=proxy, pool=pool, conf=request.module.CONF) as made:
        yield made
