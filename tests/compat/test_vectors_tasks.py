"""Every task message captured from Celery: read, compared with its parts, and written again byte by byte."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from celeriac._bridge import codec
from tests.compat.vectors_reader import Captured, amqp_body, messages, names, shown

ACCEPT = codec.accept_types(["json", "msgpack", "yaml", "pickle"])
NAMES = {
    "application/json": "json",
    "application/x-msgpack": "msgpack",
    "application/x-yaml": "yaml",
    "application/x-python-serialize": "pickle",
}
# Libraries may write other bytes for the same content from one version to the next.
SAME_BYTES_COMPRESSED = {"application/x-bz2"}


def cases(folder: str) -> list[Any]:
    return [
        pytest.param(captured, id=f"{name}-{index}")
        for name in names(folder)
        for index, captured in enumerate(messages(folder, name))
    ]


@pytest.mark.parametrize("captured", cases("task-redis"))
def test_redis_message_is_read_and_written_again(captured: Captured) -> None:
    envelope = captured.decoded["envelope"]
    message = codec.Message.scan(captured.raw)
    assert message.raw == captured.raw
    assert message.properties() == envelope["properties"]
    assert message.content_type == envelope["content-type"]
    assert message.content_encoding == envelope["content-encoding"]
    assert message.priority == envelope["properties"]["priority"]
    headers = envelope["headers"]
    if "task" in headers:
        assert message.protocol == 2
        assert message.headers() == headers
        assert (message.id, message.task) == (headers["id"], headers["task"])
        assert (message.retries, message.ignore_result) == (headers["retries"], headers["ignore_result"])
        assert (message.eta_ms is None) == (headers["eta"] is None)
        assert (message.expires_ms is None) == (headers["expires"] is None)
        assert message.compression == headers.get("compression")
    else:
        body = captured.decoded["body"]
        assert message.protocol == 1
        assert (message.id, message.task, message.retries) == (body["id"], body["task"], body["retries"])
        assert (message.expires_ms is None) == (body["expires"] is None)
        assert message.headers()["timelimit"] == body["timelimit"]
        assert not {"args", "kwargs", "callbacks"} & message.headers().keys()
    written = codec.encode_envelope(
        envelope["headers"],
        {key: value for key, value in envelope["properties"].items() if key != "body_encoding"},
        message.body(),
        message.content_type,
        message.content_encoding,
    )
    assert written == captured.raw
    check_body(message, captured.decoded["body"])


@pytest.mark.parametrize("captured", cases("task-amqp"))
def test_amqp_message_is_read_and_written_again(captured: Captured) -> None:
    body = amqp_body(captured.raw)
    properties = dict(captured.decoded["properties"])
    content_type, encoding = properties.pop("content_type"), properties.pop("content_encoding")
    headers = captured.decoded["headers"]
    message = codec.Message.scan(codec.encode_envelope(headers, properties, body, content_type, encoding))
    assert message.body() == body
    assert message.properties() == {**properties, "body_encoding": "base64"}
    assert message.protocol == (2 if "task" in headers else 1)
    if message.protocol == 2:
        assert message.headers() == headers
    assert message.task == (headers or captured.decoded["body"])["task"]
    check_body(message, captured.decoded["body"])


def check_body(message: codec.Message, decoded: Any) -> None:
    """The body decodes to `decoded`, and the same value gives the same bytes again."""
    name = NAMES[message.content_type]
    data = message.body()
    if message.compression is not None:
        if message.compression == "application/x-brotli":
            pytest.importorskip("brotli")
        compressed, data = data, codec.decompress(data, message.compression, 1 << 20)
        again, method = codec.compress(data, message.compression)
        assert method == message.compression
        assert codec.decompress(again, method, 1 << 20) == data
        if method in SAME_BYTES_COMPRESSED:
            assert again == compressed
    value = codec.loads(data, message.content_type, message.content_encoding, ACCEPT)
    content_type, encoding, written = codec.dumps(value, name)
    assert (content_type, encoding) == (message.content_type, message.content_encoding)
    if name == "json":
        assert written == data
        assert json.loads(written) == decoded  # tags shown as they stand on the wire
    else:
        assert shown(value) == decoded
        assert shown(codec.loads(written, content_type, encoding, ACCEPT)) == decoded
        if name == "msgpack":
            assert written == data
    args, kwargs, embed = codec.payload(message, ACCEPT)
    if message.protocol == 2:
        assert [args, kwargs, embed] == list(value)
    else:
        assert (args, kwargs) == (value["args"], value["kwargs"])
        assert embed["callbacks"] == value["callbacks"]
    if name == "json" and message.compression is None:
        assert tuple(message.json_payload()) == (args, kwargs, embed)


def test_base64_of_a_body_is_the_standard_librarys() -> None:
    for length in range(70):
        body = bytes(range(length))
        message = codec.Message.scan(
            codec.encode_envelope({"task": "t", "id": "i"}, {}, body or b"0", "application/data", "binary")
        )
        assert json.loads(message.raw)["body"] == base64.b64encode(body or b"0").decode()
