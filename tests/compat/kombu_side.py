"""Runs in the environment that has Celery: answers the questions of `test_kombu_differential.py` in bulk.

stdin and stdout are pickles of plain values, so that nothing of the codecs under test stands between the two sides.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

from celery.utils.saferepr import saferepr
from celery.utils.time import maybe_iso8601
from kombu.serialization import dumps, enable_insecure_serializers, loads
from kombu.utils.json import loads as json_loads

enable_insecure_serializers()


def write(value: Any, serializer: str) -> Any:
    content_type, encoding, data = dumps(value, serializer)
    return content_type, encoding, data.encode() if isinstance(data, str) else data


def read(data: bytes, content_type: str, encoding: str) -> Any:
    return loads(data, content_type, encoding)


def date(text: str) -> Any:
    made = maybe_iso8601(text)
    return made.isoformat()


def text(data: bytes) -> Any:
    return json_loads(data)


def represent(value: Any, max_chars: int, max_levels: int) -> str:
    return saferepr(value, max_chars, max_levels)


QUESTIONS: dict[str, Callable[..., Any]] = {
    "write": write,
    "read": read,
    "date": date,
    "text": text,
    "represent": represent,
}


def answer(question: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        return True, QUESTIONS[question](*arguments)
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    questions = pickle.load(sys.stdin.buffer)
    pickle.dump([answer(name, arguments) for name, arguments in questions], sys.stdout.buffer, protocol=4)
