"""The codec beside the standard library's json and the msgpack library: same bytes, same values, same refusals."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import json
import math
import uuid
from typing import Any

import msgpack  # type: ignore[import-untyped,unused-ignore]
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from celeriac._bridge import codec
from celeriac._core import json_dumps, json_loads, msgpack_dumps, msgpack_loads
from celeriac.exceptions import DecodeError, EncodeError

TEXTS = st.text() | st.text(st.characters(codec=None, categories=["Cs", "Lu", "Cc", "So"]))
KEYS = TEXTS | st.integers() | st.floats() | st.booleans() | st.none()
SCALARS = TEXTS | st.integers() | st.floats() | st.booleans() | st.none()
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=5)
        | st.dictionaries(KEYS, inner, max_size=3).map(collections.OrderedDict)
    ),
    max_leaves=25,
)


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types, and NaN equals itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        pairs = zip(one.items(), other.items(), strict=True) if len(one) == len(other) else [((0, 0), (1, 1))]
        return all(same(*keys) and same(*values) for keys, values in ((zip(a, b, strict=True)) for a, b in pairs))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return bool(one == other)


@given(TREES)
@example("\ud800")
@example({"\udfff": "\ud834\udd1e"})
@example({"a": 1, 1: 2, None: 3, math.nan: 4, True: 5, -0.0: 6})  # noqa: F601 - the collision is the point
@example([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**400])
@settings(max_examples=400)
def test_json_is_written_as_the_standard_library_does(value: Any) -> None:
    assert json_dumps(value).decode() == json.dumps(value)


@given(TREES)
@settings(max_examples=400)
def test_json_is_read_as_the_standard_library_does(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=1), json.dumps(value, separators=(",", ":"))):
        assert same(json_loads(text), json.loads(text))
        assert same(json_loads(text.encode()), json.loads(text))
    raw = json.dumps(value, ensure_ascii=False)
    assert same(json_loads(raw), json.loads(raw))


PIECES = st.sampled_from(
    ["{", "}", "[", "]", ",", ":", " ", "\n", '"a"', '"', "\\", "1", "-", "0", ".", "e", "+", "true", "null", "NaN"]
    + [
        "Infinity",
        "-Infinity",
        '"\\ud800"',
        '"\\u00e9"',
        '"__type__"',
        "é",
        "\x00",
        "\ufeff",
        "1E400",
        "-0",
        "01",
        "\t",
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=30))
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("[" * 300 + "]" * 300)
@example('{"a":' * 300 + "1" + "}" * 300)
@example('{"a": 1, "a": 2}')
@example("1" * 5000)
@example('"\\ud834\\udd1e\\ud834"')
@settings(max_examples=600)
def test_any_text_is_judged_as_the_standard_library_does(text: str) -> None:
    try:
        expected = json.loads(text)
    except (ValueError, RecursionError):
        with pytest.raises(DecodeError):
            json_loads(text)
        return
    assert same(json_loads(text), expected)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for load in (json_loads, msgpack_loads, codec.Message.scan):
        try:
            load(data)
        except DecodeError:
            pass


PACKABLE = st.recursive(
    st.text() | st.binary() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.binary(), inner, max_size=20)
    ),
    max_leaves=30,
)


@given(PACKABLE)
@settings(max_examples=400)
def test_msgpack_is_written_and_read_as_the_library_does(value: Any) -> None:
    packed = msgpack.packb(value, use_bin_type=True)
    assert msgpack_dumps(value) == packed
    assert same(msgpack_loads(packed), msgpack.unpackb(packed, raw=False))


@given(st.binary(max_size=40))
@example(b"\x81\x01\x02")
@example(b"\xa1\xff")
@example(b"\xc1")
@example(b"\xdd\xff\xff\xff\xff")
@example(msgpack.packb(msgpack.ExtType(5, b"abc")))
@example(msgpack.packb(msgpack.Timestamp(1, 2)))
@example(msgpack.packb({"a": [msgpack.ExtType(7, b"")]}))
@settings(max_examples=600)
def test_any_msgpack_is_judged_as_the_library_does(data: bytes) -> None:
    try:
        expected = msgpack.unpackb(data, raw=False)
    except Exception:
        with pytest.raises(DecodeError):
            msgpack_loads(data)
        return
    assert same(msgpack_loads(data), expected)


@pytest.mark.parametrize(
    "value",
    [2**64, -(2**63) - 1, {1, 2}, object(), "\ud800", dt.date(2026, 1, 1), 1j],
    ids=repr,
)
def test_msgpack_refuses_what_the_library_refuses(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        msgpack.packb(value, use_bin_type=True)
    with pytest.raises(EncodeError):
        msgpack_dumps([value])


def test_msgpack_extension_values_are_the_librarys() -> None:
    for value in (msgpack.ExtType(5, b"abc"), msgpack.Timestamp(1, 2), [bytearray(b"x"), memoryview(b"y")]):
        assert msgpack_dumps(value) == msgpack.packb(value, use_bin_type=True)


@pytest.mark.parametrize("depth", [500, 1022, 1023, 1024, 1025, 5000])
def test_msgpack_is_read_as_deep_as_the_library_does(depth: int) -> None:
    data = b"\x91" * depth + b"\xc0"
    try:
        msgpack.unpackb(data, raw=False)
    except ValueError:
        with pytest.raises(DecodeError):
            msgpack_loads(data)
        return
    value, seen = msgpack_loads(data), 0
    while value is not None:
        (value,), seen = value, seen + 1
    assert seen == depth


@pytest.mark.parametrize("depth", [250, 300, 510, 511, 512, 600, 1500])
def test_msgpack_is_written_as_deep_as_the_library_does(depth: int) -> None:
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    try:
        expected = msgpack.packb(deep, use_bin_type=True)
    except (ValueError, RecursionError):
        with pytest.raises(EncodeError):
            msgpack_dumps(deep)
        return
    assert msgpack_dumps(deep) == expected


def test_circles_are_refused_by_msgpack() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(EncodeError):
        msgpack_dumps(circle)


class Shade(enum.IntEnum):
    RED = 3


class Name(str):  # noqa: SLOT000
    pass


class Ratio(float):
    def __repr__(self) -> str:
        return "a ratio"


class Items(dict[str, Any]):
    def items(self) -> Any:
        return [("shown", 1)]


class Row(list[Any]):
    def __iter__(self) -> Any:
        return iter([9])


class Point(collections.namedtuple("Point", "x y")):  # noqa: SLOT002
    pass


@pytest.mark.parametrize(
    "value",
    [Shade.RED, Name("x"), Ratio(0.5), Items(hidden=2), Row([1, 2]), Point(1, 2), True, {Shade.RED: 1}, {Name("k"): 1}]
    + [{Ratio(0.5): 1}, collections.Counter("aab"), collections.defaultdict(list, a=[1]), "\x7f\x80\u2028"],
    ids=repr,
)
def test_subclasses_are_written_as_the_standard_library_does(value: Any) -> None:
    assert json_dumps([value]).decode() == json.dumps([value])


@pytest.mark.parametrize("key", [(1, 2), b"k", frozenset(), object()], ids=lambda key: type(key).__name__)
def test_keys_that_json_has_not_are_refused(key: Any) -> None:
    with pytest.raises(EncodeError, match="keys must be str, int, float, bool or None"):
        json_dumps({key: 1})


def test_circles_are_refused_and_depth_is_the_standard_librarys() -> None:
    circle: list[Any] = [1]
    circle.append({"again": circle})
    with pytest.raises(EncodeError, match="[Cc]ircular"):
        json_dumps(circle)
    deep: Any = 1
    for _ in range(400):
        deep = {"a": [deep]}
    try:
        expected = json.dumps(deep)
    except RecursionError:
        return
    assert json_dumps(deep).decode() == expected
    assert json_loads(expected) == json.loads(expected)


def test_a_hook_that_changes_the_dict_it_is_in_is_an_error() -> None:
    class Growing:
        def __json__(self) -> int:
            holder[str(len(holder))] = 1
            return 1

    holder: dict[str, Any] = {"a": Growing(), "b": Growing()}
    with pytest.raises(EncodeError, match="changed size"):
        json_dumps(holder)


def test_errors_of_hooks_are_kept_as_causes_and_exits_pass() -> None:
    class Broken:
        def __json__(self) -> None:
            raise LookupError("no such thing")

    class Leaving:
        def __json__(self) -> None:
            raise SystemExit(3)

    with pytest.raises(EncodeError, match="no such thing") as caught:
        json_dumps([Broken()])
    assert isinstance(caught.value.__cause__, LookupError)
    with pytest.raises(SystemExit):
        json_dumps([Leaving()])


TAGGED = (
    st.datetimes(timezones=st.none() | st.just(dt.timezone.utc) | st.just(dt.timezone(dt.timedelta(hours=-3))))
    | st.dates()
    | st.times()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary()
)


@given(
    st.recursive(TAGGED | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=9)
)
def test_tagged_types_come_back_as_they_were(value: Any) -> None:
    back = json_loads(json_dumps(value))
    assert back == value
    assert type(back) is type(value)


def test_tags_are_decoded_innermost_first_and_only_with_exactly_two_keys() -> None:
    inner = '{"__type__": "bytes", "__value__": "2026-01-02"}'
    with pytest.raises(DecodeError):
        json_loads(f'{{"__type__": "date", "__value__": {inner}}}')  # the date decoder is given bytes
    assert json_loads('{"__type__": "date", "__value__": "2026-01-02", "x": 0}')["__type__"] == "date"
    assert json_loads('{"__type__": "date"}') == {"__type__": "date"}
    assert json_loads('{"\\u005f_type__": "date", "__value__": "2026-01-02"}') == dt.date(2026, 1, 2)
    assert json_loads('{"__type__": "x", "__type__": "date", "__value__": "2026-01-02"}') == dt.date(2026, 1, 2)
    for marker in ('"nope"', "null", "1", "[]", "{}"):
        with pytest.raises(DecodeError):
            json_loads(f'{{"__type__": {marker}, "__value__": 1}}')
    # Through the standard library's decoder, too: half characters beside a tag.
    mixed = json_loads('["\\ud800", {"__type__": "decimal", "__value__": "1.50"}]')
    assert mixed == ["\ud800", decimal.Decimal("1.50")]


def test_registered_types_are_written_and_read() -> None:
    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    codec.register_type(Money, "money", lambda money: {"cents": money.cents}, lambda parts: Money(parts["cents"]))
    try:
        data = json_dumps({"price": Money(5)})
        assert data == b'{"price": {"__type__": "money", "__value__": {"cents": 5}}}'
        assert json_loads(data)["price"].cents == 5
        codec.register_type(Money, "money", lambda money: money.cents, Money)  # replaces
        assert json_dumps(Money(7)) == b'{"__type__": "money", "__value__": 7}'
        assert json_loads(json_dumps(Money(7))).cents == 7
    finally:
        assert codec.unregister_type("money")
    assert not codec.unregister_type("money")
    with pytest.raises(EncodeError):
        json_dumps(Money(1))
    with pytest.raises(DecodeError, match="money"):
        json_loads(data)


def test_a_type_without_marker_is_written_as_its_encoder_says() -> None:
    class Bare:
        pass

    codec.register_type(Bare, None, lambda _: ["bare", uuid.UUID(int=1)])
    try:
        assert json_loads(json_dumps(Bare())) == ["bare", uuid.UUID(int=1)]
    finally:
        codec.unregister_type(None)
    with pytest.raises(EncodeError):
        json_dumps(Bare())
