"""Dates, zones, rates and back-off."""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from typing import Any

__all__ = [
    "LocalTimezone",
    "adjust_timestamp",
    "delta_resolution",
    "ffwd",
    "get_exponential_backoff_interval",
    "humanize_seconds",
    "is_naive",
    "localize",
    "make_aware",
    "maybe_iso8601",
    "maybe_make_aware",
    "maybe_timedelta",
    "rate",
    "remaining",
    "timezone",
    "to_ms",
    "to_utc",
    "utcoffset",
    "weekday",
]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_MILLISECOND = dt.timedelta(milliseconds=1)
_RATES = {"s": 1.0, "m": 1 / 60.0, "h": 1 / 3600.0}
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
# fromisoformat of Python 3.10 knows neither Z, nor hours without minutes, nor fractions other than 3 or 6 digits.
_ISO = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2}|\d{8})"
    r"(?:[T ](?P<time>\d{2}(?::?\d{2}(?::?\d{2}(?:[.,]\d+)?)?)?)(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?)?\Z"
)


def to_ms(moment: dt.datetime) -> int:
    """Milliseconds since the epoch of an aware datetime, rounded down."""
    return (moment - _EPOCH) // _MILLISECOND


def maybe_iso8601(value: Any) -> Any:
    """`value`, or the datetime that ISO 8601 text stands for (zone kept; naive without one).

    Raises:
        ValueError: text of another form.
    """
    if value is None or not isinstance(value, str):
        return value
    found = _ISO.match(value.strip())
    if not found:
        raise ValueError(f"not an ISO 8601 date: {value!r}")
    date = found["date"].replace("-", "")
    digits = re.sub(r"[:.,]", "", found["time"] or "")
    clock, fraction = digits[:6].ljust(6, "0"), digits[6:12].ljust(6, "0")
    moment = dt.datetime(  # noqa: DTZ001 - the zone follows, if there is one
        int(date[:4]),
        int(date[4:6]),
        int(date[6:8]),
        int(clock[:2]),
        int(clock[2:4]),
        int(clock[4:6]),
        int(fraction),
    )
    zone = found["zone"]
    if not zone:
        return moment
    if zone == "Z":
        return moment.replace(tzinfo=dt.timezone.utc)
    offset = dt.timedelta(hours=int(zone[1:3]), minutes=int(zone[3:].replace(":", "") or 0))
    return moment.replace(tzinfo=dt.timezone(-offset if zone[0] == "-" else offset))


class LocalTimezone(dt.tzinfo):
    """The system's zone, with its daylight saving time."""

    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
        return self._local(when).utcoffset() or dt.timedelta(0)

    def dst(self, when: dt.datetime | None) -> dt.timedelta:
        import time

        local = (when or dt.datetime.now()).replace(tzinfo=None).timetuple()  # noqa: DTZ005 - this is the local zone
        saving = time.localtime(time.mktime(local)).tm_isdst > 0
        return dt.timedelta(seconds=time.timezone - time.altzone) if saving else dt.timedelta(0)

    def tzname(self, when: dt.datetime | None) -> str:
        return self._local(when).tzname() or ""

    def fromutc(self, when: dt.datetime) -> dt.datetime:
        return when.replace(tzinfo=dt.timezone.utc).astimezone().replace(tzinfo=self)

    @staticmethod
    def _local(when: dt.datetime | None) -> dt.datetime:
        return (when or dt.datetime.now()).replace(tzinfo=None).astimezone()  # noqa: DTZ005 - this is the local zone

    def __repr__(self) -> str:
        return "<LocalTimezone>"

    def __reduce__(self) -> Any:
        return LocalTimezone, ()


