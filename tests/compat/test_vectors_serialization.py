"""Every serializer and compression over Celery's own list of values: the bytes, the values and the refusals."""

from __future__ import annotations

import ast
import base64
import collections
import datetime as dt
import decimal
import enum
import math
import uuid
import zoneinfo
from typing import Any

import pytest

from celeriac._bridge import codec
from celeriac.exceptions import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured
from tests.compat.vectors_reader import load

Pt = collections.namedtuple("Pt", "x y")


class Num(enum.IntEnum):
    ONE = 1


class Color(enum.Enum):
    RED = "red"


class MyStr(str):
    __slots__ = ()


class HasJson:
    def __json__(self) -> dict[str, Any]:
        return {"made": "by __json__", "when": dt.date(2026, 1, 2)}


UTC = dt.timezone.utc
WHEN = (2026, 3, 4, 5, 6, 7)
VALUES: dict[str, Any] = {
    "datetime_naive": dt.datetime(*WHEN),  # noqa: DTZ001
    "datetime_naive_us": dt.datetime(*WHEN, 89),  # noqa: DTZ001
    "datetime_utc": dt.datetime(*WHEN, 120000, tzinfo=UTC),
    "datetime_offset": dt.datetime(*WHEN, tzinfo=dt.timezone(-dt.timedelta(hours=5, minutes=30))),
    "datetime_zone": dt.datetime(2026, 7, 4, 5, 6, 7, tzinfo=zoneinfo.ZoneInfo("Europe/Oslo")),
    "date": dt.date(2026, 3, 4),
    "time_naive": dt.time(5, 6, 7),
    "time_us_tz": dt.time(5, 6, 7, 8, tzinfo=UTC),
    "decimal": decimal.Decimal("10.500"),
    "decimal_nan": decimal.Decimal("NaN"),
    "uuid": uuid.UUID("0b3b2e1c-6f8e-4a52-9c1b-2f6f0f3c9a11"),
    "bytes_utf8": "héllo".encode(),
    "bytes_empty": b"",
    "bytes_binary": bytes([0, 255, 128, 10]),
    "tuple": (1, 2, (3,)),
    "namedtuple": Pt(1, 2),
    "ordered_dict": collections.OrderedDict([("b", 1), ("a", 2)]),
    "int_keys": {1: "a", None: "b", True: "c", 2.5: "d"},  # noqa: F601
    "unicode": "naïve ☃ 𝄞",
    "control_chars": 'a\x00\x1f"\\/',
    "floats": [0.1, 1e300, 1.0, -0.0, math.nan, math.inf, -math.inf],
    "bigint": 2**80,
    "intenum": Num.ONE,
    "str_subclass": MyStr("plain"),
    "json_hook": HasJson(),
    "nested": {
        "l": [dt.date(2026, 1, 1), {"u": uuid.UUID(int=1)}],
        "t": (b"x", decimal.Decimal(1)),
    },
    "tag_lookalike": {"__type__": "nope", "__value__": 1},
    "tag_lookalike_known": {"__type__": "date", "__value__": "2026-01-01"},
    "tag_extra_key": {"__type__": "date", "__value__": "2026-01-01", "x": 1},
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "timedelta": dt.timedelta(seconds=90),
    "enum": Color.RED,
    "complex": 1 + 2j,
    "object": object(),
    "exception": ValueError("x"),
    "memoryview": memoryview(b"x"),
    "bytearray": bytearray(b"x"),
    "none": None,
    "empty_list": [],
}
# Their classes live in the module that was captured, so other bytes are right and theirs cannot be loaded here.
PICKLE_OWN = {"namedtuple", "intenum", "str_subclass", "json_hook", "enum", "uuid", "datetime_zone"}
ROWS = [
    pytest.param(name, row, id=f"{name}-{row['case']}")
    for name in ("json", "msgpack", "yaml", "pickle")
    for row in load("serialization", name)["decoded"]
]


