"""Huey, on its SQLite storage or on Redis. Runs in `.venvs/peer-huey` (`make .venvs/peer-huey/.ready`)."""

import os

from huey import RedisHuey, SqliteHuey

from benches.system.client import COUNTER, RESULTS, STORE, Client
from benches.system.counter import Counter

FAST = bool(os.environ.get("BENCH_FAST"))
if "://" in STORE:
    # Without this option a client looks for its result with growing pauses; with it, it is told.
    huey = RedisHuey("bench", url=STORE, results=RESULTS, notify_result=RESULTS)
else:
    # Out of the box SQLite's own default applies (a flush to the disk at every commit). `fsync=False` waits for none.
    huey = SqliteHuey(filename=STORE, results=RESULTS, **({"fsync": False} if FAST else {}))
_counter = Counter(COUNTER)


@huey.task()
def hit(number):
    return _counter.hit(number)


class Hueys(Client):
    def __init__(self):
        self._poll = {"backoff": 1.0, "max_delay": 0.001} if FAST else {}

    def send(self, number):
        sent = hit(number)
        return sent.id if RESULTS else ""

    def wait(self, key):
        return huey.result(key, blocking=True, preserve=True, **self._poll)

    def pad(self, count, number):
        message = huey.serialize_task(hit.s(number))
        for at in range(0, count, 1000):
            huey.storage.conn.lpush(huey.storage.queue_key, *[message] * min(1000, count - at))

    def waiting(self):
        return huey.pending_count() + huey.scheduled_count()

    def has_result(self, key, number):
        return huey.result(key, preserve=True) == number


client = Hueys()
