"""Dates, zones, rates and back-off."""

from __future__ import annotations

import datetime as dt

import pytest

from celeriac import Celery
from celeriac.exceptions import ImproperlyConfigured
from celeriac.utils import time as t

UTC = dt.timezone.utc


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-01-02T03:04:05.678900+00:00", dt.datetime(2030, 1, 2, 3, 4, 5, 678900, UTC)),
        ("2030-01-02T03:04:05Z", dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2030-01-02 03:04:05", dt.datetime(2030, 1, 2, 3, 4, 5)),  # noqa: DTZ001 - naive on purpose
        ("20300102T030405.5", dt.datetime(2030, 1, 2, 3, 4, 5, 500000)),  # noqa: DTZ001
        ("2030-01-02T03:04+0530", dt.datetime(2030, 1, 2, 3, 4, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))),
        ("2030-01-02T03-08", dt.datetime(2030, 1, 2, 3, tzinfo=dt.timezone(-dt.timedelta(hours=8)))),
        ("2030-01-02", dt.datetime(2030, 1, 2)),  # noqa: DTZ001
        ("2030-01-02T03:04:05.123456789Z", dt.datetime(2030, 1, 2, 3, 4, 5, 123456, UTC)),
    ],
)
def test_iso_dates(text: str, moment: dt.datetime) -> None:
    found = t.maybe_iso8601(text)
    assert found == moment
    assert (found.tzinfo is None) == (moment.tzinfo is None)


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2030-13-01", "2030-01-02T25:00", "2030-01-02T03:04:05+", "2030-01-02x"]
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(ValueError):
        t.maybe_iso8601(text)


def test_what_is_no_text_passes() -> None:
    now = dt.datetime.now(UTC)
    assert t.maybe_iso8601(now) is now
    assert t.maybe_iso8601(None) is None


def test_milliseconds_are_exact() -> None:
    assert t.to_ms(dt.datetime(2030, 1, 2, 3, 4, 5, 678900, UTC)) == 1893553445678
    assert t.to_ms(dt.datetime(1969, 12, 31, 23, 59, 59, 999500, UTC)) == -1


@pytest.mark.parametrize(
    ("text", "a_second"), [("10/s", 10), ("120/m", 2), ("3600/h", 1), ("5", 5), (7, 7), (None, 0), ("", 0), (0.5, 0.5)]
)
def test_rates(text: object, a_second: float) -> None:
    assert t.rate(text) == pytest.approx(a_second)


@pytest.mark.parametrize("text", ["10/d", "x/s"])
def test_bad_rates(text: str) -> None:
    with pytest.raises(ValueError):
        t.rate(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4 * 86400, "4.00 days"),
        (86400, "1.00 day"),
        (7200, "2.00 hours"),
        (60, "1.00 minute"),
        (30, "30.00 seconds"),
        (1, "1.00 second"),
        (0, "now"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert t.humanize_seconds(seconds) == text


def test_zones() -> None:
    assert t.timezone.get_timezone("UTC") is UTC
    assert str(t.timezone.get_timezone("Europe/Lisbon")) == "Europe/Lisbon"
    assert t.timezone.get_timezone(UTC) is UTC
    with pytest.raises(ImproperlyConfigured, match="Atlantis"):
        t.timezone.get_timezone("Atlantis/Capital")


def test_the_apps_zone() -> None:
    assert Celery("z", set_as_current=False).timezone is UTC
    india = Celery("z", set_as_current=False, timezone="Asia/Kolkata")
    assert india.now().utcoffset() == dt.timedelta(hours=5, minutes=30)
    assert not india.uses_utc_timezone()
    local = Celery("z", set_as_current=False, enable_utc=False)
    assert abs(local.now() - dt.datetime.now(UTC)) < dt.timedelta(seconds=5)


def test_the_local_zone_agrees_with_the_system() -> None:
    zone = t.timezone.local
    for month in (1, 7):
        naive = dt.datetime(2026, month, 15, 12)  # noqa: DTZ001 - what is tested
        assert naive.replace(tzinfo=zone).timestamp() == naive.timestamp()


def test_naive_dates_are_read_as_told() -> None:
    naive = dt.datetime(2026, 1, 1, 12)  # noqa: DTZ001
    india = t.timezone.get_timezone("Asia/Kolkata")
    assert t.maybe_make_aware(naive, india) == naive.replace(tzinfo=UTC)
    assert t.maybe_make_aware(naive, india, naive_as_utc=False) == naive.replace(tzinfo=india)
    assert t.to_utc(naive.replace(tzinfo=india)).tzinfo is UTC
    assert t.is_naive(naive)


def test_weekdays() -> None:
    assert [t.weekday(day) for day in ("sunday", "mon", "SATURDAY")] == [0, 1, 6]
    with pytest.raises(KeyError):
        t.weekday("someday")


def test_cutting_to_a_resolution() -> None:
    moment = dt.datetime(2026, 3, 4, 5, 6, 7, 8, UTC)
    assert t.delta_resolution(moment, dt.timedelta(days=2)) == dt.datetime(2026, 3, 4, tzinfo=UTC)
    assert t.delta_resolution(moment, dt.timedelta(hours=2)) == dt.datetime(2026, 3, 4, 5, tzinfo=UTC)
    assert t.delta_resolution(moment, dt.timedelta(minutes=2)) == dt.datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    assert t.delta_resolution(moment, dt.timedelta(seconds=2)) == moment


def test_what_remains() -> None:
    start = dt.datetime(2026, 3, 4, tzinfo=UTC)
    assert t.remaining(start, dt.timedelta(hours=2), start + dt.timedelta(hours=1)) == dt.timedelta(hours=1)


def test_fast_forward() -> None:
    start = dt.datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert start + t.ffwd(month=2, day=31, hour=4) == dt.datetime(2026, 2, 28, 4, tzinfo=UTC)
    assert start + t.ffwd(weeks=1) == start + dt.timedelta(days=7)
