"""The AMQP codec against pika's: what pika writes we read, and write again in the same bytes. Captured frames of Celery
likewise, or in bytes that pika reads as the same."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pika import amqp_object, data, frame, spec

from tests.compat.vectors_reader import load, names
from tests.support.needs import ROOT


@pytest.fixture(scope="module")
def mirror() -> Path:
    """The example program, compiled."""
    argv = ["cargo", "build", "--quiet", "--package", "celeriac-protocol", "--example", "amqp_mirror"]
    subprocess.run(argv, cwd=ROOT, check=True, timeout=300)
    return ROOT / "target/debug/examples/amqp_mirror"


def mirrored(mirror: Path, frames: bytes) -> bytes:
    done = subprocess.run([mirror], input=frames, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def pieces(frames: bytes) -> list[bytes]:
    """The frames, each for itself."""
    found, at = [], 0
    while at < len(frames):
        end = at + 8 + int.from_bytes(frames[at + 3 : at + 7], "big")
        found.append(frames[at:end])
        at = end
    return found


SHORT = st.text(max_size=60).filter(lambda text: len(text.encode()) < 256 and "\ud800" not in text)
SPAN = (dt.datetime(1970, 1, 2), dt.datetime(2100, 1, 1))  # noqa: DTZ001 - pika writes naive ones
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=30)
    | st.binary(max_size=30)
    | st.integers(-(2**31), 2**31 - 1).map(lambda number: decimal.Decimal(number).scaleb(-3))
    | st.datetimes(*SPAN).map(lambda when: when.replace(microsecond=0)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SHORT, inner, max_size=4),
    max_leaves=15,
)
TABLES = st.dictionaries(SHORT, VALUES, max_size=6)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "arguments": TABLES,
    "client_properties": TABLES,
    "server_properties": TABLES,
    "delivery_tag": st.integers(0, 2**64 - 1),
}


NUMBERS = {"reply_code", "class_id", "method_id", "message_count", "consumer_count", "version_major", "version_minor"}
NUMBERS |= {"channel_max", "frame_max", "heartbeat"}


def strategy(name: str, default: Any) -> st.SearchStrategy[Any]:
    if name in FIELDS:
        return FIELDS[name]
    if isinstance(default, bool) or name == "active":
        return st.booleans()
    if isinstance(default, int) or name in NUMBERS:
        return st.integers(0, 255 if name.startswith("version_") else 65535)
    return SHORT


# Fields that the specification reserves: we write what it says, whatever came.
RESERVED: dict[str, Any] = {"ticket": 0, "insist": False} | dict.fromkeys(
    ["capabilities", "known_hosts", "out_of_band", "channel_id", "cluster_id"], ""
)


def methods() -> list[type[Any]]:
    """Those of pika's methods that our table has."""
    ours = {
        10: range(10, 62),
        20: range(10, 42),
        40: range(10, 52),
        50: range(10, 52),
        60: range(10, 121),
        85: (10, 11),
    }
    unused = {"Recover", "RecoverOk", "RecoverAsync", "UpdateSecret", "UpdateSecretOk"}
    found = [kind for kind in spec.methods.values() if kind.__name__ not in unused]
    return sorted((kind for kind in found if kind.INDEX >> 16 in ours), key=lambda kind: kind.INDEX)


@st.composite
def some_method(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(methods()))
    method = kind()
    for name, default in vars(method).items():
        value = RESERVED[name] if name in RESERVED else draw(strategy(name, default))
        setattr(method, name, value)
    if isinstance(method, spec.Basic.Publish):
        method.immediate = False
    return method


@st.composite
def some_properties(draw: st.DrawFn) -> Any:
    texts = [
        "content_type",
        "content_encoding",
        "correlation_id",
        "reply_to",
        "expiration",
        "message_id",
        "type",
        "user_id",
    ]
    given: dict[str, Any] = {
        name: draw(SHORT) for name in draw(st.sets(st.sampled_from([*texts, "app_id", "cluster_id"])))
    }
    if draw(st.booleans()):
        given |= {"headers": draw(TABLES), "timestamp": draw(st.integers(0, 2**40))}
    if draw(st.booleans()):
        given |= {"delivery_mode": draw(st.integers(1, 2)), "priority": draw(st.integers(0, 255))}
    return spec.BasicProperties(**given)


