"""Reads the golden messages of `tests/compat/vectors`."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

VECTORS = Path(__file__).parent / "vectors"


class Captured(NamedTuple):
    """One message as it was captured, and the same taken apart."""

    raw: bytes
    decoded: dict[str, Any]


def names(folder: str) -> list[str]:
    """The cases of a folder. Fails when there are none: an empty test run must not pass."""
    found = sorted(path.stem for path in (VECTORS / folder).glob("*.json"))
    if not found:
        raise FileNotFoundError(f"no vectors in {VECTORS / folder}")
    return found


def load(folder: str, name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((VECTORS / folder / f"{name}.json").read_text("utf-8"))
    return data


def messages(folder: str, name: str) -> Iterator[Captured]:
    """Every message of a case."""
    data = load(folder, name)
    raws, decoded, encodings = data["raw"], data["decoded"], data["raw_encoding"]
    if isinstance(raws, str):
        raws, decoded = [raws], [decoded]
    if isinstance(encodings, str):
        encodings = [encodings] * len(raws)
    for raw, parts, encoding in zip(raws, decoded, encodings, strict=True):
        yield Captured(base64.b64decode(raw) if encoding == "base64" else raw.encode(), parts)


def amqp_body(frames: bytes) -> bytes:
    """The content of the body frames of one publication."""
    body, at = b"", 0
    while at < len(frames):
        kind, size = frames[at], int.from_bytes(frames[at + 3 : at + 7], "big")
        if kind == 3:
            body += frames[at + 7 : at + 7 + size]
        assert frames[at + 7 + size] == 0xCE
        at += size + 8
    return body


def shown(value: Any) -> Any:
    """`value` in the form in which the vectors' member `decoded` shows it."""
    if isinstance(value, dict):
        return {str(key): shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return {"$set": sorted(repr(item) for item in value)}
    if isinstance(value, bytes):
        try:
            return {"$bytes": value.decode()}
        except UnicodeDecodeError:
            return {"$base64": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return {"$repr": repr(value), "$type": type(value).__name__}
