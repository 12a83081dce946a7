"""A redis-server of a test's own: on a free port, in a temporary folder, stopped at the end."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.support.needs import missing
from tests.support.waiting import wait_until

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def command(host: str, port: int, *words: str, timeout: float = 5) -> bytes:
    """The reply to one command, as bytes of the protocol. Raises OSError when nobody answers.

    By hand: whoever waits for a server to come or go needs no more of a client than this.
    """
    with socket.create_connection((host, port), timeout) as line:
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            raw = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
        line.sendall(b"".join(parts))
        return line.recv(65536)


class RedisServer:
    """One server process. `args` are further lines of its configuration, as command line options."""

    program = "redis-server"

    def __init__(self, folder: Path, *, port: int | None = None, args: Sequence[str] = ()) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.args = list(args)
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, folder: Path, *, port: int | None = None, args: Sequence[str] = ()) -> RedisServer:
        """A server that answers. Skips the test, or fails it in CI, when the program is not installed."""
        server = cls(folder, port=port, args=args)
        server.resume()
        return server

    @property
    def url(self) -> str:
        """Database 0."""
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        return f"redis://{HOST}:{self.port}/{database}"

    @property
    def log(self) -> Path:
        return self.folder / f"redis-{self.port}.log"

    def resume(self) -> None:
        """Starts the process (again), on the same port and folder; returns when it answers."""
        program = shutil.which(self.program) or missing(self.program, "run `make servers`")
        argv = [program, "--port", str(self.port), "--bind", HOST, "--dir", str(self.folder), "--save", ""]
        argv += ["--daemonize", "no", "--logfile", str(self.log), *self.args]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self.answers, timeout=20, what=f"answer of {self.program} on port {self.port}")

    def answers(self) -> bool:
        """It listens and has loaded its data, or asks for a password."""
        if self._process is not None and self._process.poll() is not None:
            log = self.log.read_text(errors="replace") if self.log.exists() else ""
            raise RuntimeError(f"{self.program} ended with {self._process.returncode}:\n{log}")
        try:
            return command(HOST, self.port, "PING").startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An orderly end; may be called twice."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
