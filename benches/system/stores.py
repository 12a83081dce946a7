"""Where tasks are kept: a file for each stage, or servers for the whole run, emptied between stages."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benches.system.processes import cpu_seconds
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_server import HOST, RedisServer, command


class Store:
    """A file of the stage's folder."""

    kind = "sqlite"

    def address(self, folder: Path, beside: bool = False) -> str:
        """What peers are told: a path, or a URL. `beside`: of the other store, where a run has two."""
        return str(folder / "store.db")

    def clear(self) -> None:
        """Nothing is kept any more."""

    def cpu_seconds(self) -> float:
        """Of a server, which a file has none of."""
        return 0.0

    def mib(self, folder: Path) -> float:
        """What it takes with what lies beside it."""
        return sum(path.stat().st_size for path in folder.glob("store.db*") if path.is_file()) / 2**20

    def versions(self) -> dict[str, str]:
        return {}


class RedisStore(Store):
    """A redis-server of the run's own."""

    kind = "redis"

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def _info(self, section: str, field: str) -> str:
        for line in command(HOST, self._server.port, "INFO", section, timeout=60).decode().splitlines():
            if line.startswith(f"{field}:"):
                return line.partition(":")[2]
        raise LookupError(f"redis-server has no {field} in INFO {section}")

    def address(self, folder: Path, beside: bool = False) -> str:
        return self._server.url

    def clear(self) -> None:
        # Not FLUSHALL ASYNC: the freeing would be measured with what follows.
        command(HOST, self._server.port, "FLUSHALL", timeout=60)
        command(HOST, self._server.port, "SCRIPT", "FLUSH")

    def cpu_seconds(self) -> float:
        return cpu_seconds(int(self._info("server", "process_id")))

    def mib(self, folder: Path) -> float:
        return int(self._info("memory", "used_memory")) / 2**20

    def versions(self) -> dict[str, str]:
        return {"redis-server": self._info("server", "redis_version")}


class ClusterStore(Store):
    """A cluster of the run's own, and one server beside it."""

    kind = "redis-cluster"

    def __init__(self, cluster: RedisCluster, server: RedisServer) -> None:
        self._url = cluster.url
        self._beside = RedisStore(server)
        self._all = [self._beside, *map(RedisStore, cluster.nodes)]

    def address(self, folder: Path, beside: bool = False) -> str:
        return self._beside.address(folder) if beside else self._url

    def clear(self) -> None:
        for each in self._all:
            each.clear()

    def cpu_seconds(self) -> float:
        return sum(each.cpu_seconds() for each in self._all)

    def mib(self, folder: Path) -> float:
        return sum(each.mib(folder) for each in self._all)

    def versions(self) -> dict[str, str]:
        return {
            name: f"{version} (three in a cluster, one beside it)" for name, version in self._beside.versions().items()
        }


@contextlib.contextmanager
def store(kind: str) -> Iterator[Store]:
    """The store of a run; a server is started, and stopped at the end."""
    if kind == "sqlite":
        yield Store()
        return
    if not shutil.which(RedisServer.program):
        raise SystemExit(f"{RedisServer.program} is missing: run `make servers`")
    with tempfile.TemporaryDirectory(prefix="celeriac-bench-redis-") as folder:
        # In memory only, as `redis-server --save ""`: a disk's moods are no part of the comparison.
        with RedisServer.start(Path(folder)) as server:
            if kind == "redis":
                yield RedisStore(server)
                return
            with RedisCluster(Path(folder)) as cluster:
                yield ClusterStore(cluster, server)
