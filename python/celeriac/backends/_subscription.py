"""One connection of a process on which everybody waits for records: threads, event loops, callbacks.

Each key that somebody waits for is a channel, and what is published on it is the record itself. SUBSCRIBE and GET of
the keys leave in one write and are answered in that order, so a record is either in the answer or published afterwards:
no wake-up is lost, and a wait costs one round trip for any number of keys.

Nobody's thread is in between: of those that wait one *leads*, which means that it sleeps in `poll` on the socket and
deals out what comes; the others follow, each asleep on a lock of its own. Who has what it came for, or has to go, makes
a follower the next leader. Only the leader connects, reads and closes; anybody writes, and no write ever blocks.

When the connection is lost, the leader makes another, subscribes and reads everything anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from celeriac.backends._resp import Push, Reader, ReplyError, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Lost", "RetryPolicy", "Subscription", "Waiter"]

logger = logging.getLogger(__name__)

_CHUNK = 65_536  # bytes read at once; from 128 KiB on each read would map memory and unmap it
_KEYS = 1_000  # keys in one command: a server does nothing else while it answers one
_STALE = 256  # subscriptions of results that have come: they are silent, so they leave in company, not one a wait
# A signal that the kernel gives to another thread does not end what the main one sleeps in, and only there its handler
# runs: so nobody sleeps for longer.
_LOOK_UP_S = 1.0
_BLOCKED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_READ_ERRORS = (OSError, ValueError, EOFError)
# The server is there but not ready yet; another try may succeed.
_PASSING = ("LOADING", "MASTERDOWN", "READONLY", "TRYAGAIN", "CLUSTERDOWN")
# Of a slot of a cluster that is on its way this went ahead; or the slot is elsewhere, where a new connection looks.
_PARTED = ("ASK", "TRYAGAIN")
_MOVED = ("MOVED", "CLUSTERDOWN")
_MOVE_S = 0.5  # between looks at a slot that moves

Record = tuple[bytes, "bytes | None"]
"""`(key, value)`: what was read (None: nothing is stored) or published."""


class Lost(Exception):
    """A connection was not made or was lost, and another try may help; anything else that `connect` raises is final."""


class _Moving(ConnectionError):
    """The server answers, but the slot is not there: another connection at once would hear the same."""


class RetryPolicy:
    """How often and after which pauses a lost connection is tried again."""

    def __init__(self, policy: dict[str, Any]) -> None:
        self.max_retries: float = float("inf") if policy.get("max_retries") is None else policy["max_retries"]
        self.start = float(policy.get("interval_start") or 0)
        self.step = float(policy.get("interval_step") or 0)
        self.longest = float(policy.get("interval_max") or 0)

    def pause(self, attempt: int) -> float:
        """Seconds before try number `attempt`; the first is 1."""
        return min(self.start + self.step * (attempt - 1), max(self.longest, 0.0))


class Waiter:
    """Somebody who waits for records of some keys. One thread at a time; made by `Subscription.waiter`."""

    __slots__ = ("arrived", "epoch", "error", "keys", "owner", "signal")

    def __init__(self, owner: Subscription) -> None:
        self.owner = owner
        self.keys: set[bytes] = set()
        self.arrived: list[Record] = []
        self.error: Callable[[], Exception] | None = None
        self.signal = threading.Lock()
        self.signal.acquire()
        self.epoch = owner.epoch

    def take(self, timeout: float) -> list[Record]:
        """What has come, at least one record; an empty list after `timeout` seconds.

        Raises what the subscription's `connect` raised, or `RuntimeError` when its patience is at an end.
        """
        owner = self.owner
        deadline = time.monotonic() + timeout
        try:
            while True:
                with owner.lock:
                    owner.look_after(self)
                    left = deadline - time.monotonic()
                    if self.arrived or self.error is not None or left <= 0:
                        owner.resign(self)
                        return self._taken()
                    leads = owner.lead_or_follow(self)
                if leads:
                    owner.pump(left)
                else:
                    self.signal.acquire(timeout=min(left, _LOOK_UP_S))
        except BaseException:
            with owner.lock:
                owner.resign(self)
            raise

    def _taken(self) -> list[Record]:
        if not self.arrived and self.error is not None:
            error, self.error = self.error, None
            raise error()
        arrived, self.arrived = self.arrived, []
        return arrived

    def add(self, keys: Iterable[bytes]) -> None:
        """Waits for these, too. From any thread; does not block."""
        with self.owner.lock:
            self.owner.enter(self, keys)

    def drop(self, keys: Iterable[bytes], *, silent: bool = True) -> None:
        """Waits for these no longer. `silent`: their last state has come, so nothing more will be published."""
        with self.owner.lock:
            self.owner.leave(self, keys, silent=silent)

    def close(self) -> None:
        """Waits for nothing any more."""
        self.owner.closed.append(self)
        with self.owner.lock:
            self.owner.sweep()

    def abandon(self) -> None:
        """The same without the lock: for a garbage collection, which may come while this very thread has it.

        The subscriptions end with the next wait, or at once if somebody waits.
        """
        self.owner.closed.append(self)
        self.owner.nudge()


class _Line:
    """A connection: its socket, what is still to be written, and who asked for the answers that are to come."""

    __slots__ = (
        *("again", "again_at", "asked", "bell", "broken", "connection", "heard", "leaving", "out", "polled", "reader"),
        *("ring", "sock"),
    )

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.sock: socket.socket = connection._sock
        self.sock.setblocking(False)
        self.reader = Reader()
        self.out = bytearray()
        self.asked: deque[tuple[Waiter | None, list[bytes]]] = deque()
        # Of a cluster: confirmations of SUNSUBSCRIBE that are to come, and what is asked again while the slot moves.
        self.leaving: dict[bytes, int] = {}
        self.again: list[tuple[Waiter, bytes]] = []
        self.again_at = 0.0
        self.broken: Exception | None = None
        self.heard = time.monotonic()
        self.bell, self.ring = socket.socketpair()  # for who cannot write all it has: the leader has to go on with it
        self.bell.setblocking(False)
        self.ring.setblocking(False)
        self.polled = select.poll()
        self.polled.register(self.sock, select.POLLIN)
        self.polled.register(self.bell, select.POLLIN)

    def sleep(self, seconds: float) -> None:
        """Until there is something to read, room to write, or somebody rang."""
        self.polled.modify(self.sock, select.POLLIN | select.POLLOUT if self.out else select.POLLIN)
        for fd, _ in self.polled.poll(seconds * 1000):
            if fd == self.bell.fileno():
                with contextlib.suppress(OSError):
                    self.bell.recv(4096)

    def wake(self) -> None:
        """Ends `sleep`."""
        with contextlib.suppress(OSError):
            self.ring.send(b"!")

    def flush(self) -> None:
        """Writes what the socket takes now. The lock is held."""
        try:
            while self.out:
                del self.out[: self.sock.send(self.out)]
        except _BLOCKED:
            pass
        except OSError as exc:
            self.broken = exc

    def close(self) -> None:
        # Not by the connection's own `disconnect`, which shuts down a socket that a forked parent may still use.
        with contextlib.suppress(OSError, AttributeError):  # a signal may have come before all of them were there
            self.sock.close()
            self.connection._sock = None
            self.bell.close()
            self.ring.close()

    __del__ = close


class _Whole:
    """Steps that belong together: if a signal's exception comes between them, the connection is given up."""

    __slots__ = ("_owner",)

    def __init__(self, owner: Subscription) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._owner.spoil()


