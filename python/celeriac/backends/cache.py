"""Results in this process's memory, for tests and eager use: `memory://`, `cache+memory://`."""

from __future__ import annotations

from typing import Any

from celeriac.backends.sqlite import SQLiteBackend
from celeriac.exceptions import ImproperlyConfigured

__all__ = ["CacheBackend"]


class CacheBackend(SQLiteBackend):
    """One store per process and name (`memory://name`). Unlike Celery's, it lets expired results go."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "url": memory_url(kwargs.get("url"))})


def memory_url(url: str | None) -> str:
    """The store's URL for any of the forms that Celery accepts.

    Raises:
        ImproperlyConfigured: a cache that is not this process's memory.
    """
    scheme, _, rest = (url or "memory://").partition("://")
    if scheme in {"memory", "cache+memory"} or (scheme == "cache" and rest.strip("/") in {"", "memory"}):
        return f"memory://{'' if scheme == 'cache' else rest.strip('/')}"
    raise ImproperlyConfigured(f"cache backend {scheme!r} is not supported yet; supported now: memory://")
