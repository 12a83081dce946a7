"""The core's broker and result store: the only Python that touches `_core.Broker` and `_core.ResultStore`.

Both are cheap to make, open at first use, may be used from any thread, and open again by themselves in a forked child.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from celeriac import _core
from celeriac.utils.url import sanitize_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from celeriac._bridge.topology import QueueTable

Publication: TypeAlias = tuple[str, str, int, "int | None", bytes]
"""`(exchange, routing_key, priority, due_ms, envelope)`; `due_ms` is wall clock, ms since the epoch, None for now."""

DEFAULT_TIMEOUT = 10.0
"""Seconds that a call may wait for the broker before it raises BrokerUnavailable."""


class QueueDepth(NamedTuple):
    """How many messages a queue has: to be taken now, waiting for their time, held by workers."""

    name: str
    ready: int
    delayed: int
    held: int


class DeadLetter(NamedTuple):
    """A message that cannot be run. `died_ms`: wall clock, ms since the epoch; `envelope`: its bytes as they came."""

    id: int
    queue: str
    reason: str
    detail: str
    died_ms: int
    envelope: bytes


class Broker:
    """The producer's and the operator's side of a broker.

    Every method raises `BrokerUnavailable` (not within the timeout), `BrokerFull`, `BrokerCorrupt`, `BrokerRefused` or
    `ImproperlyConfigured`; then nothing was stored.
    """

    def __init__(self, url: str, options: Mapping[str, object] | None = None, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.url = sanitize_url(url)
        self._core = _core.Broker(url, dict(options or {}), _ms(timeout))
        # The hot call, without a frame of Python in between.
        self.publish = self._core.publish

    def publish_many(self, batch: Sequence[Publication]) -> int:
        """Stores all or none, in one step. Returns how many queues got a message, summed over the batch."""
        return self._core.publish_many(batch)

    def declare(
        self, queue: str | QueueTable, exchange: str = "", exchange_type: str = "direct", routing_key: str = ""
    ) -> None:
        """Makes the queue, its exchanges and bindings, where they are missing.

        Args:
            queue: the queue's table; or the name of a durable one without arguments, to which the rest belongs.
            exchange: what it is bound to; empty: the default exchange alone.
            exchange_type: of `exchange`.
            routing_key: of the binding.

        Raises:
            BrokerRefused: something exists with another type or other arguments, or the broker has no such type.
            EncodeError: an argument that no table of AMQP holds.
        """
        self._core.declare((queue, exchange, exchange_type, routing_key) if isinstance(queue, str) else queue)

    def broadcast(self, exchange: str, routing_key: str, envelope: bytes) -> None:
        """Sends to whoever listens to the fanout exchange at this moment."""
        self._core.broadcast(exchange, routing_key, envelope)

    def purge(self, queue: str) -> int:
        """Deletes what is ready or delayed in `queue`, not what workers hold; returns how many."""
        return self._core.purge(queue)

    def depths(self) -> list[QueueDepth]:
        """Every queue that there is, by name."""
        return [QueueDepth(*depth) for depth in self._core.depths()]

    def dead_list(self, limit: int = 100, before: int | None = None) -> list[DeadLetter]:
        """Newest first; `before` is the id of the last one already seen."""
        return [DeadLetter(*letter) for letter in self._core.dead_list(limit, before)]

    def dead_get(self, id: int) -> DeadLetter | None:
        """One dead letter, None if there is none of that id."""
        letter = self._core.dead_get(id)
        return None if letter is None else DeadLetter(*letter)

    def dead_replay(self, ids: Iterable[int] | None = None) -> int:
        """Puts dead letters (None: all) at the end of their queues, crash count 0; returns how many."""
        return self._core.dead_replay(None if ids is None else list(ids))

    def dead_purge(self, ids: Iterable[int] | None = None) -> int:
        """Deletes dead letters (None: all); returns how many."""
        return self._core.dead_purge(None if ids is None else list(ids))

    def close(self) -> None:
        """Ends the use of this handle; later calls raise BrokerUnavailable."""
        self._core.close()

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Broker {self.url}>"


class ResultStore:
    """Results on Redis, SQLite or in memory, as bytes under a key. Raises what `Broker` raises."""

    def __init__(self, url: str, options: Mapping[str, object] | None = None, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.url = sanitize_url(url)
        self._core = _core.ResultStore(url, dict(options or {}), _ms(timeout))
        self.get = self._core.get
        self.put = self._core.put

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in their order; None where there is none or it has expired."""
        return self._core.get_many(keys)

    def delete(self, *keys: str) -> int:
        """Returns how many there were."""
        return self._core.delete(keys)

    def cleanup(self) -> int:
        """Drops what has expired; returns how many."""
        return self._core.cleanup()

    def generation(self) -> int:
        """A number that grows whenever results may have changed. Ask for it before `get`, then `wait_change`."""
        return self._core.generation()

    def wait_change(self, seen: int, timeout: float) -> int:
        """Waits up to `timeout` seconds until `generation()` is no longer `seen`; returns it. Signals get through."""
        return self._core.wait_change(seen, _ms(timeout))

    def close(self) -> None:
        """Ends the use of this handle; later calls raise BrokerUnavailable."""
        self._core.close()

    def __repr__(self) -> str:
        return f"<ResultStore {self.url}>"


is_amqp = _core.is_amqp


def open_broker(url: str, options: Mapping[str, object] | None = None, timeout: float | None = None) -> Broker:
    """A broker handle. Nothing is opened yet; a URL or option that cannot be used raises ImproperlyConfigured.

    Args:
        url: `redis://host:6379/0`, `sqlite:///relative.db`, `memory://[name]`, …, with options after a `?`.
        options: `broker_transport_options`; those of other brokers are ignored, unknown ones refused.
        timeout: seconds that each call may wait; None for `DEFAULT_TIMEOUT`.
    """
    return Broker(url, options, DEFAULT_TIMEOUT if timeout is None else timeout)


def open_results(url: str, options: Mapping[str, object] | None = None, timeout: float | None = None) -> ResultStore:
    """A result store; arguments as for `open_broker`."""
    return ResultStore(url, options, DEFAULT_TIMEOUT if timeout is None else timeout)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
