"""A peer: one queue as the bench sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
COMMON = frozenset({"send", "drain", "latency", "loaded-latency", "start"})


class Peer:
    """Three command lines (client, worker, versions), the jobs that it can do, and how fast it is expected to be."""

    name = ""
    setup = ""
    """How it is set up, for the reader of the table."""
    python = sys.executable
    script = ""
    """Module with its tasks and its `client`."""
    extra_env: Mapping[str, str] = {}
    jobs = COMMON
    beside = False
    """Uses the run's other store, which the first is compared with."""
    graceful = "TERM"
    """Signal for a shutdown that loses nothing."""
    expected: Mapping[str, int] = {"drain": 1_000, "drain-bare": 1_000}
    """Tasks a second at the first try; a run learns better."""
    packages: tuple[str, ...] = ()
    """Distributions whose versions go into the record."""
    imports = ("", "")
    """What `import` imports: a module, and code that uses its application class."""

    def __init__(self) -> None:
        self.paces: dict[str, float] = dict(self.expected)

    def client(self, *words: str) -> list[str]:
        return [self.python, "-m", "benches.system.client", self.script, *words]

    def worker(self) -> list[str]:
        raise NotImplementedError

    def tool(self, name: str) -> str:
        """A program of the peer's virtual environment."""
        return str(Path(self.python).with_name(name))

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
        if "sqlite3" not in self.name and "Sqlite" not in self.setup:
            del found["sqlite"]  # the interpreter's, which is not used
        return found


class Celeriac(Peer):
    """Everything as it comes, but for the pool."""

    name = "celeriac"
    script = "benches.system.peers.celeriac_app"
    jobs = COMMON | {"bulk", "drain-bare", "memory", "future", "backlog", "import"}
    expected = {"drain": 60_000, "drain-bare": 80_000}
    packages = ("celeriac",)
    imports = ("celeriac", "from celeriac import Celeriac; Celeriac")
    pool: tuple[str, ...] = ()

    def worker(self) -> list[str]:
        return [self.python, "-m", "celeriac", "-A", self.script, "worker", *self.pool, "-l", "WARNING"]


def in_venv(name: str) -> str:
    """The interpreter of a peer's own virtual environment."""
    return str(ROOT / f".venvs/peer-{name}/bin/python")
