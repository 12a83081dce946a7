"""Finds the result backend that a setting names."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BACKEND_ALIASES", "by_name", "by_url"]

BACKEND_ALIASES: dict[str, str] = {
    "cache": "celeriac.backends.cache:CacheBackend",
    "disabled": "celeriac.backends.base:DisabledBackend",
    "memory": "celeriac.backends.cache:CacheBackend",
    "redis": "celeriac.backends.redis:RedisBackend",
    "redis+cluster": "celeriac.backends.redis_cluster:RedisClusterBackend",
    "rediss": "celeriac.backends.redis:RedisBackend",
    "rediss+cluster": "celeriac.backends.redis_cluster:RedisClusterBackend",
    "sentinel": "celeriac.backends.redis:SentinelBackend",
    "socket": "celeriac.backends.redis:RedisBackend",
    "sqlite": "celeriac.backends.sqlite:SQLiteBackend",
    "unix": "celeriac.backends.redis:RedisBackend",
}

# Celery has these; they come in later versions.
_NOT_YET = frozenset(
    {
        *("amqp", "arangodb", "azureblockblob", "cassandra", "consul", "cosmosdbsql", "couchbase", "couchdb"),
        *("database", "db", "dynamodb", "elasticsearch", "file", "gs", "mongodb", "riak", "rpc", "s3"),
    }
)
_SUPPORTED = (
    "sqlite:///path, memory://, redis://host:6379/0 (rediss://, redis+socket://, sentinel://, redis+cluster://), "
    "disabled://, or 'package.module:Class' of a backend of your own"
)
_ENTRY_POINTS = "celeriac.result_backends"
_PATH = re.compile(r"[A-Za-z_][\w.]*[.:][A-Za-z_]\w*")


def by_name(backend: Any = None, loader: Any = None, extension_namespace: str = _ENTRY_POINTS) -> type[Any]:
    """The backend class for an alias, a class or the path of one.

    Args:
        backend: `sqlite`, `package.module:Class`, `package.module.Class`, or a class; None is `disabled`.
        loader: its `override_backends`, and its app's setting of that name, come before the built-in aliases.
        extension_namespace: entry points that name more aliases.

    Raises:
        ImproperlyConfigured: no such backend, or one that this version does not have; says what there is.
    """
    name = backend or "disabled"
    if isinstance(name, type):
        return name
    conf = getattr(getattr(loader, "app", None), "conf", None)
    aliases: Mapping[str, Any] = {
        **BACKEND_ALIASES,
        **(getattr(loader, "override_backends", None) or {}),
        **((conf.override_backends if conf is not None else None) or {}),
    }
    if name not in aliases and not _PATH.fullmatch(name):
        aliases = {**_plugins(extension_namespace), **aliases}
    if name not in aliases:
        if name in _NOT_YET:
            raise ImproperlyConfigured(f"result backend {name!r} is not supported yet; supported now: {_SUPPORTED}")
        if not _PATH.fullmatch(name):
            raise ImproperlyConfigured(f"Unknown result backend: {name!r}. Supported now: {_SUPPORTED}")
    found: Any = aliases.get(name, name)
    return found if isinstance(found, type) else _load(str(found), str(name))


def by_url(backend: Any = None, loader: Any = None) -> tuple[type[Any], str | None]:
    """`(class, url)` for a setting; the URL is None if the setting was not one. Raises as `by_name`.

    Of a scheme `a+b` that is no alias the class is that of `a`, and the URL the rest, `b://...`.
    """
    url = None
    if isinstance(backend, str) and "://" in backend:
        url = backend
        scheme, _, _ = url.partition("://")
        if scheme in BACKEND_ALIASES:
            return by_name(scheme, loader), url
        backend, plus, _ = scheme.partition("+")
        if plus:
            url = url.partition("+")[2]
            if backend == "cache" and not url.startswith("memory:"):
                raise ImproperlyConfigured(
                    f"cache backend {url.partition('://')[0]!r} is not supported yet; supported now: {_SUPPORTED}"
                )
    return by_name(backend, loader), url


def _plugins(namespace: str) -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=namespace)}


def _load(path: str, name: str) -> type[Any]:
    module, _, attribute = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as exc:
        raise ImproperlyConfigured(f"result backend {name!r} cannot be loaded: {exc}") from exc
    if not isinstance(found, type):
        raise ImproperlyConfigured(f"result backend {name!r} must be a class, got {type(found).__name__}")
    return found
