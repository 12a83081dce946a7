"""A rabbitmq-server of a test's own: its own ports, node name, folders and cookie; stopped at the end with its epmd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psutil

from tests.support.needs import missing
from tests.support.redis_server import HOST, free_port
from tests.support.waiting import wait_until

# Debian's program of that name changes to another user; this is what it runs.
BIN = Path("/usr/lib/rabbitmq/bin")
# The virtual machine's threads must not spin while they wait: tests share few cores.
ERL_ARGS = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
# An Erlang machine that boots beside other tests takes its time.
START_S = 60


class Epmd:
    """Where nodes find each other. Erlang would start one as a daemon that nobody stops."""

    def __init__(self) -> None:
        program = shutil.which("epmd") or missing("epmd", "run `make servers`")
        self.port = free_port()
        self._process = subprocess.Popen(
            [program, "-port", str(self.port), "-address", HOST],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, timeout=10, what=f"epmd on port {self.port}")

    def _answers(self) -> bool:
        with socket.socket() as line:
            return line.connect_ex((HOST, self.port)) == 0

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


class RabbitServer:
    """One node. `config` are lines of rabbitmq.conf; `epmd` is that of its cluster, or one of its own."""

    def __init__(
        self, folder: Path, *, name: str = "rabbit", config: Sequence[str] = (), epmd: Epmd | None = None
    ) -> None:
        self.folder = folder
        self.node = f"{name}@localhost"
        self.port = free_port()
        self.dist_port = free_port()
        self.config = list(config)
        self._own_epmd = epmd is None
        self._epmd = epmd
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, folder: Path, *, config: Sequence[str] = ()) -> RabbitServer:
        """A node that answers. Skips the test, or fails it in CI, when the program is not installed."""
        server = cls(folder, config=config)
        try:
            server.resume()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def url(self) -> str:
        return self.url_of("/")

    def url_of(self, virtual_host: str, *, user: str = "guest", password: str = "guest") -> str:
        return f"amqp://{user}:{password}@{HOST}:{self.port}/{quote(virtual_host, safe='')}"

    @property
    def log(self) -> Path:
        return self.folder / "log" / "node.log"

    def resume(self) -> None:
        """Starts the node (again), on the same ports and folder; returns when it takes connections."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        program = BIN / "rabbitmq-server"
        if not program.exists():
            missing("rabbitmq-server", "run `make servers`")
        if self._epmd is None:
            self._epmd = Epmd()
        (self.folder / "log").mkdir(exist_ok=True)
        lines = [
            f"listeners.tcp.1 = {HOST}:{self.port}",
            "num_acceptors.tcp = 1",
            "disk_free_limit.absolute = 1MB",
            "log.file.level = info",
            *self.config,
        ]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "enabled_plugins").write_text("[].\n")
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text("celeriactests")
            cookie.chmod(0o400)
        with (self.folder / "log" / "stderr").open("ab") as errors:
            self._process = subprocess.Popen(
                [str(program)],
                env=self.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def await_ready(self) -> None:
        wait_until(self.answers, timeout=START_S, what=f"answer of rabbitmq-server on port {self.port}", every=0.05)

    def environment(self) -> dict[str, str]:
        """For the node and for rabbitmqctl."""
        assert self._epmd is not None
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._epmd.port),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": str(self.log),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERL_ARGS,
        }

    def ctl(self, *words: str, timeout: float = 60) -> str:
        """What rabbitmqctl says. Slow: it starts a virtual machine of its own."""
        argv = [str(BIN / "rabbitmqctl"), "--quiet", *words]
        done = subprocess.run(
            argv, env=self.environment(), cwd=self.folder, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def answers(self) -> bool:
        """It speaks AMQP."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"{self.node} ended with {self._process.returncode}:\n{self.tail()}")
        try:
            with socket.create_connection((HOST, self.port), 5) as line:
                line.sendall(b"AMQP\x00\x00\x09\x01")
                return line.recv(1) == b"\x01"
        except OSError:
            return False

    def tail(self) -> str:
        """The end of its logs."""
        logs = [self.log, self.folder / "log" / "stderr"]
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in logs if path.exists())

    def signal(self, number: int) -> None:
        """To the node itself: the process that was started is a shell that waits for it."""
        if self._process is not None and self._process.poll() is None:
            shell = psutil.Process(self._process.pid)
            for process in [child for child in shell.children() if child.name() == "beam.smp"] or [shell]:
                process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone. `resume` brings it back."""
        self._end(signal.SIGKILL)

    def halt(self) -> None:
        """An orderly end. `resume` brings it back."""
        self._end(signal.SIGTERM)

    def stop(self) -> None:
        """An orderly end of it and of its epmd; may be called twice."""
        self.halt()
        if self._own_epmd and self._epmd is not None:
            self._epmd.stop()
            self._epmd = None

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(number)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self._process.wait(10)
        self._process = None

    def __enter__(self) -> RabbitServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class RabbitCluster:
    """Three nodes that find each other by their configuration, for quorum queues."""

    def __init__(self, folder: Path, size: int = 3) -> None:
        self._stack = ExitStack()
        epmd = Epmd()
        self._stack.callback(epmd.stop)
        names = [f"rabbit{number}" for number in range(1, size + 1)]
        config = [
            "cluster_formation.peer_discovery_backend = classic_config",
            "cluster_partition_handling = pause_minority",
        ]
        config += [
            f"cluster_formation.classic_config.nodes.{at} = {name}@localhost" for at, name in enumerate(names, 1)
        ]
        self.nodes: list[RabbitServer] = []
        for name in names:
            own = folder / name
            own.mkdir()
            self.nodes.append(RabbitServer(own, name=name, config=config, epmd=epmd))
        try:
            for node in self.nodes:
                self._stack.callback(node.stop)
                node.launch()
            for node in self.nodes:
                node.await_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """All nodes, one after the other."""
        return ";".join(node.url for node in self.nodes)

    def stop(self) -> None:
        self._stack.close()

    def __enter__(self) -> RabbitCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
