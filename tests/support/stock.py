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
    """Of one queue on Redis, in one transaction but for `inflight`; the server itself is asked, not a proxy.

    Kombu's keys, and celeriac's own: `celeriac.parked.<queue>` (a sorted set of what is due later), `celeriac.dead`
    (a sorted set: ids of dead letters) and `celeriac.inflight.*` (lists of what a waiting worker was given and is not
    yet in `unacked`).
    """

    def __init__(self, url: str, queue: str = "celery") -> None:
        import redis

        self._redis: Any = redis.Redis.from_url(url, decode_responses=False)
        self._queue = queue

    def __call__(self) -> Stock:
        inflight = list(self._redis.scan_iter("celeriac.inflight.*", count=1000))
        steps = [self._queue, *(f"{self._queue}{_SEPARATOR}{step}" for step in (3, 6, 9))]
        pipe = self._redis.pipeline(transaction=True)
        pipe.hlen("unacked")
        pipe.zcard(f"celeriac.parked.{self._queue}")
        pipe.zcard("celeriac.dead")
        for key in (*steps, *inflight):
            pipe.llen(key)
        held, parked, letters, *lengths = pipe.execute()
        ready = sum(lengths[: len(steps)])
        return Stock(ready, held + sum(lengths) - ready, parked, letters)

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
