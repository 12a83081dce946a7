"""Huey on its SQLite storage, as its guide has it. Runs in `.venvs/huey` (`make .venvs/huey/.ready`)."""

import os

from huey import SqliteHuey

from benches.system.client import COUNTER, STORE, Client
from benches.system.counter import Counter

# Out of the box SQLite's own default applies (a flush to the disk at every commit). `fsync=False` waits for no flush.
_options = {"fsync": False} if os.environ.get("BENCH_FAST") else {}
huey = SqliteHuey(filename=STORE, **_options)
_counter = Counter(COUNTER)


@huey.task()
def hit(number):
    return _counter.hit(number)


class Hueys(Client):
    def __init__(self):
        self._poll = {"backoff": 1.0, "max_delay": 0.001} if os.environ.get("BENCH_FAST") else {}

    def send(self, number):
        return hit(number).id

    def wait(self, key):
        return huey.result(key, blocking=True, preserve=True, **self._poll)

    def send_later(self, numbers):
        for number in numbers:
            hit.schedule(args=(number,), delay=86_400)

    def waiting(self):
        return huey.pending_count() + huey.scheduled_count()

    def has_result(self, key, number):
        return huey.result(key, preserve=True) == number


client = Hueys()
