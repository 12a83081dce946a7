"""Compression by content type or alias: zlib, bzip2 and zstd in the core, xz and brotli in Python.

Every decompressor has a limit on its output: a kilobyte of hostile input may otherwise become gigabytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import _core
from celeriac.exceptions import DecodeError, EncodeError, ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["compress", "decompress", "register_compression"]

# Input given to a decompressor that cannot limit its output by itself, in bytes.
_CHUNK = 256

_aliases: dict[str, str] = {}
_encoders: dict[str, Callable[[bytes], bytes]] = {}
_decoders: dict[str, Callable[[bytes, int], bytes]] = {}


def register_compression(
    encoder: Callable[[bytes], bytes],
    decoder: Callable[[bytes], bytes],
    content_type: str,
    aliases: tuple[str, ...] | list[str] = (),
) -> None:
    """Adds a method. As `kombu.compression.register`; its output is limited only after the fact."""

    def limited(data: bytes, max_bytes: int) -> bytes:
        return _checked(decoder(data), max_bytes)

    _add(content_type, tuple(aliases), encoder, limited)


def compress(data: bytes, method: str) -> tuple[bytes, str]:
    """`(compressed, content type)`; the content type is what the header `compression` holds.

    Raises:
        ImproperlyConfigured: there is no such method, or its library is missing.
        EncodeError: the library refused.
    """
    content_type = _content_type(method)
    if content_type is None:
        known = ", ".join(sorted(_aliases))
        raise ImproperlyConfigured(f"no compression method is called {method!r}; there are {known}")
    try:
        return _encoders[content_type](data), content_type
    except (EncodeError, ImproperlyConfigured):
        raise
    except Exception as error:
        raise EncodeError(f"{content_type}: {error}") from error


def decompress(data: bytes, method: str, max_bytes: int) -> bytes:
    """The bytes that were compressed.

    Raises:
        DecodeError: unknown method, damaged data, or more than `max_bytes` bytes of output.
        ImproperlyConfigured: the method's library is missing.
    """
    content_type = _content_type(method)
    if content_type is None:
        raise DecodeError(f"unknown compression {method!r}")
    try:
        return _decoders[content_type](data, max_bytes)
    except (DecodeError, ImproperlyConfigured):
        raise
    except Exception as error:
        raise DecodeError(f"{content_type}: {error}") from error


def _content_type(method: str) -> str | None:
    return method if method in _decoders else _aliases.get(method)


def _add(
    content_type: str,
    aliases: tuple[str, ...],
    encoder: Callable[[bytes], bytes],
    decoder: Callable[[bytes, int], bytes],
) -> None:
    _encoders[content_type] = encoder
    _decoders[content_type] = decoder
    _aliases.update(dict.fromkeys(aliases, content_type))


def _checked(data: bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise DecodeError(f"the decompressed data is longer than {max_bytes} bytes")
    return data


def _add_core(content_type: str, aliases: tuple[str, ...]) -> None:
    def encoder(data: bytes) -> bytes:
        return _core.compress(data, content_type)

    def decoder(data: bytes, max_bytes: int) -> bytes:
        return _core.decompress(data, content_type, max_bytes)

    _add(content_type, aliases, encoder, decoder)


def _xz_encode(data: bytes) -> bytes:
    import lzma

    return lzma.compress(data)


def _xz_decode(data: bytes, max_bytes: int) -> bytes:
    import lzma

    output = b""
    while data:  # streams may follow each other
        stream = lzma.LZMADecompressor()
        output += stream.decompress(data, max_bytes + 1 - len(output))
        _checked(output, max_bytes)
        if not stream.eof:
            raise DecodeError("application/x-lzma: the data ends before its end marker")
        data = stream.unused_data
    return output


def _brotli() -> Any:
    try:
        import brotli
    except ImportError:
        raise ImproperlyConfigured(
            "compression 'brotli' needs a library\nhint: pip install 'celeriac[brotli]'"
        ) from None
    return brotli


def _brotli_encode(data: bytes) -> bytes:
    compressed: bytes = _brotli().compress(data)
    return compressed


def _brotli_decode(data: bytes, max_bytes: int) -> bytes:
    stream = _brotli().Decompressor()
    parts: list[bytes] = []
    total = 0
    for start in range(0, len(data), _CHUNK):
        part: bytes = stream.process(data[start : start + _CHUNK])
        total += len(part)
        if total > max_bytes:
            raise DecodeError(f"the decompressed data is longer than {max_bytes} bytes")
        parts.append(part)
    if not stream.is_finished():
        raise DecodeError("application/x-brotli: the data ends too early")
    return b"".join(parts)


_add_core("application/x-gzip", ("gzip", "zlib"))  # Kombu's name for a zlib stream
_add_core("application/x-bz2", ("bzip2", "bzip"))
_add_core("application/zstd", ("zstd", "zstandard"))
_add("application/x-lzma", ("lzma", "xz"), _xz_encode, _xz_decode)
_add("application/x-brotli", ("brotli",), _brotli_encode, _brotli_decode)
