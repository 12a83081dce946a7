"""A Redis Cluster of a test's own: three masters that share the slots, with a replica each where one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from tests.support.redis_server import HOST, RedisServer, free_port
from tests.support.waiting import wait_until

MASTERS = 3
SLOTS = 16384


class RedisCluster:
    """The first three of `nodes` begin as masters; the replica of each is three places behind it.

    `certificate` and its key: the nodes speak TLS among themselves and to those who want it, plainly to the test.
    """

    def __init__(self, folder: Path, replicas: bool = False, certificate: tuple[Path, Path] | None = None) -> None:
        self._stack = ExitStack()
        self.nodes: list[RedisServer] = []
        self._tls_ports: list[int] = []
        for number in range(MASTERS * (2 if replicas else 1)):
            own = folder / f"node{number}"
            own.mkdir()
            args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", str(free_port())]
            args += ["--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"]
            if certificate is not None:
                self._tls_ports.append(free_port())
                crt, key = map(str, certificate)
                args += ["--tls-port", str(self._tls_ports[-1]), "--tls-cluster", "yes", "--tls-replication", "yes"]
                args += ["--tls-cert-file", crt, "--tls-key-file", key, "--tls-ca-cert-file", crt]
                args += ["--tls-auth-clients", "no"]
            self.nodes.append(self._stack.enter_context(RedisServer.start(own, args=args)))
        self._form()

    @property
    def url(self) -> str:
        """All nodes, the last one first: most tests are led on to another node."""
        return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in reversed(self.nodes)) + "/"

    @property
    def tls_hosts(self) -> str:
        """The nodes' ports for TLS, to be put into a URL."""
        return ",".join(f"{HOST}:{port}" for port in reversed(self._tls_ports))

    def line(self, node: RedisServer) -> Any:
        """A connection to one node. Any: the library's types leave open whether replies are bytes."""
        return redis.Redis(host=HOST, port=node.port, decode_responses=True)

    def ask(self, node: RedisServer, *words: str) -> Any:
        with self.line(node) as line:
            return line.execute_command(*words)

    def name(self, node: RedisServer) -> str:
        return str(self.ask(node, "CLUSTER MYID"))

    def owner(self, key: str) -> RedisServer:
        """The living master that has the slot of `key`, by its own word."""
        for node in self.nodes:
            try:
                self.ask(node, "EXISTS", key)
                if self.ask(node, "ROLE")[0] == "master":
                    return node
            except (redis.ConnectionError, redis.ResponseError):
                continue
        raise LookupError(f"no master has {key}")

    def flush(self) -> None:
        for node in self.nodes:
            self.ask(node, "FLUSHALL")

    def _form(self) -> None:
        for number, node in enumerate(self.nodes):
            self.ask(node, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            if number < MASTERS:
                first, last = SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS - 1
                self.ask(node, "CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
        for node in self.nodes[1:]:
            cport = self.nodes[0].args[self.nodes[0].args.index("--cluster-port") + 1]
            port = self._tls_ports[0] if self._tls_ports else self.nodes[0].port
            self.ask(node, "CLUSTER", "MEET", HOST, str(port), cport)
        wait_until(
            lambda: all(self._knows_all(node) for node in self.nodes), timeout=30, what="nodes that know each other"
        )
        for master, replica in zip(self.nodes, self.nodes[MASTERS:], strict=False):
            self.ask(replica, "CLUSTER", "REPLICATE", self.name(master))
        wait_until(lambda: all(map(self._is_ready, self.nodes)), timeout=30, what="cluster that is ready")

    def _knows_all(self, node: RedisServer) -> bool:
        return int(self.ask(node, "CLUSTER INFO")["cluster_known_nodes"]) == len(self.nodes)

    def _is_ready(self, node: RedisServer) -> bool:
        if self.ask(node, "CLUSTER INFO")["cluster_state"] != "ok":
            return False
        role = self.ask(node, "ROLE")
        return role[0] == "master" or role[3] == "connected"

    def replicated(self, key: str) -> bool:
        """Whether a replica has all that the master of `key` has."""
        _, offset, replicas = self.ask(self.owner(key), "ROLE")
        return any(int(each[2]) >= offset for each in replicas)

    def move(self, key: str, target: RedisServer, on_the_way: Callable[[], object] = lambda: None) -> None:
        """Moves the slot of `key` with all that is in it, as `redis-cli --cluster reshard` does.

        `on_the_way` is called while the slot is of two nodes, before its keys go.
        """
        source, slot = self.owner(key), str(self.ask(self.nodes[0], "CLUSTER KEYSLOT", key))
        here, there = self.name(source), self.name(target)
        self.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", here)
        self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", there)
        on_the_way()
        while names := self.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, "10"):
            self.ask(source, "MIGRATE", HOST, str(target.port), "", "0", "5000", "KEYS", *names)
        for node in [target, source]:
            self.ask(node, "CLUSTER", "SETSLOT", slot, "NODE", there)

    def __enter__(self) -> RedisCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
