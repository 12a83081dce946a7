"""taskiq on Redis. Runs in `.venvs/peer-taskiq` (`make .venvs/peer-taskiq/.ready`).

BENCH_FAST: on a plain list, without acknowledgements.
"""

import asyncio
import os
import time

import uvloop
from redis import Redis
from taskiq import AsyncTaskiqTask
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from benches.system.client import COUNTER, RESULTS, STORE, Client
from benches.system.counter import Counter

FAST = bool(os.environ.get("BENCH_FAST"))
_GATHER = 100
"""Calls that wait for the server at the same time when a queue is filled; not measured as a bulk call."""
_POLL_S = 0.001
"""Its client looks again and again for a result; by default five times a second."""

broker = ListQueueBroker(STORE) if FAST else RedisStreamBroker(STORE, consumer_id="0")
broker = broker.with_serializer(ORJSONSerializer())
_results = RedisAsyncResultBackend(STORE, result_ex_time=86_400)
if RESULTS:
    broker = broker.with_result_backend(_results)
_counter = Counter(COUNTER)


@broker.task(task_name="hit")
async def hit(number: int) -> int:
    return _counter.hit(number)


class Taskiqs(Client):
    def __init__(self):
        self._loop = None
        self._redis = Redis.from_url(STORE)

    def _run(self, coroutine):
        if self._loop is None:
            self._loop = uvloop.new_event_loop()
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(broker.startup())
        return self._loop.run_until_complete(coroutine)

    def send(self, number):
        return self._run(hit.kiq(number)).task_id

    def send_for(self, seconds, numbers):
        """One by one within the loop, as an asynchronous application does it."""

        async def send():
            keys = []
            until = time.perf_counter() + seconds
            for number in numbers:
                keys.append((await hit.kiq(number)).task_id)
                if not number % 16 and time.perf_counter() > until:
                    break
            return keys

        return self._run(send())

    def send_many(self, numbers):
        async def send():
            keys = []
            for at in range(0, len(numbers), _GATHER):
                sent = await asyncio.gather(*(hit.kiq(number) for number in numbers[at : at + _GATHER]))
                keys += [task.task_id for task in sent]
            return keys

        return self._run(send())

    def wait(self, key):
        return self._run(AsyncTaskiqTask(key, _results).wait_result(check_interval=_POLL_S)).return_value

    def pad(self, count, number):
        self.send(number)
        message = self._redis.lindex("taskiq", 0)
        for at in range(0, count, 1000):
            self._redis.lpush("taskiq", *[message] * min(1000, count - at))

    def waiting(self):
        if FAST:
            return self._redis.llen("taskiq")
        groups = self._redis.xinfo_groups("taskiq") if self._redis.exists("taskiq") else []
        return sum(group["pending"] + (group["lag"] or 0) for group in groups)

    def has_result(self, key, number):
        async def look():
            return await _results.is_result_ready(key) and (await _results.get_result(key)).return_value == number

        return self._run(look())


client = Taskiqs()
