"""RQ on Redis. Runs in `.venvs/peer-rq` (`make .venvs/peer-rq/.ready`); as a program it is `rq worker-pool`."""

import sys

from redis import Redis
from rq import Queue
from rq.job import Job

from benches.system.client import COUNTER, RESULTS, STORE, Client
from benches.system.counter import Counter

_counter = Counter(COUNTER)
_TTL = 86_400 if RESULTS else 0
"""Seconds that a result is kept; 0: none is stored, and the job is deleted at its end."""


def hit(number):
    return _counter.hit(number)


class Rqs(Client):
    def __init__(self):
        self._redis = Redis.from_url(STORE)
        self._queue = Queue(connection=self._redis)

    def send(self, number):
        return self._queue.enqueue(hit, number, result_ttl=_TTL).id

    def wait(self, key):
        return Job.fetch(key, connection=self._redis).latest_result(timeout=30).return_value

    def send_many(self, numbers):
        jobs = [Queue.prepare_data(hit, (number,), result_ttl=_TTL) for number in numbers]
        return [job.id for job in self._queue.enqueue_many(jobs)]

    def waiting(self):
        return self._queue.count + self._queue.started_job_registry.get_job_count(cleanup=False)

    def has_result(self, key, number):
        return Job.fetch(key, connection=self._redis).return_value() == number


if __name__ == "__main__":
    from rq.cli import main

    sys.argv = ["rq", "worker-pool", "-n", "2", "-w", "rq.SimpleWorker", "-u", STORE, "-l", "WARNING", "-q", "default"]
    main()
else:
    client = Rqs()
