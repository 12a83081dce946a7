"""The settings table and what is made of it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from celeriac import Celery
from celeriac.app import defaults
from celeriac.app._settings import OLD_TO_NEW, SETTINGS
from celeriac.exceptions import ImproperlyConfigured

ROOT = Path(__file__).parents[3]


def test_every_row_is_complete() -> None:
    for row in SETTINGS.values():
        assert row.name.islower()
        assert row.section
        assert row.type in defaults.Option.typemap
        assert row.ours != bool(row.old)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BROKER_URL", "broker_url"),
        ("CELERYD_POOL", "worker_pool"),
        ("CELERYD_TASK_TIME_LIMIT", "task_time_limit"),
        ("CELERY_TASK_RESULT_EXPIRES", "result_expires"),
        ("CELERY_SEND_EVENTS", "worker_send_task_events"),
        ("CELERY_ACKS_LATE", "task_acks_late"),
        ("CELERY_RESULT_DB_SHORT_LIVED_SESSIONS", "database_short_lived_sessions"),
        ("CELERY_RESULT_DBURI", "database_url"),
        ("CELERYBEAT_SCHEDULE", "beat_schedule"),
        ("CELERY_QUEUES", "task_queues"),
        ("CELERY_RESULT_SERIALIZER", "result_serializer"),
        ("CELERY_DISABLE_RATE_LIMITS", "worker_disable_rate_limits"),
        ("CELERY_MESSAGE_COMPRESSION", "task_compression"),
        ("CELERY_SECURITY_KEY", "security_key"),
        ("CELERY_REDIS_HOST", "redis_host"),
        ("CELERY_TIMEZONE", "timezone"),
    ],
)
def test_old_names(old: str, new: str) -> None:
    assert OLD_TO_NEW[old] == new


def test_no_old_name_is_given_twice() -> None:
    names = [name for row in SETTINGS.values() for name in row.old]
    assert len(names) == len(set(names))


def test_namespaces_have_every_setting() -> None:
    assert {name for name, _ in defaults.flatten(defaults.NAMESPACES)} == set(SETTINGS) == defaults.SETTING_KEYS


@pytest.mark.parametrize(
    ("name", "space", "found"),
    [
        ("concurrency", "worker", ("worker", "concurrency")),
        ("worker_concurrency", "celery", ("worker", "concurrency")),
        ("url", "broker", ("broker", "url")),
        ("imports", "celery", ("", "imports")),
    ],
)
def test_find(name: str, space: str, found: tuple[str, str]) -> None:
    assert defaults.find(name, space)[:2] == found


def test_find_refuses_what_is_not_there() -> None:
    with pytest.raises(KeyError):
        defaults.find("no_such_setting")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("bool", "yes", True),
        ("bool", "OFF", False),
        ("int", "3", 3),
        ("float", "2.5", 2.5),
        ("dict", '{"a": 1}', {"a": 1}),
        ("list", "[1, 2]", [1, 2]),
        ("tuple", "a,b", ("a", "b")),
        ("string", "x", "x"),
        ("any", "x", "x"),
        ("seconds", "77", 77.0),
    ],
)
def test_casts(kind: str, text: str, value: object) -> None:
    assert defaults.cast(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"), [("bool", "perhaps"), ("int", "x"), ("dict", "[1"), ("seconds", "a day"), ("no such", "x")]
)
def test_what_does_not_read_as_its_type_is_refused(kind: str, text: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        defaults.cast(kind, text)


def test_the_reference_page_is_current() -> None:
    page = ROOT / "docs" / "reference" / "settings.md"
    assert page.read_text() == defaults.settings_markdown(), (
        "run: python -m celeriac.app.defaults > docs/reference/settings.md"
    )


@pytest.mark.parametrize(("value", "seconds"), [("77", 77.0), (dt.timedelta(minutes=1), 60.0), (5, 5), ("0", None)])
def test_time_to_keep_results_may_come_as_text(value: object, seconds: float | None) -> None:
    app = Celery("a", broker="memory://", backend="memory://", set_as_current=False)
    app.conf.result_expires = value
    assert app.backend.expires == seconds


def test_text_that_is_no_time_to_keep_results_is_refused() -> None:
    app = Celery("a", broker="memory://", backend="memory://", set_as_current=False)
    app.conf.result_expires = "a day"
    with pytest.raises(ImproperlyConfigured, match="'a day' is no time to keep a result: give seconds or a timedelta"):
        _ = app.backend
