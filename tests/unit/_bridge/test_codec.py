"""The registry of serializers and compressions: names, types, accept lists, limits."""

from __future__ import annotations

import builtins
import datetime as dt
import json
import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from celeriac._bridge import codec
from celeriac.exceptions import (
    ContentDisallowed,
    DecodeError,
    EncodeError,
    ImproperlyConfigured,
    SerializerNotInstalled,
)

BODY = [[1, "é"], {"k": None}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


def message(body: bytes, content_type: str, encoding: str = "utf-8", **headers: Any) -> codec.Message:
    return codec.Message.scan(
        codec.encode_envelope({"task": "t", "id": "i", **headers}, {}, body, content_type, encoding)
    )


@pytest.fixture
def upper() -> Iterator[str]:
    codec.register("upper", lambda text: text.upper(), lambda data: data.decode().lower(), "application/x-upper")
    yield "upper"
    codec.unregister("upper")


def test_registered_serializer_is_known_by_name_and_type(upper: str) -> None:
    assert codec.dumps("text", upper) == ("application/x-upper", "utf-8", b"TEXT")
    assert codec.loads(b"TEXT", "application/x-upper") == "text"
    assert codec.accept_types([upper]) == frozenset({"application/x-upper"})
    assert upper in codec.serializer_names()
    with pytest.raises(EncodeError, match="upper"):
        codec.dumps(1, upper)
    with pytest.raises(DecodeError):
        codec.loads(b"\xff", "application/x-upper")


def test_unregistered_serializer_is_gone(upper: str) -> None:
    codec.register("other", None, None, "application/x-other")
    codec.unregister("other")
    with pytest.raises(SerializerNotInstalled, match="other"):
        codec.unregister("other")
    with pytest.raises(SerializerNotInstalled, match="there are json"):
        codec.dumps(1, "other")
    with pytest.raises(ContentDisallowed, match="register"):
        codec.loads(b"1", "application/x-other")


def test_accept_list_holds_names_and_types() -> None:
    wanted = frozenset({"application/json", "application/x-own", "application/x-python-serialize"})
    assert codec.accept_types(["json", "application/x-own", "pickle"]) == wanted
    assert codec.accept_types(None) is None
    with pytest.raises(ImproperlyConfigured, match="jsno"):
        codec.accept_types(["jsno"])


def test_type_that_is_not_accepted_says_which_setting_to_change() -> None:
    with pytest.raises(ContentDisallowed, match=r"add 'pickle' to accept_content"):
        codec.loads(b"x", "application/x-python-serialize", "binary", codec.accept_types(["json"]))
    with pytest.raises(ContentDisallowed, match=r"add 'json' to accept_content"):
        codec.payload(message(codec.json_dumps(BODY), "application/json"), codec.accept_types(["msgpack"]))


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
@pytest.mark.parametrize("compression", [None, "gzip", "bzip2", "zstd", "lzma"])
def test_payload_in_every_serializer_and_compression(serializer: str, compression: str | None) -> None:
    content_type, encoding, data = codec.dumps(BODY, serializer)
    headers = {}
    if compression:
        data, headers["compression"] = codec.compress(data, compression)
    sent = message(data, content_type, encoding, **headers)
    assert list(codec.payload(sent, codec.accept_types([serializer]))) == BODY


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
def test_the_embed_of_a_task_without_callbacks_is_a_dict_of_its_own(separators: tuple[str, str]) -> None:
    embed: dict[str, object] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    text = json.dumps([[1], {}, embed, {**embed, "x": 1}], separators=separators)
    first, second = codec.json_loads(text), codec.json_loads(text)
    assert first == second == json.loads(text)
    assert list(first[2]) == ["callbacks", "errbacks", "chain", "chord"]
    first[2]["chain"] = ["changed"]
    assert second[2] == codec.json_loads(text)[2] == embed


def test_payload_of_protocol_1_and_hybrid() -> None:
    body = {"task": "old", "id": "1", "args": [1], "kwargs": {"a": 2}, "callbacks": [], "taskset": "g", "retries": 3}
    old = codec.Message.scan(codec.encode_envelope({}, {}, codec.json_dumps(body), "application/json", "utf-8"))
    assert (old.protocol, old.task, old.id, old.retries, old.group) == (1, "old", "1", 3, "g")
    assert old.headers() == {"task": "old", "id": "1", "retries": 3, "group": "g"}
    assert codec.payload(old)[:2] == ([1], {"a": 2})
    assert codec.payload(old)[2] == {"callbacks": [], "errbacks": None, "chain": None, "chord": None}
    hybrid = message(*codec.dumps({"args": [3]}, "pickle")[::-1][:1], "application/x-python-serialize", "binary")
    assert codec.payload(hybrid, codec.accept_types(["pickle"]))[:2] == ([3], {})


@pytest.mark.parametrize("body", [None, [], [1, 2], [1, 2, 3, 4], "abc", 5])
@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_body_of_another_shape_is_undecodable(body: Any, serializer: str) -> None:
    content_type, encoding, data = codec.dumps(body, serializer)
    with pytest.raises(DecodeError, match=r"a body is \[args, kwargs, embed\]"):
        codec.payload(message(data, content_type, encoding), codec.accept_types([serializer]))


@pytest.mark.parametrize("method", ["gzip", "bzip2", "zstd", "lzma", "brotli"])
def test_bomb_stops_at_the_limit(method: str) -> None:
    if method == "brotli":
        pytest.importorskip("brotli")
    data, content_type = codec.compress(bytes(20_000_000), method)
    with pytest.raises(DecodeError, match="longer than 1000 bytes"):
        codec.decompress(data, content_type, 1000)
    sent = message(data, "application/json", compression=content_type)
    with pytest.raises(DecodeError, match="longer than 5000 bytes"):
        codec.payload(sent, max_bytes=5000)


def test_body_in_another_encoding_is_read() -> None:
    text = '[["\u00e9"], {}, {}]'
    assert codec.payload(message(text.encode("latin-1"), "application/json", "latin-1"))[0] == ["é"]
    with pytest.raises(DecodeError):
        codec.payload(message(text.encode("latin-1"), "application/json", "utf-8"))
    with pytest.raises(DecodeError, match="martian"):
        codec.payload(message(text.encode(), "application/json", "martian"))


def test_missing_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name in {"yaml", "brotli"}:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SerializerNotInstalled, match=r"celeriac\[yaml\]"):
        codec.dumps(1, "yaml")
    with pytest.raises(SerializerNotInstalled, match=r"celeriac\[yaml\]"):
        codec.loads(b"1", "application/x-yaml", "utf-8", codec.accept_types(["yaml"]))
    with pytest.raises(ImproperlyConfigured, match=r"celeriac\[brotli\]"):
        codec.compress(b"1", "brotli")


