"""Types of option values: what they take, and what they say otherwise."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import click
import pytest

from celeriac.bin import base


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (base.COMMA_SEPARATED_LIST, "a, b,,c", ["a", "b", "c"]),
        (base.COMMA_SEPARATED_LIST, "", []),
        (base.JSON_ARRAY, '[1, "x"]', [1, "x"]),
        (base.JSON_OBJECT, '{"a": 1}', {"a": 1}),
        (base.ISO8601, "2030-01-02", datetime(2030, 1, 2)),  # noqa: DTZ001
        (base.ISO8601, "2030-01-02T03:04:05Z", datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        (
            base.ISO8601,
            "2030-01-02T03:04:05+02:00",
            datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
        ),
        (base.ISO8601_OR_FLOAT, "1.5", 1.5),
        (base.ISO8601_OR_FLOAT, "2030-01-02", datetime(2030, 1, 2)),  # noqa: DTZ001
        (base.LOG_LEVEL, "debug", 10),
        (base.LOG_LEVEL, "FATAL", 50),
        (base.LOG_LEVEL, 15, 15),
        (base.AUTOSCALE, "2,10", (10, 2)),
        (base.AUTOSCALE, "10,2", (10, 2)),
        (base.AUTOSCALE, "7", (7, 0)),
        (base.WORKERS_POOL, "solo", "solo"),
        (base.HOSTNAME, "w@host", "w@host"),
    ],
)
def test_text_becomes_a_value(kind: click.ParamType, text: Any, value: object) -> None:
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (base.JSON_ARRAY, '{"a": 1}', "not an array"),
        (base.JSON_ARRAY, "[1", "not JSON"),
        (base.JSON_OBJECT, "[]", "not an object"),
        (base.ISO8601, "tomorrow", "ISO 8601"),
        (base.ISO8601_OR_FLOAT, "soon", "ISO 8601"),
        (base.LOG_LEVEL, "loud", "loud"),
        (base.AUTOSCALE, "1,2,3", "3 numbers"),
        (base.AUTOSCALE, "many", "one integer"),
        (base.WORKERS_POOL, "processess", "processess"),
    ],
)
def test_other_text_is_a_usage_error_that_names_it(kind: click.ParamType, text: str, says: str) -> None:
    with pytest.raises(click.BadParameter, match=says) as failure:
        kind.convert(text, None, None)
    assert failure.value.exit_code == 2


def test_a_custom_pool_needs_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    from celeriac.bin._types import WorkersPool

    monkeypatch.setenv("CELERY_CUSTOM_WORKER_POOL", "proj.pools:Mine")
    assert WorkersPool().convert("custom", None, None) == "custom"
