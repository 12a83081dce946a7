"""Results in a Redis Cluster: `redis+cluster://[user:password@]host:port,host2:port/`, `rediss+cluster://` with TLS.

All records are in the slot of one hash tag, that of the broker on the same cluster with the same `global_keyprefix`, so
that a worker's result and its acknowledgement are one step. Who waits is told by messages that stay with the slot
(SPUBLISH, Redis 7): plain ones would go to every node of the cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.app._censor import sanitize_url
from celeriac.backends import _redis_url
from celeriac.backends.redis import RedisBackend
from celeriac.exceptions import BrokerUnavailable, ImproperlyConfigured, OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RedisClusterBackend"]

T = TypeVar("T")

# As redis-py has them before it knows classes for them outside of its own cluster client.
_CHANGES = frozenset({"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"})


class RedisClusterBackend(RedisBackend):
    """One slot of a cluster of Redis 7.0 or newer. While the slot is on its way to another node, calls wait."""

    _sharded = True

    def _given_url(self, url: str | None) -> str:
        if not url or "+cluster://" not in url:
            raise ImproperlyConfigured(
                f"the cluster backend needs the URL of a cluster, got {sanitize_url(url or '')!r}\n"
                "hint: redis+cluster://host:port,host2:port/"
            )
        return url

    def _global_keyprefix(self) -> str:
        return _redis_url.parse(self._given_url(self.url), self.app.conf).keyprefix or ""

    def _create_client(self) -> Any:
        from redis.crc import key_slot

        from celeriac.backends import _slot_connection as connections

        params = self._params()
        params["connection_class"] = connections.SSLSlotConnection if self.place.tls else connections.SlotConnection
        params["nodes"], params["slot"] = self.place.nodes, key_slot(self.task_keyprefix.encode())
        return self._driver.Redis(connection_pool=self._driver.ConnectionPool(**params))

    def _tells_of_change(self, exc: BaseException | None) -> bool:
        """Whether the server said that the slot is elsewhere, or will be."""
        exceptions = self._driver.exceptions
        known = (exceptions.AskError, exceptions.ClusterDownError, exceptions.TryAgainError)  # MOVED is an AskError
        return isinstance(exc, known) or str(exc).partition(" ")[0] in _CHANGES

    def _translated(self, exc: BaseException) -> OperationalError:
        if self._tells_of_change(exc):
            return BrokerUnavailable(f"the cluster of result backend {self.as_uri()} is changing: {exc}")
        return super()._translated(exc)

    def _translating(self, operation: Callable[[], T]) -> T:
        try:
            return super()._translating(operation)
        except BrokerUnavailable as exc:
            if self._tells_of_change(exc.__cause__):
                # New connections ask where the slot is.
                self.client.connection_pool.disconnect(inuse_connections=False)
            raise

    def _reading(self, operation: Callable[[], T]) -> T:
        from celeriac.backends._slot_connection import OwnerAwayError

        try:
            return super()._reading(operation)
        except BrokerUnavailable as exc:
            if not (self._tells_of_change(exc.__cause__) or isinstance(exc.__cause__, OwnerAwayError)):
                raise
        return self._ensured(operation)