def test_registered_compression_is_limited_afterwards() -> None:
    codec.register_compression(lambda data: data[::-1], lambda data: data[::-1], "application/x-mirror", ["mirror"])
    assert codec.compress(b"abc", "mirror") == (b"cba", "application/x-mirror")
    assert codec.decompress(b"cba", "application/x-mirror", 3) == b"abc"
    with pytest.raises(DecodeError, match="longer than"):
        codec.decompress(b"cba", "application/x-mirror", 2)


def test_text_body_is_not_put_in_base64_when_the_property_says_so() -> None:
    raw = codec.encode_envelope(
        {"task": "t", "id": "i"}, {"body_encoding": "utf-8"}, b'["\xc3\xa9"]', "text/x", "utf-8"
    )
    assert b'{"body": "[\\"\\u00e9\\"]"' in raw
    assert codec.Message.scan(raw).body() == '["é"]'.encode()
    with pytest.raises(EncodeError, match="UTF-8"):
        codec.encode_envelope({}, {"body_encoding": "utf-8"}, b"\xff", "text/x", "utf-8")


def test_envelope_takes_any_mapping_and_refuses_what_json_has_not() -> None:
    raw = codec.encode_envelope({"task": "t", "id": "i"}, {"priority": 3, "x": (1, 2)}, b"b", "c", "utf-8")
    assert codec.Message.scan(raw).properties() == {"priority": 3, "x": [1, 2], "body_encoding": "base64"}
    odd: list[tuple[Any, Any]] = [({"a": {1}}, {}), ({}, {"a": object()}), ({(): 1}, {})]
    for headers, properties in odd:
        with pytest.raises(EncodeError):
            codec.encode_envelope(headers, properties, b"b", "c", "utf-8")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ids_differ_in_a_forked_child() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, codec.new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 36).decode() != codec.new_id()
    os.close(read)
    os.close(write)


