"""What pure Python does on Redis: a broker on redis-py with Kombu's keys, messages as JSON or msgpack.

Given batches and pipelines where those help it; a tag of its own for what it holds, as Kombu has it. What it lacks: it
pops before it records, so what a dying worker had popped is lost.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

import redis

from benches.boundary.pure import FORMS, message

_QUEUE = "celery"
_TTL_S = 86_400


class PureRedis:
    """Tasks and results on one server."""

    def __init__(self, url: str, form: str) -> None:
        self.dumps, self.loads = FORMS[form]
        self._redis: Any = redis.Redis.from_url(url)

    def publish(self, args: Sequence[object]) -> None:
        self._redis.lpush(_QUEUE, self.dumps(message(str(uuid.uuid4()), args)))

    def publish_many(self, calls: Sequence[Sequence[object]]) -> None:
        self._redis.lpush(_QUEUE, *[self.dumps(message(str(uuid.uuid4()), args)) for args in calls])

    def claim(self, most: int) -> list[tuple[str, str, Any]]:
        """`(tag, task id, message)`: popped, then recorded in a second round trip."""
        bodies = self._redis.rpop(_QUEUE, most) or []
        held = {str(uuid.uuid4()): body for body in bodies}
        if held:
            now = time.time()
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset("unacked", mapping=held)
            pipe.zadd("unacked_index", dict.fromkeys(held, now))
            pipe.execute()
        return [(tag, (found := self.loads(body))["id"], found) for tag, body in held.items()]

    def end(self, ended: Sequence[tuple[str, str, object]], *, results: bool = True) -> None:
        """Results first, then the acknowledgements, in one pipeline."""
        pipe = self._redis.pipeline(transaction=False)
        if results:
            for _, key, value in ended:
                name, data = f"celery-task-meta-{key}", self.dumps({"status": "SUCCESS", "result": value})
                pipe.set(name, data, ex=_TTL_S)
                pipe.publish(name, data)
        tags = [tag for tag, _, _ in ended]
        pipe.hdel("unacked", *tags)
        pipe.zrem("unacked_index", *tags)
        pipe.execute()

    def close(self) -> None:
        self._redis.close()