class _Zone:
    """Zones by name, and conversions between them (`timezone`)."""

    utc = dt.timezone.utc

    @property
    def local(self) -> dt.tzinfo:
        """The system's zone."""
        return LocalTimezone()

    def tz_or_local(self, tzinfo: Any = None) -> dt.tzinfo:
        """`tzinfo`, by name or itself; the local zone for None."""
        return self.local if tzinfo is None else self.get_timezone(tzinfo)

    def get_timezone(self, zone: Any) -> dt.tzinfo:
        """The zone called `zone`; a tzinfo is returned as it is.

        Raises:
            ImproperlyConfigured: there is no such zone.
        """
        return _zone(zone) if isinstance(zone, str) else zone

    def to_local(self, when: dt.datetime, local: Any = None, orig: Any = None) -> dt.datetime:
        """`when`, a naive one read in `orig` or UTC, in zone `local`."""
        if is_naive(when):
            when = make_aware(when, orig or self.utc)
        return localize(when, self.tz_or_local(local))

    def to_system(self, when: dt.datetime) -> dt.datetime:
        """`when` in the system's zone."""
        return when.astimezone(self.local)

    def to_local_fallback(self, when: dt.datetime, *args: Any, **kwargs: Any) -> dt.datetime:
        """`when` in the system's zone."""
        return make_aware(when, self.local) if is_naive(when) else localize(when, self.local)


timezone = _Zone()


@lru_cache(maxsize=64)
def _zone(name: str) -> dt.tzinfo:
    if name.upper() == "UTC":
        return dt.timezone.utc
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        from celeriac.exceptions import ImproperlyConfigured

        raise ImproperlyConfigured(f"timezone {name!r} is not known: expected a name such as 'Europe/Lisbon'") from exc


def is_naive(when: dt.datetime) -> bool:
    """True without a zone."""
    return when.tzinfo is None or when.tzinfo.utcoffset(when) is None


def make_aware(when: dt.datetime, tz: dt.tzinfo) -> dt.datetime:
    """The naive `when` read in zone `tz`."""
    return when.replace(tzinfo=tz)


def localize(when: dt.datetime, tz: dt.tzinfo) -> dt.datetime:
    """The aware `when` in zone `tz`."""
    return when.astimezone(tz)


def to_utc(when: dt.datetime) -> dt.datetime:
    """`when` in UTC; a naive one is read as UTC."""
    return make_aware(when, dt.timezone.utc) if is_naive(when) else localize(when, dt.timezone.utc)


def maybe_make_aware(when: dt.datetime, tz: Any = None, naive_as_utc: bool = True) -> dt.datetime:
    """`when` in zone `tz`, default UTC; a naive one is read as UTC, or in `tz` without `naive_as_utc`."""
    zone = dt.timezone.utc if tz is None else timezone.tz_or_local(tz)
    if is_naive(when):
        return localize(make_aware(when, dt.timezone.utc), zone) if naive_as_utc else make_aware(when, zone)
    return localize(when, zone)


def maybe_timedelta(delta: Any) -> Any:
    """A number of seconds as timedelta; anything else as it is."""
    return dt.timedelta(seconds=delta) if isinstance(delta, (int, float)) else delta


def delta_resolution(when: dt.datetime, delta: dt.timedelta) -> dt.datetime:
    """`when` cut to days, hours or minutes: the largest unit that `delta` has."""
    seconds = max(delta.total_seconds(), 0)
    if seconds >= 86400:
        return when.replace(hour=0, minute=0, second=0, microsecond=0)
    if seconds >= 3600:
        return when.replace(minute=0, second=0, microsecond=0)
    return when.replace(second=0, microsecond=0) if seconds >= 60 else when


def remaining(start: dt.datetime, ends_in: dt.timedelta, now: dt.datetime | None = None, relative: bool = False) -> Any:
    """How long until ``start + ends_in``."""
    now = now or dt.datetime.now(dt.timezone.utc)
    if start.tzinfo is not None and now.tzinfo is None:
        now = now.replace(tzinfo=start.tzinfo)
    end = start + ends_in
    if relative:
        end = delta_resolution(end, ends_in)
    return end - now