def test_importing_the_codec_loads_no_serializer_library() -> None:
    import subprocess

    text = (
        "import sys; import celeriac._bridge.codec; print([m for m in ('yaml', 'pickle', 'lzma') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_representation_of_odd_values() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError("no")

    class Quits:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    assert codec.bounded_repr((Fraction(1, 2), Decimal("1.5"), 1j)) == "(1/2, Decimal('1.5'), 1j)"
    assert codec.bounded_repr([Broken()]) == "[<unrepresentable Broken>]"
    assert codec.bounded_repr("\ud800") == "'\ufffd\ufffd\ufffd'"
    assert codec.bounded_repr([[[[1]]]], max_levels=10**9) == "[[[[1]]]]"
    assert len(codec.bounded_repr(["x" * 10**6] * 100, 50)) < 70
    with pytest.raises(KeyboardInterrupt):
        codec.bounded_repr([Quits()])


@pytest.mark.parametrize("args_chars", [None, 1024, 4])
@pytest.mark.parametrize("root_id", ["first", "elsewhere"])
def test_envelopes_of_one_model_are_those_made_one_by_one(args_chars: int | None, root_id: str) -> None:
    calls: list[tuple[Any, Any]] = [
        ((1, "tësting"), {}),
        ([], {"a": {"b": b"\x00"}}),
        ((dt.date(2026, 1, 2),), {}),
    ]
    ids, tags = ["first", 'se"cond', "third"], ["t1", "t2", "t3"]
    embed = {"callbacks": None, "chain": [{"task": "next"}]}
    headers: dict[str, object] = {"id": "first", "root_id": root_id, "argsrepr": "model", "kwargsrepr": "m", "x": [1.5]}
    properties: dict[str, object] = {"correlation_id": "first", "priority": 3, "delivery_tag": "old"}
    model = codec.EnvelopeModel(headers, properties, embed, args_chars, 1024)
    made = model.many(ids, tags, calls)
    expected = []
    for task_id, tag, (args, kwargs) in zip(ids, tags, calls, strict=True):
        own = {**headers, "id": task_id, "kwargsrepr": codec.bounded_repr(kwargs)}
        if root_id == "first":
            own["root_id"] = task_id
        if args_chars is not None:
            own["argsrepr"] = codec.bounded_repr(args, args_chars)
        _, _, body = codec.dumps((args, kwargs, embed), "json")
        sent = {**properties, "correlation_id": task_id, "delivery_tag": tag}
        expected.append(codec.encode_envelope(own, sent, body, "application/json", "utf-8"))
    assert made == expected
    rows = zip(ids, tags, calls, strict=True)
    assert [model.one(task_id, tag, args, kwargs) for task_id, tag, (args, kwargs) in rows] == expected


def test_envelopes_of_one_model_refuse_what_cannot_be_encoded() -> None:
    with pytest.raises(EncodeError, match="complex"):
        codec.EnvelopeModel({"id": "a"}, {}, {}, 10, 10).many(["a"], ["t"], [((1j,), {})])
    with pytest.raises(ValueError, match="differ in length"):
        codec.EnvelopeModel({"id": "a"}, {}, {}, 10, 10).many(["a"], ["t", "u"], [((), {})])
