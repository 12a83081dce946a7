"""Connections of redis-py to the node of a Redis Cluster that has one slot: that of all results.

As in the core, no map of slots is kept: each new connection asks a node that the URL names where the slot is, so after
a fail-over or a move the next connection is right. ASK is never followed: a slot that is on its way is waited for.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import redis
from redis import exceptions

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OwnerAwayError", "SSLSlotConnection", "SlotConnection", "owner"]

_SHORTEST_S = 0.001
_UNREACHED = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)


class OwnerAwayError(exceptions.ConnectionError):
    """The cluster is there, and the node that has the slot is not: soon one of its replicas takes its place."""


def owner(ranges: Any, slot: int, asked: str) -> tuple[str, int] | None:
    """The master of a slot, from the answer to CLUSTER SLOTS; a node that does not know its own name is at `asked`."""
    for first, last, (host, port, *_), *_ in ranges:
        if first <= slot <= last:
            name = host.decode() if isinstance(host, bytes) else host or ""
            return (asked if name in {"", "?"} else name), port
    return None


class _Owned:
    """Before redis-py's own class: host and port are found anew for each connection."""

    _plain: Any = None

    def __init__(self, *, nodes: Sequence[tuple[str, int]], slot: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._nodes, self._slot, self._params = nodes, slot, kwargs

    def _connect(self) -> Any:
        this: Any = self
        bound = this.socket_connect_timeout or this.socket_timeout or math.inf
        until = time.monotonic() + bound
        last: Exception = exceptions.ConnectionError("no node of the cluster is named")
        try:
            for at, node in enumerate(self._nodes):
                # The others get their turn, too.
                share = (until - time.monotonic()) / (len(self._nodes) - at)
                try:
                    return self._through(node, time.monotonic() + share)
                except exceptions.AuthenticationError:
                    raise
                except (*_UNREACHED, exceptions.ClusterDownError) as exc:
                    # A node that answers knows more than one that does not.
                    last = last if isinstance(last, (OwnerAwayError, exceptions.ClusterDownError)) else exc
            raise last
        finally:
            this.socket_connect_timeout = None if math.isinf(bound) else bound

    def _through(self, seed: tuple[str, int], until: float) -> Any:
        this: Any = self
        host, port = seed
        bound = _left(until)
        more = {"host": host, "port": port, "socket_timeout": bound, "socket_connect_timeout": bound}
        asked = self._plain(**{**self._params, **more})
        try:
            asked.connect()
            asked.send_command("CLUSTER", "SLOTS")
            found = owner(asked.read_response(), self._slot, host)
        finally:
            asked.disconnect()
        if found is None:
            raise exceptions.ClusterDownError(f"the cluster has no node for slot {self._slot} now, says {host}:{port}")
        this.host, this.port = found
        this.socket_connect_timeout = _left(until)
        try:
            beside: Any = super()
            return beside._connect()
        except (exceptions.AuthenticationError, exceptions.TimeoutError, TimeoutError):
            raise  # that a short time was over says nothing of the node
        except _UNREACHED as exc:
            raise OwnerAwayError(f"the node {found[0]}:{found[1]} that has slot {self._slot} is away: {exc}") from exc


def _left(until: float) -> float | None:
    return None if math.isinf(until) else max(until - time.monotonic(), _SHORTEST_S)


class SlotConnection(_Owned, redis.Connection):
    """Without TLS."""

    _plain = redis.Connection


class SSLSlotConnection(_Owned, redis.SSLConnection):
    """With TLS; the certificate has to be for the node that is found."""

    _plain = redis.SSLConnection