@pytest.mark.parametrize(("serializer", "row"), ROWS)
def test_value_is_written_and_read_as_celery_does(serializer: str, row: dict[str, Any]) -> None:
    value = VALUES[row["case"]]
    if "encode_error" in row:
        with pytest.raises(EncodeError) as caught:
            codec.dumps(value, serializer)
        if serializer == "json":
            assert f"EncodeError: {caught.value}" == row["encode_error"]
        if row["encode_error_cause"] == "TypeError":
            assert isinstance(caught.value.__cause__, TypeError)
        return
    content_type, encoding, data = codec.dumps(value, serializer)
    assert (content_type, encoding) == (row["content_type"], row["content_encoding"])
    raw = base64.b64decode(row["raw"]) if row["raw_encoding"] == "base64" else row["raw"].encode()
    accept = codec.accept_types([serializer])
    if serializer == "pickle" and row["case"] in PICKLE_OWN:
        codec.loads(data, content_type, encoding, accept)
        return
    assert data == raw
    if "decode_error" in row:
        with pytest.raises(DecodeError):
            codec.loads(raw, content_type, encoding, accept)
        return
    back = codec.loads(raw, content_type, encoding, accept)
    assert type(back).__name__ == row["decoded_type"]
    if row["case"] not in {"object", "exception"}:
        assert repr(back) == row["decoded_repr"]


@pytest.mark.parametrize("row", load("serialization", "compression")["decoded"], ids=lambda row: row["alias"])
def test_compressed_body_is_read_and_written(row: dict[str, Any]) -> None:
    data = load("serialization", "compression")
    raw = base64.b64decode(data["raw"][data["decoded"].index(row)])
    plain = row["plain"].encode()
    if row["alias"] == "brotli":
        pytest.importorskip("brotli")
    assert codec.decompress(raw, row["compression_header"], len(plain)) == plain
    assert codec.decompress(raw, row["alias"], len(plain)) == plain
    with pytest.raises(DecodeError, match="longer than"):
        codec.decompress(raw, row["alias"], len(plain) - 1)
    with pytest.raises(DecodeError):
        codec.decompress(raw[:-4], row["alias"], 1 << 20)
    again, content_type = codec.compress(plain, row["alias"])
    assert content_type == row["compression_header"]
    assert codec.decompress(again, content_type, 1 << 20) == plain


def test_unknown_compression_is_an_error_of_the_right_side() -> None:
    with pytest.raises(ImproperlyConfigured, match="lz77"):
        codec.compress(b"x", "lz77")
    with pytest.raises(DecodeError, match="lz77"):
        codec.decompress(b"x", "lz77", 10)


def repr_input(row: dict[str, Any]) -> Any:
    long_ints = list(range(500))
    made: dict[str, Any] = {
        "long str": ("x" * 3000,),
        "long str with spaces": ("word " * 600,),
        "long list": (long_ints,),
        "long list then more": (long_ints, "tail"),
        "long dict": {f"key{i}": "v" * 50 for i in range(100)},
        "long bytes": (b"y" * 3000,),
        "str exactly 1024": ("z" * 1024,),
        "str 1023": ("z" * 1023,),
    }
    if row["case"] in made:
        return made[row["case"]]
    names = {
        "Pt": Pt,
        "Decimal": decimal.Decimal,
        "UUID": uuid.UUID,
        "datetime": dt,
        "nan": math.nan,
        "set": set,
        "frozenset": frozenset,
        "range": range,
    }
    return eval(compile(ast.parse(row["python"], mode="eval"), "vector", "eval"), {"__builtins__": {}}, names)


@pytest.mark.parametrize("row", load("serialization", "argsrepr")["decoded"], ids=lambda row: row["case"])
def test_bounded_repr_is_celerys(row: dict[str, Any]) -> None:
    if row["case"] == "recursion":
        loop: list[Any] = []
        loop.append(loop)
        assert codec.bounded_repr(loop) == f"[<Recursion on list with id={id(loop)}>]"
        return
    assert codec.bounded_repr(repr_input(row)) == row["saferepr"]


def test_untyped_values_get_the_type_that_fits() -> None:
    assert codec.dumps("text") == ("text/plain", "utf-8", b"text")
    assert codec.dumps(b"bytes") == ("application/data", "binary", b"bytes")
    assert codec.dumps([1]) == ("application/json", "utf-8", b"[1]")
    assert codec.dumps("text", "raw") == ("application/data", "utf-8", b"text")
    assert codec.dumps(b"\xff", "raw") == ("application/data", "binary", b"\xff")
    with pytest.raises(EncodeError):
        codec.dumps(1, "raw")


def test_registry_is_celerys() -> None:
    data = load("serialization", "registry")
    for name, kind in data["raw"].items():
        assert codec.dumps([], name)[:2] == (kind["content_type"], kind["content_encoding"])
    for content_type in data["decoded"]["disabled_by_default"]:
        with pytest.raises(ContentDisallowed, match="accept_content"):
            codec.loads(b"x", content_type, "binary")
    for content_type in data["decoded"]["always_trusted"]:
        assert codec.loads(b"x", content_type, "binary", frozenset()) == b"x"