def test_the_list_of_methods_is_the_specification_s() -> None:
    assert len(methods()) > 45


@given(method=some_method())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_methods_of_pika_are_read_and_written(mirror: Path, method: amqp_object.Method) -> None:
    written: bytes = frame.Method(7, method).marshal()
    again = mirrored(mirror, written)
    _, read = frame.decode_frame(again)
    assert isinstance(read, frame.Method)
    _, theirs = frame.decode_frame(written)
    assert (read.channel_number, vars(read.method)) == (7, vars(theirs.method))
    assert again == written


@given(properties=some_properties(), size=st.integers(0, 2**63))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_properties_of_pika_are_read_and_written(mirror: Path, properties: spec.BasicProperties, size: int) -> None:
    written: bytes = frame.Header(3, size, properties).marshal()
    again = mirrored(mirror, written)
    _, read = frame.decode_frame(again)
    assert isinstance(read, frame.Header)
    _, theirs = frame.decode_frame(written)
    assert (read.body_size, vars(read.properties)) == (size, vars(theirs.properties))
    assert again == written


@pytest.mark.parametrize("folder", ["task-amqp", "amqp"])
def test_captured_frames_are_read_and_written(mirror: Path, folder: str) -> None:
    """Byte for byte: Celery's client writes integers of 64 bits as `L`, the server and we as `l`."""
    seen = 0
    for name in names(folder):
        vector = load(folder, name)
        raws = vector["raw"] if isinstance(vector["raw"], list) else [vector["raw"]]
        if vector["raw_encoding"] != "base64":
            continue
        for raw in raws:
            frames = base64.b64decode(raw)
            for ours, theirs in zip(pieces(mirrored(mirror, frames)), pieces(frames), strict=True):
                if ours != theirs:
                    assert theirs[0] == 2  # the header
                    assert data_of(ours) == data_of(theirs)
                seen += 1
    assert seen >= 18


def data_of(header: bytes) -> dict[str, Any]:
    _, read = frame.decode_frame(header)
    return vars(read.properties)


@pytest.mark.parametrize(
    ("letter", "raw", "value"),
    [
        (b"b", b"\xff", -1),
        (b"B", b"\xff", 255),
        (b"U", b"\xff\xfe", -2),
        (b"u", b"\xff\xfe", 65534),
        (b"I", b"\xff\xff\xff\xfe", -2),
        (b"i", b"\xff\xff\xff\xfe", 2**32 - 2),
        (b"L", b"\xff" * 8, -1),
        (b"l", b"\xff" * 8, -1),
        (b"f", b"\x3f\x80\x00\x00", 1.0),
        (b"d", b"\x3f\xf0" + b"\0" * 6, 1.0),
        (b"x", b"\0\0\0\1\xff", b"\xff"),
        (b"V", b"", None),
    ],
)
def test_every_letter_has_its_value(mirror: Path, letter: bytes, raw: bytes, value: object) -> None:
    table = b"\x01k" + letter + raw
    payload = b"\x00\x3c\0\0" + b"\0" * 8 + b"\x20\x00" + len(table).to_bytes(4, "big") + table
    written = b"\x02\0\1" + len(payload).to_bytes(4, "big") + payload + b"\xce"
    again = mirrored(mirror, written)
    # `s` is a text to pika and a number to RabbitMQ, which is whom we write for.
    changed = {b"U": b"s", b"L": b"l"}.get(letter, letter)
    assert again == written.replace(b"\x01k" + letter, b"\x01k" + changed)
    if letter != b"U":
        assert data.decode_table(again, 21)[0] == {"k": value}
