"""Serializers, compression and message bytes, by name and by content type.

json and msgpack are the core's; yaml and pickle are Python's. Which content types a reader accepts is always the
caller's decision (`accept_content`); types that can run code or are not Celery's default are refused without it.

Source: `kombu.serialization` and `kombu.compression`, whose names and content types are on the wire
(docs/protocol.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from celeriac import _core
from celeriac._bridge._compression import compress, decompress, register_compression
from celeriac._core import EnvelopeModel, Message, bounded_repr, encode_content, encode_envelope, new_id, new_ids
from celeriac.exceptions import (
    ContentDisallowed,
    DecodeError,
    EncodeError,
    ImproperlyConfigured,
    SerializerNotInstalled,
)

__all__ = [
    "DEFAULT_MAX_BYTES",
    "EnvelopeModel",
    "Message",
    "SerializerNotInstalled",
    "accept_types",
    "bounded_repr",
    "compress",
    "content_type_of",
    "decompress",
    "dumps",
    "encode_content",
    "encode_envelope",
    "json_dumps",
    "json_loads",
    "loads",
    "new_id",
    "new_ids",
    "payload",
    "register",
    "register_compression",
    "register_type",
    "serializer_names",
    "unregister",
    "unregister_type",
]

DEFAULT_MAX_BYTES = 256 << 20
"""Longest body that is decompressed unless the caller says otherwise, in bytes."""

# Refused by nobody: these are bytes or text that nothing is run or built from.
_TRUSTED = frozenset({"application/data", "application/text"})
_JSON = "application/json"
# Encodings of content that is not text.
_BINARY = frozenset({"binary", "ascii-8bit"})
_PICKLE_PROTOCOL = int(os.environ.get("PICKLE_PROTOCOL", "4"))

json_dumps = _core.json_dumps
json_loads = _core.json_loads


class _Serializer(NamedTuple):
    name: str
    content_type: str
    content_encoding: str
    encode: Callable[[Any], bytes | str] | None
    decode: Callable[[bytes], object] | None
    by_default: bool
    """Read without being named in an accept list."""


_by_name: dict[str, _Serializer] = {}
_by_type: dict[str, _Serializer] = {}


def register(
    name: str,
    encoder: Callable[[Any], bytes | str] | None,
    decoder: Callable[[Any], object] | None,
    content_type: str,
    content_encoding: str = "utf-8",
    *,
    by_default: bool = True,
) -> None:
    """Adds a serializer, or replaces the one of that name. As `kombu.serialization.register`.

    Args:
        name: for `task_serializer`, `accept_content` and so on.
        encoder: value to bytes (or text); None for a serializer that only reads.
        decoder: bytes to value; None for one that only writes.
        content_type: goes with the message.
        content_encoding: goes with the message; "binary" when the bytes are not text.
        by_default: read it where no accept list was given.
    """
    made = _Serializer(name, content_type, content_encoding, encoder, decoder, by_default)
    _by_name[name] = made
    _by_type[content_type] = made


def unregister(name: str) -> None:
    """Removes a serializer.

    Raises:
        SerializerNotInstalled: there is none of that name.
    """
    made = _by_name.pop(name, None)
    if made is None:
        raise SerializerNotInstalled(_unknown(name))
    if _by_type.get(made.content_type) is made:
        del _by_type[made.content_type]


def register_type(
    kind: type,
    marker: str | None,
    encoder: Callable[[Any], object],
    decoder: Callable[[Any], object] = lambda value: value,
) -> None:
    """Teaches JSON a type: written as `{"__type__": marker, "__value__": encoder(value)}` and read with `decoder`.

    With `marker` None it is written as what `encoder` returns, and read as that.
    As `kombu.utils.json.register_type`; types are tried by isinstance in the order of their first registration.
    """
    _core.json_register(kind, marker, encoder, decoder)


def unregister_type(marker: str | None) -> bool:
    """Forgets what `register_type` added under `marker`. False if there was nothing."""
    return _core.json_unregister(marker)


def serializer_names() -> list[str]:
    """The names that `dumps` knows."""
    return sorted([*_by_name, "raw"])


def content_type_of(serializer: str) -> str:
    """The content type of a serializer's messages.

    Raises:
        SerializerNotInstalled: there is none of that name.
    """
    if serializer == "raw":
        return "application/data"
    return _named(serializer).content_type


def accept_types(names: Iterable[str] | None) -> frozenset[str] | None:
    """The content types of an accept list, which holds names of serializers or content types. None stays None.

    Raises:
        ImproperlyConfigured: a name (an entry without "/") that no serializer has.
    """
    if names is None:
        return None
    types = set()
    for name in names:
        if "/" in name:
            types.add(name)
        elif name in _by_name or name == "raw":
            types.add(content_type_of(name))
        else:
            raise ImproperlyConfigured(
                f"accept_content: {_unknown(name)}\nhint: name a serializer that is registered, or a content type"
            )
    return frozenset(types)


def dumps(value: object, serializer: str | None = None) -> tuple[str, str, bytes]:
    """`(content_type, content_encoding, bytes)` of a value.

    Without a serializer, bytes and text pass as they are and everything else becomes JSON.

    Raises:
        SerializerNotInstalled: there is no serializer of that name, or its library is missing.
        EncodeError: the serializer cannot hold the value.
    """
    if serializer == "json":
        return _JSON, "utf-8", _core.json_dumps(value)
    if serializer == "raw" or not serializer:
        if isinstance(value, bytes):
            return "application/data", "binary", value
        if isinstance(value, str):
            return "application/data" if serializer else "text/plain", "utf-8", value.encode()
        if serializer:
            raise EncodeError(f"serializer 'raw' takes bytes or text, not {type(value).__name__}")
        return _JSON, "utf-8", _core.json_dumps(value)
    found = _named(serializer)
    if found.encode is None:
        raise EncodeError(f"serializer {serializer!r} can only read")
    try:
        data = found.encode(value)
    except (EncodeError, SerializerNotInstalled):
        raise
    except Exception as error:
        raise EncodeError(str(error) or type(error).__name__) from error
    return found.content_type, found.content_encoding, data.encode() if isinstance(data, str) else data


def loads(
    data: bytes,
    content_type: str | None,
    content_encoding: str | None = "utf-8",
    accept: frozenset[str] | None = None,
) -> Any:
    """The value of `data`.

    Args:
        data: as `dumps` made it, decompressed.
        content_type: None means `application/data`.
        content_encoding: of content that no serializer decodes; None means utf-8.
        accept: content types (see `accept_types`) that may be decoded; None for JSON and what was registered by hand.

    Raises:
        ContentDisallowed: the type is not accepted, or nobody knows it; says what to change.
        DecodeError: the bytes are not what the type says.
    """
    content_type = content_type or "application/data"
    found = _by_type.get(content_type)
    if content_type not in _TRUSTED:
        if accept is not None:
            allowed = content_type in accept
        else:
            allowed = found is None or found.by_default
        if not allowed:
            raise ContentDisallowed(_refusal(content_type, found))
    if not data:
        return data
    if found is not None and found.decode is not None:
        try:
            return found.decode(data)
        except (DecodeError, SerializerNotInstalled):
            raise
        except Exception as error:
            raise DecodeError(str(error) or type(error).__name__) from error
    if found is None and content_type not in _TRUSTED and not content_type.startswith("text/"):
        raise ContentDisallowed(_refusal(content_type, None))
    encoding = (content_encoding or "utf-8").lower()
    if encoding in _BINARY:
        return data
    try:
        return data.decode(encoding)
    except (LookupError, UnicodeDecodeError) as error:
        raise DecodeError(f"content encoding {encoding!r}: {error}") from error


def payload(
    message: Message, accept: frozenset[str] | None = None, max_bytes: int = DEFAULT_MAX_BYTES
) -> tuple[Any, Any, Any]:
    """`(args, kwargs, embed)` of a task message in any serialization, compression and protocol.

    `args` and `kwargs` are what the sender sent, of whatever type: the tracer judges them.

    Raises:
        ContentDisallowed: see `loads`.
        DecodeError: the body cannot be read, is longer than `max_bytes`, or is no task's body.
    """
    content_type = message.content_type
    compression = message.compression
    if compression is None and content_type == _JSON and (accept is None or _JSON in accept):
        return message.json_payload()
    data = message.body()
    if compression is not None:
        data = decompress(data, compression, max_bytes)
    return _parts(loads(data, content_type, message.content_encoding, accept))


def _parts(body: object) -> tuple[Any, Any, Any]:
    if isinstance(body, (list, tuple)) and len(body) == 3:
        return body[0], body[1], body[2]
    if isinstance(body, Mapping):
        embed = {key: body.get(key) for key in ("callbacks", "errbacks", "chord")}
        return body.get("args", ()), body.get("kwargs", {}), {**embed, "chain": None}
    what = f"a sequence of {len(body)}" if isinstance(body, (list, tuple)) else type(body).__name__
    raise DecodeError(f"a body is [args, kwargs, embed], not {what}")


def _named(serializer: str) -> _Serializer:
    try:
        return _by_name[serializer]
    except KeyError:
        raise SerializerNotInstalled(_unknown(serializer)) from None


def _unknown(name: str) -> str:
    return f"no serializer is called {name!r}; there are {', '.join(serializer_names())}"


def _refusal(content_type: str, found: _Serializer | None) -> str:
    if found is None:
        return (
            f"no serializer reads content type {content_type!r}\n"
            "hint: register a serializer for it (kombu.serialization.register in Celery), then add it to accept_content"
        )
    return (
        f"content type {content_type!r} ({found.name}) is not in the accept list\n"
        f"hint: add {found.name!r} to accept_content (result_accept_content for results) if you trust the senders"
    )


def _yaml() -> Any:
    try:
        import yaml
    except ImportError:
        raise SerializerNotInstalled("serializer 'yaml' needs PyYAML\nhint: pip install 'celeriac[yaml]'") from None
    return yaml


def _yaml_encode(value: object) -> bytes:
    text: str = _yaml().safe_dump(value)
    return text.encode()


def _yaml_decode(data: bytes) -> object:
    return _yaml().safe_load(data)


def _pickle_encode(value: object) -> bytes:
    import pickle

    return pickle.dumps(value, protocol=_PICKLE_PROTOCOL)


def _pickle_decode(data: bytes) -> object:
    import pickle

    return pickle.loads(data)  # noqa: S301 - only when the reader's accept list names it


register("json", _core.json_dumps, _core.json_loads, _JSON, "utf-8")
register("msgpack", _core.msgpack_dumps, _core.msgpack_loads, "application/x-msgpack", "binary", by_default=False)
register("yaml", _yaml_encode, _yaml_decode, "application/x-yaml", "utf-8", by_default=False)
register("pickle", _pickle_encode, _pickle_decode, "application/x-python-serialize", "binary", by_default=False)