class Subscription:
    """All waits of one process for records of one store.

    Args:
        connect: makes a connection of redis-py that speaks RESP3, in at most so many seconds.
            Raises `Lost` if another try may help.
        policy: how lost connections are tried again.
        connect_s: seconds that a connection may take.
        idle_s: seconds of silence after which the server is asked whether it is there.
        answer_s: seconds that it has for any answer; then the connection counts as lost.
        exhausted: makes the error for when the tries are used up.
        refused: makes the error for what the server answers instead of a record.
        sharded: the server is the node of a cluster that has the slot of all keys, and messages stay with the slot.
    """

    def __init__(
        self,
        connect: Callable[[float], Any],
        policy: RetryPolicy,
        *,
        connect_s: float,
        idle_s: float,
        answer_s: float,
        exhausted: Callable[[BaseException], Exception],
        refused: Callable[[ReplyError], Exception],
        sharded: bool = False,
    ) -> None:
        self._connect = connect
        self._policy = policy
        self._connect_s = connect_s
        self._idle_s = idle_s
        self._answer_s = answer_s
        self._exhausted = exhausted
        self._refusal = refused
        self._sharded = sharded
        self._subscribe = b"SSUBSCRIBE" if sharded else b"SUBSCRIBE"
        self._message = b"smessage" if sharded else b"message"
        self.epoch = 0
        self._reset()
        _every.add(self)

    def _reset(self) -> None:
        self.lock = threading.Lock()
        self.closed: deque[Waiter] = deque()
        self._waiters: set[Waiter] = set()
        self._channels: dict[bytes, list[Waiter]] = {}
        self._stale: set[bytes] = set()
        self._followers: dict[Waiter, None] = {}
        self._leader: Waiter | None = None
        self._line: _Line | None = None
        self._attempts = 0
        self._retry_at = 0.0

    def waiter(self, keys: Iterable[bytes]) -> Waiter:
        """Begins to wait for these; what is stored already comes first, None for nothing."""
        waiter = Waiter(self)
        with self.lock:
            self.enter(waiter, keys)
        return waiter

    def close(self) -> None:
        """Gives the connection back. Who still waits, or waits again, makes another."""
        with self.lock:
            if self._line is not None:
                self._line.broken = EOFError("closed")
                if self._leader is None:
                    self._cut()
                else:
                    self._line.wake()

    def nudge(self) -> None:
        """Has whoever reads look around. Needs no lock."""
        line = self._line
        if line is not None:
            line.wake()

    # --- with the lock held ------------------------------------------------------------------------------------

    def _whole(self) -> _Whole:
        return _Whole(self)

    def spoil(self) -> None:
        """What is asked, written and noted no longer agree: the connection is made anew, and all is asked again."""
        if self._line is not None:
            self._line.broken = EOFError("interrupted")
            self._line.wake()

    def look_after(self, waiter: Waiter) -> None:
        """Sees to those that closed, and to one that was carried over a fork."""
        if self.closed:
            self.sweep()
        if waiter.epoch != self.epoch:
            waiter.epoch = self.epoch
            waiter.signal = threading.Lock()
            waiter.signal.acquire()
            self.enter(waiter, list(waiter.keys))

    def enter(self, waiter: Waiter, keys: Iterable[bytes]) -> None:
        """`waiter` waits for these, too."""
        with self._whole():
            keys = list(keys)
            self._waiters.add(waiter)
            fresh = []
            for key in keys:
                others = self._channels.get(key)
                if others is None:
                    self._channels[key] = [waiter]
                    if key in self._stale:
                        self._stale.discard(key)
                    else:
                        fresh.append(key)
                elif waiter not in others:
                    others.append(waiter)
            waiter.keys.update(keys)
            line = self._line
            if line is not None and line.broken is None:
                self._ask(line, waiter, fresh, keys)
                self._flush(line)

    def leave(self, waiter: Waiter, keys: Iterable[bytes], *, silent: bool = True) -> None:
        """`waiter` waits for these no longer; subscriptions that are `silent` from now on leave later, in company."""
        with self._whole():
            for key in keys:
                waiter.keys.discard(key)
                others = self._channels.get(key)
                if others is None or waiter not in others:
                    continue
                others.remove(waiter)
                if not others:
                    del self._channels[key]
                    self._stale.add(key)
            if self._stale and (not silent or len(self._stale) >= _STALE):
                line = self._line
                if line is None or line.broken is not None:
                    self._stale.clear()
                else:
                    self._unsubscribe(line)
                    self._flush(line)

    def sweep(self) -> None:
        """Forgets those that closed."""
        while self.closed:
            waiter = self.closed.popleft()
            self._waiters.discard(waiter)
            if waiter.epoch == self.epoch and waiter.keys:
                self.leave(waiter, list(waiter.keys), silent=False)

    def lead_or_follow(self, waiter: Waiter) -> bool:
        """True: nobody reads, so it is on `waiter` to `pump`. False: it will be told by its signal."""
        if self._leader is None:
            self._leader = waiter
        if self._leader is waiter:
            self._unpark(waiter)
            return True
        self._followers[waiter] = None
        return False

    def resign(self, waiter: Waiter) -> None:
        """`waiter` goes; somebody else reads on."""
        self._unpark(waiter)
        if self.closed:
            self.sweep()
        if self._leader is waiter:
            self._leader = None
        if self._leader is None and self._followers:
            self._tell(next(iter(self._followers)))

    def _unpark(self, waiter: Waiter) -> None:
        self._followers.pop(waiter, None)
        waiter.signal.acquire(blocking=False)  # told just when its time was up

    def _tell(self, waiter: Waiter) -> None:
        # In this order: a signal in between leaves one told that nobody knows of, not one that sleeps for ever.
        if waiter in self._followers:
            if waiter.signal.locked():
                waiter.signal.release()
            self._followers.pop(waiter, None)

    def _ask(self, line: _Line, waiter: Waiter, fresh: list[bytes], keys: list[bytes]) -> None:
        if not line.asked:
            line.heard = time.monotonic()  # from now on the server owes an answer
        for at in range(0, len(fresh), _KEYS):
            line.out += pack(self._subscribe, *fresh[at : at + _KEYS])
        for at in range(0, len(keys), _KEYS):
            some = keys[at : at + _KEYS]
            line.asked.append((waiter, some))
            line.out += pack(b"GET", *some) if len(some) == 1 else pack(b"MGET", *some)

    def _ask_again(self, line: _Line) -> None:
        again, line.again = line.again, []
        for waiter, key in again:  # one by one: MGET is refused for the sake of a single key
            if key in waiter.keys:
                self._ask(line, waiter, [], [key])
        line.flush()

    def _unsubscribe(self, line: _Line) -> None:
        if self._sharded:
            for key in self._stale:
                line.leaving[key] = line.leaving.get(key, 0) + 1
        line.out += pack(b"SUNSUBSCRIBE" if self._sharded else b"UNSUBSCRIBE", *self._stale)
        self._stale.clear()

    def _flush(self, line: _Line) -> None:
        line.flush()
        if line.out or line.broken is not None:
            line.wake()

    def _deal(self, line: _Line, reply: Any) -> None:
        """Gives a reply to whom it concerns."""
        if type(reply) is Push:
            if reply[0] == self._message:
                record = (reply[1], reply[2])
                for waiter in self._channels.get(reply[1], ()):
                    waiter.arrived.append(record)
                    self._tell(waiter)
            elif reply[0] == b"sunsubscribe":
                self._left(line, reply[1])
            return
        if isinstance(reply, ReplyError):
            self._refused(line, reply)
            return
        if not line.asked:
            raise ValueError("an answer came that nobody had asked for")
        asker, keys = line.asked.popleft()
        if asker is None:
            return
        values = reply if isinstance(reply, list) else [reply]
        asker.arrived.extend((key, value) for key, value in zip(keys, values, strict=True) if key in asker.keys)
        self._tell(asker)

    def _left(self, line: _Line, channel: bytes) -> None:
        """A node ends subscriptions by itself when their slot goes to another."""
        asked = line.leaving.pop(channel, 0)
        if asked > 1:
            line.leaving[channel] = asked - 1
        elif not asked:
            self._stale.discard(channel)
            if channel in self._channels:
                raise ConnectionError("the slot of the results went to another node")

    def _refused(self, line: _Line, reply: ReplyError) -> None:
        code = str(reply).partition(" ")[0]
        if self._sharded and code in _PARTED and line.asked:
            # Others may be answered. Subscriptions stand until the slot has gone, and then it is read anew elsewhere.
            waiter, keys = line.asked.popleft()
            if waiter is not None:
                line.again_at = time.monotonic() + _MOVE_S
                line.again += [(waiter, key) for key in keys]
            return
        if self._sharded and code in _MOVED:
            raise _Moving(str(reply))
        if code in _PASSING:
            raise ConnectionError(str(reply))
        if code == "WRONGTYPE" and line.asked:
            waiter, keys = line.asked.popleft()
            if waiter is not None:
                name = keys[0].decode("utf-8", "replace")
                waiter.error = lambda: self._refusal(ReplyError(f"{name} is not a string: {reply}"))
                self._tell(waiter)
            return
        # NOPERM answers SUBSCRIBE out of turn: whose answers the next ones are cannot be told any more.
        self._fail(lambda: self._refusal(reply))
        self._cut()

    def _fail(self, error: Callable[[], Exception]) -> None:
        self._attempts, self._retry_at = 0, 0.0
        for waiter in self._waiters:
            waiter.error = error
            self._tell(waiter)

    def _cut(self) -> None:
        line, self._line = self._line, None
        self._stale.clear()
        if line is not None:
            line.close()

    # --- the leader, without the lock --------------------------------------------------------------------------

    def pump(self, budget: float) -> None:
        """Waits at most `budget` seconds for the socket and deals out what has come."""
        line = self._line
        if line is None:
            self._open(budget)
            return
        broken = line.broken
        if broken is None:
            self._sleep(line, budget)
            try:
                with self.lock, self._whole():
                    if line.broken is None:
                        self._read(line)
                    broken = line.broken
            except _READ_ERRORS as exc:
                broken = exc
        if broken is not None:
            with self.lock:
                self._cut()
            if not isinstance(broken, EOFError):
                self._lost(broken)

    def _sleep(self, line: _Line, budget: float) -> None:
        now = time.monotonic()
        silence = now - line.heard
        patience = self._answer_s if line.asked else self._idle_s
        if silence >= patience:
            if line.asked:
                line.broken = ConnectionError(f"no answer in {self._answer_s:g} s")
                return
            with self.lock, self._whole():
                line.heard = now
                line.asked.append((None, []))
                line.out += pack(b"PING")
                line.flush()
            silence, patience = 0.0, self._answer_s
        if line.again and now >= line.again_at:
            with self.lock, self._whole():
                self._ask_again(line)
        look_up = line.again_at - now if line.again else _LOOK_UP_S
        line.sleep(max(min(budget, patience - silence, look_up), 0.0))

    def _read(self, line: _Line) -> None:
        while True:
            try:
                data = line.sock.recv(_CHUNK)
            except _BLOCKED:
                break
            if not data:
                raise ConnectionError("the server closed the connection")
            line.reader.feed(data)
            line.heard = time.monotonic()
            self._attempts = 0
            for reply in line.reader.replies():
                self._deal(line, reply)
                if self._line is not line:
                    return
            # A TLS socket may hold more than `poll` knows of; of a plain one a short read was all there is.
            if len(data) < _CHUNK and not isinstance(line.sock, ssl.SSLSocket):
                break
        if line.out:
            line.flush()

    def _open(self, budget: float) -> None:
        pause = self._retry_at - time.monotonic()
        if pause > 0:
            time.sleep(min(pause, budget))
            return
        epoch = self.epoch
        try:
            connection = self._connect(min(budget, self._connect_s))
        except Lost as exc:
            if budget >= self._connect_s or not isinstance(exc.__cause__, TimeoutError):
                self._lost(exc)
            return
        except Exception as exc:
            error = exc
            with self.lock:
                self._fail(lambda: error)
            return
        if epoch != self.epoch:
            return
        with self.lock:
            line = _Line(connection)
            self._stale.clear()
            fresh = list(self._channels)
            for waiter in self._waiters:
                self._ask(line, waiter, fresh, list(waiter.keys))
                fresh = []
            self._line = line
            with self._whole():
                line.flush()

    def _lost(self, why: BaseException) -> None:
        self._attempts += 1
        if self._attempts > self._policy.max_retries:
            with self.lock:
                self._fail(lambda: self._exhausted(why))
            return
        pause = self._policy.pause(self._attempts)
        if isinstance(why, _Moving):
            pause = max(pause, _MOVE_S)
        self._retry_at = time.monotonic() + pause
        most = self._policy.max_retries
        logger.warning("Connection to Redis lost: Retry (%d/%s) in %.2f seconds: %s", self._attempts, most, pause, why)

    # --- forks -------------------------------------------------------------------------------------------------

    def after_fork(self) -> None:
        """In the child: the socket, the lock and those who waited are the parent's."""
        line = self._line
        self.epoch += 1
        self._reset()
        if line is not None:
            line.close()


_every: weakref.WeakSet[Subscription] = weakref.WeakSet()


def _after_fork() -> None:
    for subscription in list(_every):
        subscription.after_fork()


os.register_at_fork(after_in_child=_after_fork)