def rate(r: Any) -> float:
    """Tasks a second of a rate limit: ``"10/s"``, ``"100/m"``, ``"5/h"``, a number; 0.0 for none.

    Raises:
        ValueError: another unit, or no number.
    """
    if not r:
        return 0.0
    if isinstance(r, str):
        count, _, unit = r.partition("/")
        try:
            return (float(count) if count else 0.0) * _RATES[unit.lower() or "s"]
        except KeyError:
            raise ValueError(f"rate limit {r!r}: expected a number, or one followed by /s, /m or /h") from None
    return float(r)


def weekday(name: str) -> int:
    """0 for Sunday, by the name's first three letters.

    Raises:
        KeyError: not a day.
    """
    short = name[:3].lower()
    for index, day in enumerate(_WEEKDAYS):
        if day[:3] == short:
            return index
    raise KeyError(name)


def humanize_seconds(secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False) -> str:
    """``2.50 hours``, ``1.00 minute``, ``3.20 seconds``; `now` for none."""
    secs = float(f"{secs:.2f}") if not microseconds else secs
    for unit, size in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if secs >= size:
            amount = secs / size
            return f"{prefix}{sep}{amount:.2f} {unit}{'' if amount == 1 else 's'}"
    if microseconds and secs < 0.001 and secs > 0:
        return f"{prefix}{sep}{secs:.6f} seconds"
    if secs > 0:
        return f"{prefix}{sep}{secs:.2f} second{'' if secs == 1 else 's'}"
    return now


def get_exponential_backoff_interval(factor: int, retries: int, maximum: int, full_jitter: bool = False) -> int:
    """Seconds before the next attempt: ``min(maximum, factor * 2 ** retries)``; with full jitter a random share."""
    # 2 ** retries is an exact integer of any size; cutting the exponent keeps it small where `maximum` is long passed.
    countdown: int = min(maximum, factor * 2 ** min(retries, 62))
    if full_jitter:
        import random

        countdown = random.randrange(countdown + 1)  # noqa: S311 - spreads load, hides nothing
    return max(0, countdown)


def utcoffset(time: Any = None, localtime: Any = None) -> int:
    """Hours that the local zone is behind UTC now."""
    import time as _time

    clock = time or _time
    if (localtime or _time.localtime)().tm_isdst and clock.daylight:
        return int(clock.altzone // 3600)
    return int(clock.timezone // 3600)


def adjust_timestamp(ts: float, offset: int, here: Any = utcoffset) -> float:
    """`ts` of a host `offset` hours behind UTC as this host's."""
    return ts - float(offset - here()) * 3600


class ffwd:  # noqa: N801 - Celery's name
    """Adds to a datetime, setting the fields named: what crontab calls the next occurrence."""

    def __init__(
        self,
        year: int | None = None,
        month: int | None = None,
        weeks: int = 0,
        weekday: int | None = None,
        day: int | None = None,
        hour: int | None = None,
        minute: int | None = None,
        second: int | None = None,
        microsecond: int | None = None,
        **kwargs: Any,
    ) -> None:
        del kwargs
        self.year, self.month, self.weeks, self.weekday, self.day = year, month, weeks, weekday, day
        self.hour, self.minute, self.second, self.microsecond = hour, minute, second, microsecond
        self.days = weeks * 7
        self._has_time = hour is not None or minute is not None

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, dt.date):
            return NotImplemented
        import calendar

        year, month = self.year or other.year, self.month or other.month
        day = min(calendar.monthrange(year, month)[1], self.day or other.day)
        fields: dict[str, Any] = {"year": year, "month": month, "day": day}
        for name in ("hour", "minute", "second", "microsecond"):
            if getattr(self, name) is not None:
                fields[name] = getattr(self, name)
        result = other.replace(**fields) + dt.timedelta(days=self.days)
        if self.weekday is not None:
            result += dt.timedelta(days=(7 - result.weekday() + self.weekday) % 7)
        return result
