"""Who takes part on one redis-server: two slots each, set up as its own documentation advises for short tasks."""

from __future__ import annotations

from benches.system.peers.base import COMMON, Celeriac, Peer, in_venv


class Prefork(Celeriac):
    """Two child processes."""

    setup = "`worker -P prefork -c 2`, everything else as it comes"
    pool = ("-P", "prefork", "-c", "2")


class Threads(Celeriac):
    """Two threads, one process."""

    name = "celeriac-threads"
    setup = "`worker -P threads -c 2`, everything else as it comes"
    jobs = COMMON - {"send"} | {"drain-bare"}
    pool = ("-P", "threads", "-c", "2")


class Celery(Peer):
    """Celery's optimizing guide: a large prefetch multiplier for short tasks, no results where none are wanted."""

    name = "celery"
    setup = "`-P prefork -c 2 --prefetch-multiplier 128`, `task_ignore_result` if no results, hiredis; bulk: `group`"
    python = in_venv("celery")
    script = "benches.system.peers.celery_app"
    jobs = COMMON | {"bulk", "drain-bare", "backlog", "import"}
    packages = ("celery", "kombu", "redis", "hiredis")
    imports = ("celery", "from celery import Celery; Celery")

    def worker(self) -> list[str]:
        words = ["-P", "prefork", "-c", "2", "--prefetch-multiplier", "128", "-l", "WARNING"]
        return [self.python, "-m", "celery", "-A", self.script, "worker", *words]


class Dramatiq(Peer):
    """Its default of eight threads a process, and a longer prefetch than twice those: measured 1.5 times as fast."""

    name = "dramatiq"
    setup = (
        "`-p 2 -t 8`, `dramatiq_queue_prefetch=256`, Results middleware if results are stored, hiredis; bulk: `group`"
    )
    extra_env = {"dramatiq_queue_prefetch": "256"}
    python = in_venv("dramatiq")
    script = "benches.system.peers.dramatiq_app"
    jobs = COMMON | {"bulk", "drain-bare", "backlog", "import"}
    expected = {"drain": 1_500, "drain-bare": 2_000}
    packages = ("dramatiq", "redis", "hiredis")
    imports = ("dramatiq", "from dramatiq.brokers.redis import RedisBroker")

    def worker(self) -> list[str]:
        return [self.python, "-m", "dramatiq", self.script, "-p", "2", "-t", "8"]


class Taskiq(Peer):
    """Acknowledged streams; coroutines, uvloop and orjson, as its documentation has them for speed."""

    name = "taskiq"
    setup = "`RedisStreamBroker` (acknowledges), coroutine tasks, uvloop, orjson, `taskiq worker -w 2`, hiredis"
    python = in_venv("taskiq")
    script = "benches.system.peers.taskiq_app"
    jobs = COMMON | {"drain-bare", "import"}
    expected = {"drain": 2_000, "drain-bare": 3_000}
    packages = ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop")
    imports = ("taskiq", "from taskiq_redis import ListQueueBroker")

    def worker(self) -> list[str]:
        words = ["-w", "2", "--log-level", "WARNING"]
        return [self.python, "-m", "taskiq", "worker", f"{self.script}:broker", *words]


class TaskiqList(Taskiq):
    """The plain list: faster, and what a worker holds is gone when it dies."""

    name = "taskiq-list"
    setup = "the same on `ListQueueBroker`, which acknowledges nothing: tasks of a dead worker are lost"
    extra_env = {"BENCH_FAST": "1"}
    jobs = frozenset({"send", "drain", "drain-bare", "backlog"})


class Huey(Peer):
    """Processes, blocking reads, and results that are waited for without polling."""

    name = "huey"
    setup = "`RedisHuey(notify_result=True)`, `huey_consumer -w 2 -k process`, hiredis; tasks of a dead worker are lost"
    python = in_venv("huey")
    script = "benches.system.peers.huey_app"
    jobs = COMMON | {"drain-bare", "backlog", "import"}
    graceful = "INT"
    expected = {"drain": 5_000, "drain-bare": 8_000}
    packages = ("huey", "redis", "hiredis")
    imports = ("huey", "from huey import RedisHuey")

    def worker(self) -> list[str]:
        return [self.python, self.tool("huey_consumer"), f"{self.script}.huey", "-w", "2", "-k", "process", "-q"]


class Rq(Peer):
    """Its notes on performance: SimpleWorker, which forks no process a job, for jobs of some milliseconds."""

    name = "rq"
    setup = "`rq worker-pool -n 2 -w rq.SimpleWorker` (no fork a job), hiredis; bulk: `enqueue_many`"
    python = in_venv("rq")
    script = "benches.system.peers.rq_app"
    jobs = COMMON | {"bulk", "drain-bare", "import"}
    expected = {"drain": 1_000, "drain-bare": 1_000}
    packages = ("rq", "redis", "hiredis")
    imports = ("rq", "from rq import Queue")

    def worker(self) -> list[str]:
        # The class has the store's address: a URL on the command line would be the bench's to know.
        return [self.python, "-m", "benches.system.peers.rq_app"]


PEERS: tuple[Peer, ...] = (Prefork(), Threads(), Celery(), Dramatiq(), Taskiq(), TaskiqList(), Huey(), Rq())
