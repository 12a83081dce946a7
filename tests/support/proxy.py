"""A TCP proxy that breaks on command: cuts (RST or FIN) or hangs at a chosen byte, goes silent, delays, refuses.

    with Proxy.start(server.port) as proxy:
        cut = proxy.cut("down", after=7)  # the eighth byte of a reply never comes
        ...                               # the client talks to proxy.url_of(server.url)
        cut.wait(5)

One thread moves all bytes. What is asked of it holds from the call's return on; bytes are `up` (client to server) or
`down`. Whoever waits for something waits for an event: `Cut.wait`, or `wait_for` a condition over the counts.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

HOST = "127.0.0.1"
Direction = Literal["up", "down"]
How = Literal["rst", "fin", "hang"]
"""How a connection ends; `hang`: it does not, but nothing passes on it any more, as behind a router that forgot it."""
_OTHER: dict[Direction, Direction] = {"up": "down", "down": "up"}
_CHUNK = 65536
_numbers = itertools.count()
_FULL = 1 << 20
"""Bytes a direction holds back before its source is no longer read."""


class Cut:
    """A cut that was asked for; `wait` returns when it has happened as often as it was to."""

    def __init__(self, direction: Direction, after: int, how: How, times: int, marker: bytes | None) -> None:
        self.direction, self.after, self.how, self.marker = direction, after, how, marker
        self.left = times
        self.number = next(_numbers)
        self._done = threading.Event()

    def happened(self) -> None:
        self.left -= 1
        if not self.left:
            self._done.set()

    def wait(self, timeout: float) -> None:
        """Raises TimeoutError when it has not happened within `timeout` seconds."""
        if not self._done.wait(timeout):
            raise TimeoutError(f"no cut {self.direction} after {self.after} bytes within {timeout} s: too few passed")


@dataclass
class _Flow:
    """One direction of one connection."""

    held: deque[tuple[float, bytes]] = field(default_factory=deque)
    """Bytes to pass on, each with the moment from which they may; empty bytes are the end."""
    size: int = 0
    ended: bool = False
    paused: bool = False
    since: dict[int, int] = field(default_factory=dict)
    """By cut (its number): bytes passed since it was asked for, or since its marker."""


class _Line:
    """A client's socket and the server's that belongs to it; none while the proxy is silent."""

    def __init__(self, client: socket.socket, server: socket.socket | None) -> None:
        self.ends: dict[Direction, socket.socket | None] = {"up": client, "down": server}
        """By direction, the socket that its bytes come from."""
        self.flows: dict[Direction, _Flow] = {"up": _Flow(), "down": _Flow()}
        self.dead = False
        """Its bytes are thrown away until both sides have closed."""
        self.hung = False
        """Its bytes are thrown away until one side has closed."""
        self.robbed = server is None
        """Bytes of it were thrown away in a silence."""

    def sockets(self) -> list[socket.socket]:
        return [end for end in self.ends.values() if end is not None]


class Proxy:
    """See the module's head. `connections`, `bytes_up`, `bytes_down` count what was taken since the start."""

    def __init__(self, target: int, host: str = HOST) -> None:
        self._target = (host, target)
        self._changed = threading.Condition()
        self._lines: list[_Line] = []
        self._cuts: list[Cut] = []
        self._delays: dict[Direction, float] = {"up": 0.0, "down": 0.0}
        self._silent: set[Direction] = set()
        self._stop = False
        self.connections = self.bytes_up = self.bytes_down = 0
        self._selector = selectors.DefaultSelector()
        self._wake, woken = socket.socketpair()
        woken.setblocking(False)
        self._selector.register(woken, selectors.EVENT_READ, None)
        self._listener: socket.socket | None = None
        self.port = 0
        self.accept()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    @classmethod
    def start(cls, target: int, host: str = HOST) -> Proxy:
        """A proxy on a free port, in front of the port `target`."""
        return cls(target, host)

    def url_of(self, url: str) -> str:
        """`url` with this proxy's port instead of the server's."""
        return url.replace(f":{self._target[1]}", f":{self.port}", 1)

    # --- commands -------------------------------------------------------------------------------------------------

    def cut(
        self,
        direction: Direction,
        *,
        after: int = 0,
        how: How = "rst",
        times: int = 1,
        marker: bytes | None = None,
    ) -> Cut:
        """Ends `times` connections, each when `after` more bytes of it have passed in `direction` and another comes.

        With `marker` nothing is counted until these bytes have come up (in one piece): `cut("down", marker=b"EVALSHA")`
        lets a script run and takes its answer away (and answers to what was sent before it and is still under way).
        """
        cut = Cut(direction, after, how, times, marker)
        with self._changed:
            self._cuts.append(cut)
        return cut

    def cut_now(self, how: How = "rst") -> int:
        """Ends every connection at once; returns how many."""
        with self._changed:
            lines = [line for line in self._lines if not line.dead and not line.hung]
            for line in lines:
                self._end(line, how)
        self._wake.send(b"w")
        return len(lines)

    def silence(self, *directions: Direction) -> None:
        """Half-open: bytes of `directions` (default: both) are thrown away, new connections lead nowhere."""
        with self._changed:
            self._silent = set(directions or ("up", "down"))

    def heal(self) -> None:
        """Passes bytes again, without delay; forgets cuts that have not happened; accepts.

        A connection that lost bytes in a silence is ended: what comes on it would be half a message.
        """
        with self._changed:
            self._silent.clear()
            self._cuts.clear()
            self._delays = {"up": 0.0, "down": 0.0}
            for line in [line for line in self._lines if line.robbed]:
                self._end(line, "rst")
        self.accept()

    def delay(self, *, up_ms: float = 0, down_ms: float = 0) -> None:
        """Holds each byte that comes from now on back for so long."""
        with self._changed:
            self._delays = {"up": up_ms / 1e3, "down": down_ms / 1e3}

    def refuse(self) -> None:
        """Refuses new connections; those that are there stay."""
        with self._changed:
            if self._listener is not None:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None

    def accept(self) -> None:
        """Takes new connections (again), on the same port."""
        with self._changed:
            if self._listener is None:
                self._listener = socket.create_server((HOST, self.port), backlog=128)
                self._listener.setblocking(False)
                self.port = self._listener.getsockname()[1]
                self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._wake.send(b"w")

    @property
    def open(self) -> int:
        """Connections that are there now."""
        with self._changed:
            return sum(not line.dead for line in self._lines)

    def wait_for(self, condition: Callable[[Proxy], bool], timeout: float, what: str = "change") -> None:
        """Returns when `condition(self)` holds; looked at whenever bytes or connections come or go.

        Raises:
            TimeoutError: not within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), timeout):
                raise TimeoutError(f"no {what} at the proxy within {timeout} s; {self!r}")

    def __repr__(self) -> str:
        return f"<Proxy {self.connections} connections, {self.bytes_up} bytes up, {self.bytes_down} down>"

    def stop(self) -> None:
        """May be called twice."""
        if self._thread.is_alive():
            with self._changed:
                self._stop = True
                self._wake.send(b"w")  # with the lock: the thread closes it as soon as it has seen the order
            self._thread.join(10)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        timeout: float | None = None
        while True:
            ready = self._selector.select(timeout)
            with self._changed:
                if self._stop:
                    break
                for key, _ in ready:
                    self._ready(key)
                timeout = self._pass_on()
                self._changed.notify_all()
        for line in list(self._lines):  # a copy: each takes itself off
            self._close(line)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._wake.close()

    def _ready(self, key: selectors.SelectorKey) -> None:
        if key.data is not None:
            line, direction = key.data
            if line in self._lines:  # an event before it may have closed it
                self._read(line, direction)
        elif key.fileobj is self._listener:
            with contextlib.suppress(BlockingIOError):
                client, _ = self._listener.accept()
                self._open(client)
        elif isinstance(key.fileobj, socket.socket) and key.fileobj.fileno() >= 0:
            with contextlib.suppress(BlockingIOError):
                key.fileobj.recv(_CHUNK)

    def _open(self, client: socket.socket) -> None:
        self.connections += 1
        server = None
        if not self._silent:
            try:
                server = socket.create_connection(self._target, 5)
            except OSError:
                client.close()  # as a port that answers and has nothing behind it
                return
        line = _Line(client, server)
        self._lines.append(line)
        for direction, end in line.ends.items():
            if end is not None:
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(end, selectors.EVENT_READ, (line, direction))

    def _read(self, line: _Line, direction: Direction) -> None:
        source, flow = line.ends[direction], line.flows[direction]
        assert source is not None
        if flow.size > _FULL:
            self._selector.unregister(source)
            flow.paused = True
            return
        try:
            data = source.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._close(line)
            return
        if direction == "up":
            self.bytes_up += len(data)
        else:
            self.bytes_down += len(data)
        if not data:
            self._selector.unregister(source)
            flow.ended = True
        if line.hung:
            if not data:
                self._close(line)
            return
        if direction in self._silent or line.dead or line.ends["down"] is None:
            line.robbed = not line.dead
            if all(other.ended for other in line.flows.values()) or (line.ends["down"] is None and flow.ended):
                self._close(line)
            return
        flow.held.append((time.monotonic() + self._delays[direction], data))
        flow.size += len(data)

    def _pass_on(self) -> float | None:
        """Sends what is due; returns how long until more is."""
        soonest = None
        for line in list(self._lines):
            for direction in ("up", "down"):
                flow = line.flows[direction]
                while flow.held and line in self._lines:
                    left = flow.held[0][0] - time.monotonic()
                    if left > 0 or not self._send(line, direction):
                        # A full sink is looked at again soon: it is rare, and simpler than waiting for its event.
                        left = max(left, 0.002)
                        soonest = left if soonest is None else min(soonest, left)
                        break
        return soonest

    def _send(self, line: _Line, direction: Direction) -> bool:
        """Sends the first piece held; false when the sink takes no more now."""
        flow, sink = line.flows[direction], line.ends[_OTHER[direction]]
        due, data = flow.held.popleft()
        flow.size -= len(data)
        if flow.paused and flow.size <= _FULL:
            source = line.ends[direction]
            assert source is not None
            self._selector.register(source, selectors.EVENT_READ, (line, direction))
            flow.paused = False
        if line.dead or line.hung or sink is None:
            return True
        if not data:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
            if all(other.ended and not other.held for other in line.flows.values()):
                self._close(line)
            return True
        allowed, cut = self._allowed(line, direction, data)
        try:
            sent = sink.send(data[:allowed]) if allowed else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(line)
            return True
        for number in flow.since:
            flow.since[number] += sent
        if sent == allowed and cut is not None:
            cut.happened()
            if not cut.left:
                self._cuts.remove(cut)
            self._end(line, cut.how)
            return True
        if sent < len(data):
            flow.held.appendleft((due, data[sent:]))
            flow.size += len(data) - sent
        return sent > 0

    def _allowed(self, line: _Line, direction: Direction, data: bytes) -> tuple[int, Cut | None]:
        """How many of the bytes may pass, and the cut that comes then."""
        least, first = len(data), None
        for cut in self._cuts:
            since = line.flows[cut.direction].since
            start = 0
            if cut.number not in since:
                if cut.marker is not None:
                    if direction != "up" or cut.marker not in data:
                        continue
                    start = data.index(cut.marker)
                since[cut.number] = -start if cut.direction == "up" else 0
            if cut.direction == direction and cut.after - since[cut.number] < least:
                least, first = max(0, cut.after - since[cut.number]), cut
        return least, first

    def _end(self, line: _Line, how: How) -> None:
        """A cut: a RST to both sides, or a FIN to both, after which what they still send is thrown away, or nothing."""
        if how == "hang":
            line.hung = line.robbed = True
            return
        if how == "rst":
            for end in line.sockets():
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._close(line)
            return
        line.dead = True
        for end in line.sockets():
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_WR)

    def _close(self, line: _Line) -> None:
        for end in line.sockets():
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.close()
        if line in self._lines:
            self._lines.remove(line)
