"""Values of call options: what no reader of the message could use is refused where it was written.

Celery sends such values; a worker then drops the message, or exits (docs/protocol.md).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["check_option_values", "check_task_id", "check_task_name"]

_PRIORITIES = range(256)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_priority(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _PRIORITIES


def _is_moment(value: Any) -> bool:
    return isinstance(value, (dt.datetime, str))


def _is_expiry(value: Any) -> bool:
    return _is_number(value) or isinstance(value, dt.timedelta) or _is_moment(value)


def _is_queue(value: Any) -> bool:
    return isinstance(value, str) or hasattr(value, "name")


def _are_signatures(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, (list, tuple)) and all(isinstance(s, dict) for s in value))


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "countdown": (_is_number, "a number of seconds"),
    "eta": (_is_moment, "a datetime or ISO 8601 text"),
    "expires": (_is_expiry, "a number of seconds, a timedelta, a datetime or ISO 8601 text"),
    "headers": (lambda value: isinstance(value, Mapping), "a mapping"),
    "link": (_are_signatures, "a signature or a list of them"),
    "link_error": (_are_signatures, "a signature or a list of them"),
    "priority": (_is_priority, "a whole number from 0 to 255"),
    "queue": (_is_queue, "a name or a Queue"),
    "retries": (_is_count, "a whole number"),
    "soft_time_limit": (_is_number, "a number of seconds"),
    "time_limit": (_is_number, "a number of seconds"),
}


def check_option_values(options: Mapping[str, Any]) -> None:
    """Lets None pass, and options without a rule.

    Raises:
        TypeError: a value that the option cannot have; the text says what it can.
    """
    for name in _RULES.keys() & options.keys():
        value = options[name]
        fits, wanted = _RULES[name]
        if value is not None and not fits(value):
            raise TypeError(f"option {name!r}: expected {wanted}, got {value!r}")


def check_task_id(task_id: Any) -> None:
    """Raises TypeError for an id that is no text: its result could never be found."""
    if not isinstance(task_id, str) or not task_id:
        raise TypeError(f"option 'task_id': expected text that is not empty, got {task_id!r}")


def check_task_name(name: Any) -> None:
    """Raises TypeError for a name that is no text: no worker could tell which task is meant."""
    if not isinstance(name, str) or not name:
        own = getattr(name, "name", None)
        hint = f": write {own!r}" if isinstance(own, str) else ""
        raise TypeError(f"send_task: expected the task's name, got {name!r}{hint}")
