"""Dramatiq on Redis. Runs in `.venvs/peer-dramatiq` (`make .venvs/peer-dramatiq/.ready`)."""

import logging
import uuid

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import ResultMissing, Results
from dramatiq.results.backends import RedisBackend
from redis import Redis

from benches.system.client import COUNTER, RESULTS, STORE, Client
from benches.system.counter import Counter

logging.getLogger("dramatiq").setLevel(logging.WARNING)
broker = RedisBroker(url=STORE)
backend = RedisBackend(url=STORE)
if RESULTS:
    broker.add_middleware(Results(backend=backend))
dramatiq.set_broker(broker)
_counter = Counter(COUNTER)
_WAIT_MS = 30_000


@dramatiq.actor(**({"store_results": True} if RESULTS else {}))
def hit(number):
    return _counter.hit(number)


class Dramatiqs(Client):
    def __init__(self):
        self._redis = Redis.from_url(STORE)

    @staticmethod
    def _message(key):
        return hit.message().copy(message_id=key)

    def send(self, number):
        return hit.send(number).message_id

    def wait(self, key):
        return self._message(key).get_result(backend=backend, block=True, timeout=_WAIT_MS)

    def send_many(self, numbers):
        batch = dramatiq.group([hit.message(number) for number in numbers]).run()
        return [message.message_id for message in batch.children]

    def pad(self, count, number):
        """As its own script enqueues: the id at the end of the list, the message under the id in the hash."""
        model = hit.message(number)
        for at in range(0, count, 1000):
            ids = [str(uuid.uuid4()) for _ in range(min(1000, count - at))]
            bodies = {}
            for key in ids:
                message = model.copy(message_id=key, options={"redis_message_id": key})
                bodies[key] = message.encode()
            pipe = self._redis.pipeline(transaction=False)
            pipe.hset("dramatiq:default.msgs", mapping=bodies)
            pipe.rpush("dramatiq:default", *ids)
            pipe.execute()

    def waiting(self):
        return self._redis.hlen("dramatiq:default.msgs") + self._redis.hlen("dramatiq:default.DQ.msgs")

    def has_result(self, key, number):
        try:
            return self._message(key).get_result(backend=backend) == number
        except ResultMissing:
            return False


client = Dramatiqs()
