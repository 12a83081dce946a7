"""The proxy of the fault tests does what it says, to the byte: a test that broke nothing would pass for a proof."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.proxy import HOST, Proxy

LIMIT = 5


class Echo:
    """Answers each byte with itself. `ends` has how each connection ended: `fin` or `rst`."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.ends: list[str] = []
        self.ended = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        how = "fin"
        with line:
            try:
                while data := line.recv(65536):
                    line.sendall(data)
            except OSError:
                how = "rst"
        with self.ended:
            self.ends.append(how)
            self.ended.notify_all()

    def wait_end(self) -> str:
        with self.ended:
            assert self.ended.wait_for(lambda: self.ends, LIMIT)
            return self.ends.pop(0)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy.start(echo.port) as made:
        yield made


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), LIMIT)


def read(line: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := line.recv(count - len(data))):
        data += more
    return data


def test_passes_bytes_both_ways_and_counts_them(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as line:
        line.sendall(b"hello")
        assert read(line, 5) == b"hello"
        assert (proxy.connections, proxy.open, proxy.bytes_up, proxy.bytes_down) == (1, 1, 5, 5)
        line.shutdown(socket.SHUT_WR)
        assert line.recv(1) == b""
    assert echo.wait_end() == "fin"
    proxy.wait_for(lambda proxy: proxy.open == 0, LIMIT)


def test_passes_more_than_the_buffers_hold(proxy: Proxy) -> None:
    """The client does not read while it sends: the proxy must stop reading, and lose nothing."""
    data = bytes(range(256)) * 40_000
    with connect(proxy) as line:
        sender = threading.Thread(target=line.sendall, args=(data,))
        sender.start()
        proxy.wait_for(lambda proxy: proxy.bytes_up > 1 << 20, LIMIT)
        assert read(line, len(data)) == data
        sender.join(LIMIT)


@pytest.mark.parametrize("after", [0, 3, 7])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_rst_comes_after_exactly_that_many_bytes(proxy: Proxy, echo: Echo, direction: str, after: int) -> None:
    with connect(proxy) as line:
        line.sendall(b"before")
        assert read(line, 6) == b"before"
        cut = proxy.cut(direction, after=after)  # type: ignore[arg-type]
        line.sendall(b"0123456789")
        cut.wait(LIMIT)
        with pytest.raises(ConnectionResetError):
            while line.recv(100):
                pass
    assert echo.wait_end() == "rst"
    assert proxy.open == 0
    if direction == "down":
        assert proxy.bytes_up == 16


def test_bytes_before_a_cut_arrive(proxy: Proxy) -> None:
    with connect(proxy) as line:
        cut = proxy.cut("down", after=4, how="fin")
        line.sendall(b"0123456789")
        cut.wait(LIMIT)
        assert read(line, 100) == b"0123"


def test_fin_is_an_orderly_end_for_both(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as line:
        cut = proxy.cut("up", how="fin")
        line.sendall(b"x")
        cut.wait(LIMIT)
        assert line.recv(1) == b""
        assert echo.wait_end() == "fin"


def test_a_cut_counts_from_its_marker(proxy: Proxy) -> None:
    with connect(proxy) as line:
        cut = proxy.cut("down", after=2, how="fin", marker=b"EVAL")
        line.sendall(b"GET something")
        assert read(line, 13) == b"GET something"
        line.sendall(b"EVAL")
        cut.wait(LIMIT)
        assert read(line, 100) == b"EV"


def test_a_cut_may_meet_several_connections_and_then_no_more(proxy: Proxy) -> None:
    cut = proxy.cut("up", after=1, times=2, how="fin")
    for _ in range(2):
        with connect(proxy) as line:
            line.sendall(b"ab")
            assert read(line, 2) in {b"", b"a"}  # the echo of the first byte races with the end
    cut.wait(LIMIT)
    with connect(proxy) as line:
        line.sendall(b"ab")
        assert read(line, 2) == b"ab"


def test_cut_that_does_not_happen_says_so(proxy: Proxy) -> None:
    with pytest.raises(TimeoutError, match="after 10 bytes"):
        proxy.cut("up", after=10).wait(0.01)


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_cut_now_ends_all_connections(proxy: Proxy, how: str) -> None:
    with connect(proxy) as one, connect(proxy) as two:
        for line in (one, two):
            line.sendall(b"x")
            assert read(line, 1) == b"x"
        assert proxy.cut_now(how) == 2  # type: ignore[arg-type]
        for line in (one, two):
            if how == "fin":
                assert line.recv(1) == b""
            else:
                with pytest.raises(ConnectionResetError):
                    line.recv(1)


@pytest.mark.parametrize("directions", [(), ("up",), ("down",)])
def test_silence_keeps_connections_and_drops_bytes(proxy: Proxy, directions: tuple[str, ...]) -> None:
    with connect(proxy) as line:
        line.sendall(b"x")
        assert read(line, 1) == b"x"
        proxy.silence(*directions)  # type: ignore[arg-type]
        line.sendall(b"lost")
        proxy.wait_for(lambda proxy: proxy.bytes_up == 5, LIMIT)
        if directions == ("down",):
            proxy.wait_for(lambda proxy: proxy.bytes_down == 5, LIMIT)
        line.settimeout(0.05)
        with pytest.raises(TimeoutError):
            line.recv(1)
        with connect(proxy) as late:
            late.sendall(b"anybody?")
            proxy.wait_for(lambda proxy: proxy.bytes_up == 13, LIMIT)
            assert proxy.open == 2
        line.settimeout(LIMIT)
        proxy.heal()
        with pytest.raises(ConnectionResetError):  # what follows lost bytes would be half a message
            line.recv(1)
    with connect(proxy) as line:
        line.sendall(b"again")
        assert read(line, 5) == b"again"


def test_delay_holds_each_direction_back(proxy: Proxy) -> None:
    with connect(proxy) as line:
        for up_ms, down_ms in ((40, 0), (0, 40), (30, 30)):
            proxy.delay(up_ms=up_ms, down_ms=down_ms)
            began = time.monotonic()
            line.sendall(b"x")
            assert read(line, 1) == b"x"
            assert time.monotonic() - began >= (up_ms + down_ms) / 1e3


def test_delayed_bytes_come_before_the_end(proxy: Proxy) -> None:
    proxy.delay(down_ms=50)
    with connect(proxy) as line:
        line.sendall(b"last words")
        line.shutdown(socket.SHUT_WR)
        assert read(line, 100) == b"last words"


def test_refuses_new_connections_and_accepts_again_on_the_same_port(proxy: Proxy) -> None:
    port = proxy.port
    with connect(proxy) as line:
        line.sendall(b"x")
        assert read(line, 1) == b"x"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        line.sendall(b"y")
        assert read(line, 1) == b"y"
    proxy.accept()
    assert proxy.port == port
    with connect(proxy) as line:
        line.sendall(b"z")
        assert read(line, 1) == b"z"


def test_a_client_is_dropped_when_nothing_listens_behind(proxy: Proxy, echo: Echo) -> None:
    with Proxy.start(1) as dead, connect(dead) as line:  # port 1: nobody
        assert line.recv(1) == b""


def test_stop_ends_connections(echo: Echo) -> None:
    with Proxy.start(echo.port) as proxy, connect(proxy) as line:
        line.sendall(b"x")
        assert read(line, 1) == b"x"
        proxy.stop()
        assert line.recv(1) == b""
