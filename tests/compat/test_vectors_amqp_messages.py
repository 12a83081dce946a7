"""Messages that real Celery sent through RabbitMQ: read to the same values, and written to the same bytes."""

from __future__ import annotations

import base64
import calendar
import datetime as dt
from typing import Any, NamedTuple

import pytest

from celeriac._bridge.codec import Message, encode_content
from tests.compat.vectors_reader import load, messages, names

BASIC_DELIVER = 60


class Frames(NamedTuple):
    """What the frames of one `basic.publish` or `basic.deliver` carry."""

    method: int
    properties: bytes
    body: bytes


def frames(raw: bytes) -> Frames:
    method, properties, body, at = 0, b"", b"", 0
    while at < len(raw):
        kind, size = raw[at], int.from_bytes(raw[at + 3 : at + 7], "big")
        payload = raw[at + 7 : at + 7 + size]
        if kind == 1:
            method = int.from_bytes(payload[2:4], "big")
        elif kind == 2:
            properties = payload[12:]
        else:
            body += payload
        at += size + 8
    return Frames(method, properties, body)


def content(args: dict[str, Any], properties: bytes, body: bytes) -> bytes:
    """The message in the form in which a transport hands it over (celeriac_protocol::amqp::content)."""
    exchange, key = args["exchange"].encode(), args["routing_key"].encode()
    flags = 2 if args.get("redelivered") else 0
    return (
        bytes([1, flags, len(exchange)]) + exchange + bytes([len(key)]) + key
        + len(properties).to_bytes(4, "big") + properties + body
    )  # fmt: skip


CASES = [("task-amqp", name) for name in names("task-amqp")] + [
    ("amqp", name) for name in names("amqp") if name.startswith("delayed-") and "below" not in name
]


@pytest.mark.parametrize(("folder", "name"), CASES, ids=[name for _, name in CASES])
def test_a_message_is_read_as_it_was_sent(folder: str, name: str) -> None:
    read = 0
    for captured in messages(folder, name):
        parts, told = frames(captured.raw), captured.decoded
        if "properties" not in told:
            continue
        message = Message.scan(content(told["args"], parts.properties, parts.body))
        headers, properties = told["headers"] or {}, dict(told["properties"])
        if headers:
            assert shown(message.headers()) == headers
            assert (message.id, message.task, message.protocol) == (headers["id"], headers["task"], 2)
            assert message.retries == headers["retries"]
            assert (message.eta_ms is None) == (headers["eta"] is None)
            assert (message.expires_ms is None) == (headers["expires"] is None)
        else:
            assert message.protocol == 1
        assert message.content_type == properties.pop("content_type")
        assert message.content_encoding == properties.pop("content_encoding")
        assert message.priority == 9 - min(9, properties.get("priority", 0))
        given = message.properties()
        info = given.pop("delivery_info")
        assert given == properties
        assert info == {key: told["args"][key] for key in ("exchange", "routing_key")}
        assert message.body() == parts.body
        read += 1
    assert read or load(folder, name)["raw"] == []


@pytest.mark.parametrize(("folder", "name"), CASES, ids=[name for _, name in CASES])
def test_a_message_is_written_in_the_same_bytes(folder: str, name: str) -> None:
    for captured in messages(folder, name):
        parts, told = frames(captured.raw), captured.decoded
        if "properties" not in told or parts.method == BASIC_DELIVER:
            continue
        properties = dict(told["properties"])
        kinds = properties.pop("content_type"), properties.pop("content_encoding")
        properties["delivery_info"] = {key: told["args"][key] for key in ("exchange", "routing_key")}
        # Members that only an envelope has are no properties of AMQP.
        properties |= {"body_encoding": "base64", "delivery_tag": "0"}
        made = encode_content(told["headers"] or {}, properties, parts.body, *kinds)
        assert made == content(told["args"], parts.properties, parts.body)


def shown(value: Any) -> Any:
    """Bytes and dates as the vectors show them."""
    if isinstance(value, dt.datetime):
        return calendar.timegm(value.utctimetuple())
    if isinstance(value, bytes):
        return {"$base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: shown(member) for name, member in value.items()}
    return [shown(member) for member in value] if isinstance(value, list) else value
