"""What waiting for results in Redis costs: `python -m benches.redis_results`.

Beside it in the same run: redis-py's GET and `json.loads`. A redis-server of its own is started and stopped.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import redis

from celeriac import Celery
from celeriac.result import ResultSet
from tests.support.redis_server import HOST, RedisServer

COUNT = 3_000
MEMBERS = 10_000

# Stores and publishes as a worker's hub does: one write, and the moment of it goes to stdout.
WRITER = """
import sys, time, redis
line = redis.Redis(host=sys.argv[1], port=int(sys.argv[2])).connection_pool.get_connection()
for task_id in map(str.strip, sys.stdin):
    time.sleep(0.0015)
    key = "celery-task-meta-" + task_id
    value = '{"status": "SUCCESS", "result": 5, "traceback": null, "children": [], "date_done": null, "task_id": "%s"}'
    value %= task_id
    words = [("MULTI",), ("SETEX", key, 86400, value), ("PUBLISH", key, value), ("EXEC",)]
    data = b"".join(line.pack_commands(words))
    at = time.perf_counter_ns()
    line.send_packed_command([data])
    for _ in words:
        line.read_response()
    print(at, flush=True)
"""


def show(name: str, micros: Iterable[float]) -> None:
    ordered = sorted(micros)
    p99 = ordered[int(len(ordered) * 0.99)]
    print(f"{name:<48} p50 {statistics.median(ordered):8.1f} us   p99 {p99:8.1f} us")


def published(app: Celery, port: int) -> list[str]:
    """From PUBLISH in another process to the return of `get()`."""
    argv = [sys.executable, "-c", WRITER, HOST, str(port)]
    late, spent, ids = [], [], []
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for number in range(COUNT):
            task_id = f"published-{number}"
            writer.stdin.write(task_id + "\n")
            cpu = time.thread_time_ns()
            app.AsyncResult(task_id).get(timeout=10)
            now = time.perf_counter_ns()
            spent.append((time.thread_time_ns() - cpu) / 1000)
            late.append((now - int(writer.stdout.readline())) / 1000)
            ids.append(task_id)
        writer.stdin.close()
    show("PUBLISH to return of get()", late)
    show("CPU of a get() that waits", spent)
    return ids


def spent(name: str, work: Callable[[], object], count: int) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{name:<48} CPU {cpu / count * 1e6:8.1f} us   wall {wall / count * 1e6:7.1f} us   (all: {wall:.3f} s)")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, RedisServer.start(Path(folder)) as server:
        app = Celery("bench", broker="memory://bench", backend=server.url, set_as_current=False)
        plain = redis.Redis(host=HOST, port=server.port)
        ids = published(app, server.port)
        for _ in range(2):
            spent("stored: redis-py GET and json.loads", lambda: [json.loads(read(plain, each)) for each in ids], COUNT)
            spent("stored: get()", lambda: [app.AsyncResult(each).get(timeout=10) for each in ids], COUNT)
        members = ResultSet([app.AsyncResult(f"member-{number}") for number in range(MEMBERS)], app=app)
        child = os.fork()
        if child == 0:
            with plain.pipeline(transaction=False) as pipe:
                for number in range(MEMBERS):
                    key, value, _, _ = app.backend.encode_write(f"member-{number}", "SUCCESS", number)
                    pipe.set(key, value)
                    pipe.publish(key, value)
                pipe.execute()
            os._exit(0)
        spent("join of 10,000 that come", lambda: members.get(timeout=60), MEMBERS)
        os.waitpid(child, 0)
        again = ResultSet([app.AsyncResult(each.id) for each in members.results], app=app)
        spent("join of 10,000 that are there", lambda: again.get(timeout=60), MEMBERS)
        app.close()


def read(client: redis.Redis, task_id: str) -> str:
    value = client.get(f"celery-task-meta-{task_id}")
    return str(value, "utf-8") if isinstance(value, bytes) else ""


if __name__ == "__main__":
    main()
