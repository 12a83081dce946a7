"""Celery on Redis. Runs in `.venvs/peer-celery` (`make .venvs/peer-celery/.ready`)."""

from celery import Celery, group
from celery.result import AsyncResult
from redis import Redis

from benches.system.client import COUNTER, RESULTS, STORE, Client
from benches.system.counter import Counter

app = Celery("bench", broker=STORE, backend=STORE if RESULTS else None)
app.conf.update(task_ignore_result=not RESULTS, broker_connection_retry_on_startup=True)
_counter = Counter(COUNTER)


@app.task(name="hit")
def hit(number):
    return _counter.hit(number)


class Celerys(Client):
    def __init__(self):
        self._redis = Redis.from_url(STORE)

    def send(self, number):
        return hit.delay(number).id

    def wait(self, key):
        return AsyncResult(key, app=app).get()

    def send_many(self, numbers):
        return [result.id for result in group(hit.s(number) for number in numbers).apply_async().results]

    def pad(self, count, number):
        hit.delay(number)
        message = self._redis.lindex("celery", 0)
        for at in range(0, count, 1000):
            self._redis.lpush("celery", *[message] * min(1000, count - at))

    def waiting(self):
        return self._redis.llen("celery") + self._redis.hlen("unacked")

    def has_result(self, key, number):
        result = AsyncResult(key, app=app)
        return result.state == "SUCCESS" and result.result == number


client = Celerys()
