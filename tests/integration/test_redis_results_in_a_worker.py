"""Results of a worker in Redis: stored by its hub, or by Python where only redis-py can reach the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from celeriac._bridge.broker import open_results
from celeriac.exceptions import ImproperlyConfigured
from tests.support.apps.tasks import build
from tests.support.redis_server import RedisServer
from tests.support.worker import Worker


class Provider(redis.CredentialProvider):
    """Not known to the core, so the hub cannot store."""

    def get_credentials(self) -> Any:
        return ("default", "any password will do")


def core_has_redis(url: str) -> bool:
    try:
        open_results(url).close()
    except ImproperlyConfigured:
        return False
    return True


@pytest.mark.parametrize("writer", ["hub", "python"])
def test_a_worker_stores_results(
    writer: str, redis_server: RedisServer, broker_url: str, start_worker: Callable[..., Worker]
) -> None:
    url = redis_server.url
    if writer == "python":
        url += f"?credential_provider={__name__}.Provider"
    elif not core_has_redis(url):
        pytest.skip("the core has no result store for redis:// yet")
    app = build(broker_url, url)
    start_worker(backend=url)
    results = [app.send_task("t.add", (number, 1)) for number in range(50)]
    assert [result.get(timeout=30) for result in results] == list(range(1, 51))
    with pytest.raises(ValueError, match="on purpose"):
        app.send_task("t.fail", ("on purpose",)).get(timeout=30)
    with redis.Redis(port=redis_server.port) as client:
        assert client.ttl(f"celery-task-meta-{results[0].id}") > 86_000
    app.close()
