"""What a broker holds, counted from outside: by the embedded broker's own figures, or by redis-py on Kombu's keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tests.support import raw

if TYPE_CHECKING:
    from celeriac import Celery

_SEPARATOR = "\x06\x16"


class Stock(NamedTuple):
    """Messages by where they are. `held`: claimed by a worker and not acknowledged; `parked`: due later."""

    ready: int
    held: int
    parked: int
    dead: int

    @property
    def waiting(self) -> int:
        """Everything that is still to run."""
        return self.ready + self.held + self.parked


class Stocktaker(Protocol):
    """Counts what is there now."""

    def __call__(self) -> Stock: ...


@dataclass(frozen=True)
class EmbeddedStock:
    """Of the embedded broker that `app` uses."""

    app: Celery

    def __call__(self) -> Stock:
        depths = raw.depths(self.app).values()
        ready, parked, held = (sum(counts[at] for counts in depths) for at in range(3))
        return Stock(ready, held, parked, len(raw.dead(self.app)))


class RedisStock:
    """Of one queue on Redis, in one transaction, with Kombu's keys; the server itself is asked, not a proxy.

    Keys of celeriac's own are found by what their names contain: `parked` (sorted sets of what is due later), `dead`
    (the dead-letter store: of several keys the largest counts) and `inflight` (lists of what was taken and is not yet
    in `unacked`).
    """

    def __init__(self, url: str, queue: str = "celery") -> None:
        import redis

        self._redis: Any = redis.Redis.from_url(url, decode_responses=False)
        self._queue = queue

    def _sizes(self, word: str) -> list[int]:
        found = []
        for key in self._redis.scan_iter(f"*{word}*", count=1000):
            kind = self._redis.type(key).decode()
            command = {"list": "LLEN", "hash": "HLEN", "zset": "ZCARD", "set": "SCARD", "stream": "XLEN"}.get(kind)
            if command:
                found.append(self._redis.execute_command(command, key))
        return found

    def __call__(self) -> Stock:
        steps = [self._queue, *(f"{self._queue}{_SEPARATOR}{step}" for step in (3, 6, 9))]
        pipe = self._redis.pipeline(transaction=True)
        for key in steps:
            pipe.llen(key)
        pipe.hlen("unacked")
        *ready, held = pipe.execute()
        held += sum(self._sizes("inflight"))
        return Stock(sum(ready), held, sum(self._sizes("parked")), max(self._sizes("dead"), default=0))

    def unindexed(self) -> set[bytes]:
        """Tags that are in one of `unacked` and `unacked_index` and not in the other: no sweep would find them."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.hkeys("unacked")
        pipe.zrange("unacked_index", 0, -1)
        held, indexed = pipe.execute()
        return set(held) ^ set(indexed)

    def memory_bytes(self) -> int:
        """What the server's data take."""
        return int(self._redis.info("memory")["used_memory"])

    def close(self) -> None:
        self._redis.close()
