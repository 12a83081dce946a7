"""Replies are the same however the bytes are cut."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.backends._resp import Push, Reader, ReplyError, pack

STREAM = (
    b"+OK\r\n-ERR no\r\n:12\r\n$5\r\na\r\nb\xff\r\n$-1\r\n_\r\n*-1\r\n*2\r\n$1\r\nx\r\n_\r\n"
    b"*3\r\n*2\r\n$1\r\na\r\n:1\r\n%1\r\n+m\r\n*2\r\n:2\r\n:3\r\n*0\r\n"
    b">3\r\n$9\r\nsubscribe\r\n$1\r\nk\r\n:1\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
    b">3\r\n$1\r\nx\r\n:5\r\n+y\r\n>3\r\n+z\r\n_\r\n_\r\n"
    b">3\r\n$1\r\nv\r\n$1\r\nw\r\n*2\r\n:1\r\n:2\r\n"
    b">3\r\n$7\r\nmessage\r\n$1\r\nk\r\n$0\r\n\r\n%1\r\n+key\r\n:1\r\n=5\r\ntxt:y\r\n!3\r\nbad\r\n#t\r\n"
)
REPLIES: list[Any] = [
    *(b"OK", "-ERR no", 12, b"a\r\nb\xff", None, None, None, [b"x", None]),
    [[b"a", 1], {b"m": [2, 3]}, []],
    *([b"subscribe", b"k", 1], [b"invalidate", [b"k"]], [b"x", 5, b"y"], [b"z", None, None], [b"v", b"w", [1, 2]]),
    *([b"message", b"k", b""], {b"key": 1}, b"y", "-bad", b"t"),
]


def plain(reply: Any) -> Any:
    return f"-{reply}" if isinstance(reply, ReplyError) else reply


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, len(STREAM)])
def test_bytes_may_come_in_any_pieces(size: int) -> None:
    reader = Reader()
    read = []
    for at in range(0, len(STREAM), size):
        reader.feed(STREAM[at : at + size])
        read += list(reader.replies())
    assert [plain(reply) for reply in read] == REPLIES
    assert [type(reply) for reply in read].count(Push) == 6


def test_a_reader_that_is_left_half_way_goes_on_where_it_was() -> None:
    reader = Reader()
    reader.feed(b"+one\r\n+two\r\n+thr")
    assert next(reader.replies()) == b"one"
    reader.feed(b"ee\r\n")
    assert list(reader.replies()) == [b"two", b"three"]


def test_a_large_value_is_joined_once() -> None:
    reader = Reader()
    reader.feed(b"$1000000\r\n")
    assert list(reader.replies()) == []
    for _ in range(100):
        reader.feed(b"x" * 10_000)
        assert list(reader.replies()) == []
    assert len(reader._later) == 100  # nothing was copied while it was known that more must come
    reader.feed(b"\r\n:1\r\n")
    assert list(reader.replies()) == [b"x" * 1_000_000, 1]


def test_many_large_values_are_read_once() -> None:
    """They come in more pieces than there are values."""
    stream = b"*300\r\n" + b"".join(b"$20000\r\n%b\r\n" % (b"%05d" % number * 4000) for number in range(300))
    reader = Reader()
    copied, read = 0, []
    for at in range(0, len(stream), 8192):
        reader.feed(stream[at : at + 8192])
        read += list(reader.replies())
        copied += len(reader._data)
    assert read == [[b"%05d" % number * 4000 for number in range(300)]]
    assert copied < 3 * len(stream)


def test_what_is_not_redis_is_an_error() -> None:
    reader = Reader()
    reader.feed(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(ValueError, match="does not speak Redis"):
        list(reader.replies())


def test_commands_are_packed_by_length() -> None:
    assert pack(b"GET", b"k\r\n\xff") == b"*2\r\n$3\r\nGET\r\n$4\r\nk\r\n\xff\r\n"
