"""Who takes part. To add a peer: a script with its tasks and its `Client`, a class below, a line in `PEERS`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class Peer:
    """One queue as the bench sees it: three command lines (client, worker, versions) and how much it is given to do."""

    name = ""
    setup = ""
    """How it is set up, for the reader of the table."""
    python = sys.executable
    script = ""
    """Module with its tasks and its `client`."""
    extra_env: Mapping[str, str] = {}
    jobs = frozenset({"send", "bulk", "drain", "latency", "loaded-latency", "start"})
    graceful = "TERM"
    """Signal for a shutdown that loses nothing."""
    send_count, bulk_count, drain_count = 20_000, 200_000, 40_000
    """Tasks a round: enough for some seconds."""
    packages: tuple[str, ...] = ()
    """Distributions whose versions go into the record."""

    def client(self, *words: str) -> list[str]:
        return [self.python, "-m", "benches.system.client", self.script, *words]

    def worker(self) -> list[str]:
        raise NotImplementedError

    def present(self) -> bool:
        return Path(self.python).exists()

    def versions(self) -> dict[str, str]:
        code = (
            "import importlib.metadata as m, json, platform, sqlite3, sys;"
            "print(json.dumps({'python': platform.python_version(), 'sqlite': sqlite3.sqlite_version,"
            "**{n: m.version(n) for n in sys.argv[1:]}}))"
        )
        done = subprocess.run([self.python, "-c", code, *self.packages], capture_output=True, text=True, check=True)
        found: dict[str, str] = json.loads(done.stdout)
        return found


class Celeriac(Peer):
    """The threads pool with two threads, everything else as it comes."""

    name = "celeriac"
    setup = "`worker -P threads -c 2`, one file for broker and results"
    script = "benches.system.peers.celeriac_app"
    jobs = Peer.jobs | {"memory", "future", "import"}
    send_count, bulk_count, drain_count = 50_000, 500_000, 200_000
    packages = ("celeriac",)
    pool: tuple[str, ...] = ("-P", "threads", "-c", "2")

    def worker(self) -> list[str]:
        return [self.python, "-m", "celeriac", "-A", self.script, "worker", *self.pool, "-l", "WARNING"]

    def versions(self) -> dict[str, str]:
        found = super().versions()
        del found["sqlite"]  # the interpreter's; the core brings its own
        return found


class CeleriacPrefork(Celeriac):
    """Two processes."""

    name = "celeriac-prefork"
    setup = "`worker -P prefork -c 2`, one file for broker and results"
    jobs = Celeriac.jobs - {"send", "future", "import"}
    pool = ("-P", "prefork", "-c", "2")


class CeleriacSolo(Celeriac):
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

    def worker(self) -> list[str]:
        return [self.python, "-m", self.script]


class Huey(Peer):
    """Huey out of the box: polling with backoff, SQLite's default flushing."""

    name = "huey"
    setup = "SqliteHuey as it comes, `huey_consumer -w 2 -k thread`"
    python = str(ROOT / ".venvs/huey/bin/python")
    script = "benches.system.peers.huey_app"
    jobs = frozenset({"send", "drain", "latency", "loaded-latency", "start", "import"})  # no bulk call
    graceful = "INT"
    send_count, drain_count = 5_000, 5_000
    packages = ("huey",)
    polling: tuple[str, ...] = ()

    def worker(self) -> list[str]:
        consumer = str(Path(self.python).with_name("huey_consumer"))
        return [self.python, consumer, f"{self.script}.huey", "-w", "2", "-k", "thread", "-q", *self.polling]


class HueyFast(Huey):
    """Huey with what its reference offers for speed."""

    name = "huey-fast"
    setup = "SqliteHuey(fsync=False), `huey_consumer -w 2 -k thread -d 0.001 -m 0.001`"
    extra_env = {"BENCH_FAST": "1"}
    jobs = Huey.jobs - {"import"}
    send_count, drain_count = 20_000, 10_000
    polling = ("-d", "0.001", "-m", "0.001", "-b", "1.0")


PEERS: dict[str, Peer] = {
    peer.name: peer for peer in (Celeriac(), CeleriacPrefork(), CeleriacSolo(), Sqlite3(), Huey(), HueyFast())
}
