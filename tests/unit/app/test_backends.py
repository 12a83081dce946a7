"""Which backend a setting names, and the one that keeps nothing."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Celery
from celeriac.app.backends import by_name, by_url
from celeriac.backends.base import DisabledBackend, KeyValueStoreBackend
from celeriac.backends.cache import CacheBackend
from celeriac.backends.redis import RedisBackend, SentinelBackend
from celeriac.backends.redis_cluster import RedisClusterBackend
from celeriac.backends.sqlite import SQLiteBackend
from celeriac.exceptions import ImproperlyConfigured


class OwnBackend(KeyValueStoreBackend):
    """Named by path below."""


@pytest.mark.parametrize(
    ("setting", "cls", "url"),
    [
        (None, DisabledBackend, None),
        ("disabled://", DisabledBackend, "disabled://"),
        ("sqlite:///some.db", SQLiteBackend, "sqlite:///some.db"),
        ("memory://", CacheBackend, "memory://"),
        ("cache+memory://", CacheBackend, "memory://"),
        ("redis", RedisBackend, None),
        ("redis://localhost/1", RedisBackend, "redis://localhost/1"),
        ("rediss://localhost/1", RedisBackend, "rediss://localhost/1"),
        ("redis+socket:///run/redis.sock", RedisBackend, "socket:///run/redis.sock"),
        ("unix:///run/redis.sock", RedisBackend, "unix:///run/redis.sock"),
        ("sentinel://a:26379/0;sentinel://b:26379/0", SentinelBackend, "sentinel://a:26379/0;sentinel://b:26379/0"),
        ("redis+cluster://a:7000,b/", RedisClusterBackend, "redis+cluster://a:7000,b/"),
        ("rediss+cluster://a/", RedisClusterBackend, "rediss+cluster://a/"),
        ("celeriac.backends.redis:RedisBackend", RedisBackend, None),
        (f"{__name__}:OwnBackend", OwnBackend, None),
        (f"{__name__}.OwnBackend", OwnBackend, None),
        (f"{__name__}.OwnBackend://somewhere", OwnBackend, f"{__name__}.OwnBackend://somewhere"),
        (OwnBackend, OwnBackend, None),
    ],
)
def test_backends_by_url(setting: Any, cls: type[Any], url: str | None) -> None:
    found, rest = by_url(setting)
    assert found.__qualname__ == cls.__qualname__
    assert rest == url


@pytest.mark.parametrize("setting", ["db+sqlite:///x.db", "rpc://", "cache+memcached://host", "mongodb://h", "s3"])
def test_what_comes_later_says_what_is_there_now(setting: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"not supported yet; supported now: sqlite:///path, memory://"):
        by_url(setting)


@pytest.mark.parametrize("setting", ["redsi://localhost", "no.such.module:Class", "os:sep", "os:nothing"])
def test_what_is_wrong_says_so(setting: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        by_url(setting)


def test_loader_and_setting_override_aliases() -> None:
    app = Celery("a", broker="memory://a", backend="own://", set_as_current=False)
    app.conf.override_backends = {"own": f"{__name__}:OwnBackend"}
    assert type(app.backend).__qualname__ == "OwnBackend"

    class Loader:
        override_backends = {"sqlite": f"{__name__}:OwnBackend"}

    assert by_name("sqlite", Loader()).__qualname__ == "OwnBackend"


def test_nothing_is_kept_and_asking_is_an_error() -> None:
    app = Celery("a", broker="memory://a", backend="disabled://", set_as_current=False)
    app.backend.mark_as_done("id", 1)
    app.backend.forget("id")
    result = app.AsyncResult("id")
    for read in (result.get, result.ready, lambda: result.state, result.exists):
        with pytest.raises(NotImplementedError, match="no result backend is configured"):
            read()
    with pytest.raises(NotImplementedError, match="chords"):
        app.backend.ensure_chords_allowed()


def test_the_url_is_shown_without_its_password() -> None:
    app = Celery("a", broker="memory://a", backend=OwnBackend, set_as_current=False)
    backend = OwnBackend(app, url="own://me:secret@host/0")
    assert backend.as_uri() == "own://me:**@host/0"
    assert backend.as_uri(include_password=True) == "own://me:secret@host/0"


def test_operations_are_tried_again_if_the_settings_say_so() -> None:
    app = Celery("a", broker="memory://a", set_as_current=False)
    app.conf.update(
        result_backend_always_retry=True,
        result_backend_max_retries=2,
        result_backend_base_sleep_between_retries_ms=0.01,
    )
    tries: list[int] = []

    class Flaky(OwnBackend):
        def get(self, key: str) -> Any:
            tries.append(1)
            if len(tries) < self.good_after:
                raise ConnectionError("away")
            return None

        def exception_safe_to_retry(self, exc: Exception) -> bool:
            return isinstance(exc, ConnectionError)

        good_after = 3

    assert Flaky(app).get_task_meta("id")["status"] == "PENDING"
    assert len(tries) == 3
    tries.clear()
    Flaky.good_after = 10
    with pytest.raises(Exception, match="failed to get meta") as caught:
        Flaky(app).get_task_meta("id")
    assert type(caught.value).__name__ == "BackendGetMetaError"
    assert getattr(caught.value, "task_id", None) == "id"
    assert len(tries) == 3
