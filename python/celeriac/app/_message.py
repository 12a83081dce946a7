"""One task message being made: headers, properties, body, destination (protocol 2; docs/protocol.md)."""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

from celeriac._forks import forks
from celeriac.utils.nodenames import gethostname
from celeriac.utils.time import maybe_iso8601, to_ms

__all__ = ["Outgoing", "eta_and_due", "expiry", "origin"]

INT_MIN = -2147483648
"""Least countdown, as in Celery."""

_origin: tuple[int, str] | None = None


def origin() -> str:
    """``gen<pid>@<host>``."""
    global _origin
    if _origin is None or _origin[0] != forks.count:
        _origin = forks.count, f"gen{os.getpid()}@{gethostname()}"
    return _origin[1]


class Outgoing:
    """A message before it is encoded; receivers of `before_task_publish` may change its parts in place."""

    __slots__ = (
        "args",
        "body",
        "compression",
        "declare",
        "due_ms",
        "eta",
        "exchange",
        "headers",
        "kwargs",
        "mandatory",
        "properties",
        "routing_key",
        "serializer",
    )

    headers: dict[str, Any]
    properties: dict[str, Any]
    body: tuple[Any, Any, dict[str, Any]]
    exchange: str
    routing_key: str
    due_ms: int | None
    mandatory: bool
    serializer: str
    compression: str | None
    args: Any
    kwargs: Any
    eta: str | None
    declare: list[Any]


def eta_and_due(countdown: Any, eta: Any, now: dt.datetime) -> tuple[str | None, int | None]:
    """The header ``eta`` and when the message may leave the broker, ms since the epoch.

    Args:
        countdown: seconds from `now`; wins over `eta`; 0 counts as none.
        eta: datetime or ISO text. A naive one is sent as it is and read in the zone of `now`.
        now: aware.

    Raises:
        ValueError: a countdown below -2147483648, or text that is no ISO date.
    """
    if countdown:
        if countdown < INT_MIN:
            raise ValueError(f"countdown {countdown!r} is below {INT_MIN}")
        try:
            moment = now + dt.timedelta(seconds=countdown)
        except OverflowError:
            raise ValueError(f"countdown {countdown!r} is beyond the last date there is") from None
        return moment.isoformat(), to_ms(moment)
    if not eta:
        return None, None
    if isinstance(eta, str):
        parsed = maybe_iso8601(eta)
        text = eta
    else:
        parsed, text = eta, eta.isoformat()
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=now.tzinfo)
    try:
        return text, to_ms(parsed)
    except OverflowError:
        raise ValueError(f"eta {text!r} is out of range") from None


def expiry(expires: Any, now: dt.datetime) -> tuple[str, float]:
    """The header ``expires`` and the seconds left, below 0 if it is past.

    Args:
        expires: seconds from `now`, timedelta, datetime or ISO text.
        now: aware.
    """
    if isinstance(expires, dt.timedelta):
        expires = expires.total_seconds()
    if isinstance(expires, (int, float)) and not isinstance(expires, bool):
        try:
            return (now + dt.timedelta(seconds=expires)).isoformat(), float(expires)
        except OverflowError:
            raise ValueError(f"expires {expires!r} is beyond the last date there is") from None
    if isinstance(expires, str):
        moment, text = maybe_iso8601(expires), expires
    else:
        moment, text = expires, expires.isoformat()
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=now.tzinfo)
    return text, (moment - now).total_seconds()
