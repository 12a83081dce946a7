"""Redis' protocol (RESP3) as far as waiting for results needs it: commands into bytes, bytes into replies.

No I/O: bytes come in as they arrive, replies go out when they are whole. redis-py's parser reads from the socket itself
and cannot be left half-way when a time-out ends the wait; this one can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Push", "Reader", "ReplyError", "pack"]

_CRLF = b"\r\n"
_PUSH, _MAP = b">"[0], b"%"[0]
_SIMPLE, _ERROR, _INTEGER, _NULL, _BOOLEAN = b"+"[0], b"-"[0], b":"[0], b"_"[0], b"#"[0]
_DOUBLE, _BIG, _VERBATIM, _LONG_ERROR = b","[0], b"("[0], b"="[0], b"!"[0]
_BULKS = frozenset(b"$=!")
_LISTS = frozenset(b"*~")
_PUSH_OF_THREE = b">3\r\n$"


class Push(list[Any]):
    """What the server says without having been asked: a published message, a confirmation."""


class ReplyError(Exception):
    """The server's answer to a command is an error; its first word says which."""


class _Incomplete(Exception):
    """More bytes are needed: at least `missing`."""

    def __init__(self, missing: int) -> None:
        self.missing = missing


def pack(*words: bytes) -> bytes:
    """One command."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


class Reader:
    """Takes a stream of bytes apart into replies."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._later: list[bytes] = []
        self._missing = 0
        self._half: tuple[list[Any], int] | None = None  # the reply that is not whole: its first items, and how many

    def feed(self, data: bytes) -> None:
        """Bytes that have arrived."""
        self._later.append(data)
        self._missing -= len(data)

    def replies(self) -> Iterator[Any]:
        """Every reply that is whole; an error is an instance of `ReplyError` among them. ValueError: not RESP."""
        # A value of hundreds of megabytes comes in thousands of pieces: joined once, when all that it lacks is there.
        if self._missing > 0:
            return
        self._data = b"".join((self._data[self._at :], *self._later))
        self._at = 0
        self._later.clear()
        size = len(self._data)
        while self._at < size:
            began, half = self._at, self._half
            self._half = None
            try:
                if half is not None:
                    reply: Any = self._items(*half)
                elif self._data.startswith(_PUSH_OF_THREE, began):
                    reply = self._push_of_three()
                else:
                    reply = self._value()
            except _Incomplete as exc:
                if self._half is None:
                    self._at = began
                self._missing = exc.missing
                return
            yield reply

    def _value(self) -> Any:
        data = self._data
        end = data.find(_CRLF, self._at)
        if end < 0:
            raise _Incomplete(1)
        kind, head = data[self._at], data[self._at + 1 : end]
        self._at = end + 2
        if kind in _BULKS:
            return self._bulk(kind, int(head))
        if kind == _PUSH:
            return self._items(Push(), int(head))
        if kind in _LISTS:
            return None if head == b"-1" else self._items([], int(head))
        return self._rare(kind, head)

    def _items(self, items: list[Any], count: int) -> list[Any]:
        """`items` with those that are still missing of `count`."""
        began = self._at
        try:
            while len(items) < count:
                items.append(self._value())
                began = self._at
        except _Incomplete:
            # Or a thousand large values would be read again for each that comes. Of nested ones the outermost is kept.
            self._at, self._half = began, (items, count)
            raise
        return items

    def _push_of_three(self) -> Any:
        """Nearly all pushes: a kind, a channel, and what there is to say. By way of `_value` they cost thrice."""
        data, began = self._data, self._at
        end = data.find(_CRLF, began + 5)
        if end < 0:
            raise _Incomplete(1)
        kind = end + 2
        kind_end = kind + int(data[began + 5 : end])
        end = data.find(_CRLF, kind_end + 3)
        if end < 0 or data[kind_end + 2 : kind_end + 3] != b"$":
            return self._value()  # says what is missing, or takes what else may stand there
        channel = end + 2
        channel_end = channel + int(data[kind_end + 3 : end])
        self._at = channel_end + 2
        try:
            return Push((data[kind:kind_end], data[channel:channel_end], self._value()))
        except _Incomplete:
            self._half = None  # read again from its beginning
            raise

    def _bulk(self, kind: int, size: int) -> Any:
        if size < 0:
            return None
        data, begin = self._data, self._at
        stop = begin + size
        if len(data) < stop + 2:
            raise _Incomplete(stop + 2 - len(data))
        self._at = stop + 2
        value = data[begin:stop]
        if kind == _LONG_ERROR:
            return ReplyError(value.decode("utf-8", "replace"))
        return value[4:] if kind == _VERBATIM else value

    def _rare(self, kind: int, head: bytes) -> Any:
        if kind == _ERROR:
            return ReplyError(head.decode("utf-8", "replace"))
        if kind == _INTEGER:
            return int(head)
        if kind == _NULL:
            return None
        if kind == _MAP:
            return self._map(int(head))
        if kind in (_SIMPLE, _DOUBLE, _BIG, _BOOLEAN):
            return head
        raise ValueError(f"the server does not speak Redis' protocol: a reply begins with {bytes([kind])!r}")

    def _map(self, count: int) -> dict[Any, Any]:
        try:
            return {self._value(): self._value() for _ in range(count)}
        except _Incomplete:
            self._half = None  # read again from its beginning
            raise
