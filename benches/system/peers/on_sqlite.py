"""Who takes part with a file as the store."""

from __future__ import annotations

import sys

from benches.system.peers.base import COMMON, Celeriac, Peer, in_venv


class Threads(Celeriac):
    """The threads pool with two threads."""

    setup = "`worker -P threads -c 2`, one file for broker and results"
    pool = ("-P", "threads", "-c", "2")


class Prefork(Celeriac):
    """Two processes."""

    name = "celeriac-prefork"
    setup = "`worker -P prefork -c 2`, one file for broker and results"
    jobs = Celeriac.jobs - {"import"}
    pool = ("-P", "prefork", "-c", "2")


class Spawn(Celeriac):
    """Two processes, each of which imports the application itself."""

    name = "celeriac-spawn"
    setup = "`worker -P prefork --pool-start-method spawn -c 2`, one file for broker and results"
    jobs = frozenset({"drain", "start"})
    pool = ("-P", "prefork", "--pool-start-method", "spawn", "-c", "2")


class Solo(Celeriac):
    """One thread, the main one."""

    name = "celeriac-solo"
    setup = "`worker -P solo`, one file for broker and results"
    jobs = frozenset({"drain", "latency"})
    pool = ("-P", "solo")


class Sqlite3(Peer):
    """A hundred lines on the standard library."""

    name = "sqlite3"
    setup = "100 lines on the standard library: sqlite3 (WAL, synchronous=NORMAL), json, 2 threads, looks every 1 ms"
    script = "benches.system.peers.sqlite3_app"
    jobs = COMMON | {"bulk"}
    expected = {"drain": 10_000}

    def worker(self) -> list[str]:
        return [sys.executable, "-m", self.script]


class Huey(Peer):
    """Huey out of the box: polling with backoff, SQLite's default flushing."""

    name = "huey"
    setup = "SqliteHuey as it comes, `huey_consumer -w 2 -k thread`"
    python = in_venv("huey")
    script = "benches.system.peers.huey_app"
    jobs = COMMON | {"import"}  # no bulk call
    graceful = "INT"
    expected = {"drain": 2_000}
    packages = ("huey",)
    imports = ("huey", "from huey import SqliteHuey")
    polling: tuple[str, ...] = ()

    def worker(self) -> list[str]:
        words = ["-w", "2", "-k", "thread", "-q", *self.polling]
        return [self.python, self.tool("huey_consumer"), f"{self.script}.huey", *words]


class HueyFast(Huey):
    """Huey with what its reference offers for speed."""

    name = "huey-fast"
    setup = "SqliteHuey(fsync=False), `huey_consumer -w 2 -k thread -d 0.001 -m 0.001`"
    extra_env = {"BENCH_FAST": "1"}
    jobs = COMMON
    expected = {"drain": 5_000}
    polling = ("-d", "0.001", "-m", "0.001", "-b", "1.0")


PEERS: tuple[Peer, ...] = (Threads(), Prefork(), Spawn(), Solo(), Sqlite3(), Huey(), HueyFast())
