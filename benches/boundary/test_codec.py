"""The codec beside the libraries it replaces, for a plain task's message (`add.delay(2, 3)`).

Budget: envelope written 3 µs, scanned 1 µs, body read 1.5 µs; five times the standard library's json.
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import pytest

from benches.boundary.messages import envelope, headers, properties
from celeriac import _core

BODY: list[Any] = [[2, 3], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
LARGE: list[Any] = [[list(range(300)), {f"key{i}": "some words é " * 5 for i in range(60)}], {}, BODY[2]]
BODIES = pytest.mark.parametrize("value", [BODY, LARGE], ids=["plain", "6kB"])


def stdlib_envelope(head: dict[str, object], props: dict[str, object], body: bytes) -> bytes:
    parts = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": head,
        "properties": props,
    }
    return json.dumps(parts).encode()


def test_encode_envelope(benchmark) -> None:
    parts = headers("id"), properties("id"), _core.json_dumps(BODY)
    benchmark(_core.encode_envelope, *parts, "application/json", "utf-8")


def test_encode_envelope_stdlib(benchmark) -> None:
    benchmark(stdlib_envelope, headers("id"), properties("id"), json.dumps(BODY).encode())


def test_scan(benchmark) -> None:
    benchmark(_core.Message.scan, envelope())


def test_scan_stdlib(benchmark) -> None:
    """The standard library has no scan: it builds every header."""
    benchmark(json.loads, envelope())


def test_payload(benchmark) -> None:
    """base64, JSON and the three parts, in one call."""
    benchmark(_core.Message.scan(envelope()).json_payload)


def test_payload_stdlib(benchmark) -> None:
    text = json.loads(envelope())["body"]
    benchmark(lambda: json.loads(base64.b64decode(text)))


def test_headers(benchmark) -> None:
    benchmark(_core.Message.scan(envelope()).headers)


@BODIES
def test_json_loads(benchmark, value: Any) -> None:
    benchmark(_core.json_loads, json.dumps(value).encode())


@BODIES
def test_json_loads_stdlib(benchmark, value: Any) -> None:
    benchmark(json.loads, json.dumps(value).encode())


@BODIES
def test_json_dumps(benchmark, value: Any) -> None:
    benchmark(_core.json_dumps, value)


@BODIES
def test_json_dumps_stdlib(benchmark, value: Any) -> None:
    benchmark(json.dumps, value)


@BODIES
def test_msgpack_loads(benchmark, value: Any) -> None:
    benchmark(_core.msgpack_loads, _core.msgpack_dumps(value))


@BODIES
def test_msgpack_loads_library(benchmark, value: Any) -> None:
    msgpack = pytest.importorskip("msgpack")
    benchmark(msgpack.unpackb, _core.msgpack_dumps(value))


@BODIES
def test_msgpack_dumps(benchmark, value: Any) -> None:
    benchmark(_core.msgpack_dumps, value)


@BODIES
def test_msgpack_dumps_library(benchmark, value: Any) -> None:
    msgpack = pytest.importorskip("msgpack")
    benchmark(msgpack.packb, value)


def test_bounded_repr(benchmark) -> None:
    benchmark(_core.bounded_repr, (2, 3))


def test_new_id(benchmark) -> None:
    benchmark(_core.new_id)


def test_new_id_stdlib(benchmark) -> None:
    benchmark(lambda: str(uuid.uuid4()))
