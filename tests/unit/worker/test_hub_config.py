"""What the hub is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celeriac import Celery
from celeriac.worker import _hub_config
from celeriac.worker._options import effective, without_effect


@pytest.mark.parametrize(
    ("children", "multiplier", "disabled", "count"),
    [(4, None, False, None), (4, 4, False, 16), (4, 0, False, 0), (4, 4, True, 4), (4, 20_000, False, 0)],
)
def test_prefetch_adapts_unless_a_multiplier_is_set(
    children: int, multiplier: int | None, disabled: bool, count: int | None
) -> None:
    assert _hub_config.prefetch(children, multiplier, disabled=disabled) == count


@pytest.fixture
def app() -> Celery:
    return Celery("t", broker="memory://hub-config", set_as_current=False)


def worker_of(app: Celery, **options: Any) -> Any:
    return SimpleNamespace(app=app, hostname="w@h", **effective(app.conf, options))


def test_the_default_multiplier_does_not_count_as_set(app: Celery) -> None:
    assert effective(app.conf, {})["prefetch_multiplier"] is None
    assert effective(app.conf, {"prefetch_multiplier": 0})["prefetch_multiplier"] is None
    assert effective(app.conf, {"prefetch_multiplier": 2})["prefetch_multiplier"] == 2
    app.conf.worker_prefetch_multiplier = 0
    assert effective(app.conf, {})["prefetch_multiplier"] == 0


def test_an_option_wins_over_its_setting(app: Celery) -> None:
    app.conf.worker_concurrency = 3
    assert effective(app.conf, {})["concurrency"] == 3
    assert effective(app.conf, {"concurrency": 5})["concurrency"] == 5
    assert effective(app.conf, {"concurrency": 0})["concurrency"] == 3


def test_options_without_effect_are_named(app: Celery) -> None:
    values = effective(app.conf, {"autoscale": (3, 1), "beat": True})
    assert without_effect(values) == ["--autoscale", "--beat"]
    assert without_effect(effective(app.conf, {})) == []


def test_tasks_say_how_their_deliveries_are_settled(app: Celery) -> None:
    @app.task(name="late", shared=False, acks_late=True, reject_on_worker_lost=True)
    def late() -> None: ...

    @app.task(name="plain", shared=False)
    def plain() -> None: ...

    app.finalize()
    app.conf.accept_content = ["json", "application/x-yaml"]
    config = _hub_config.build(worker_of(app), children=2, notify=["log"])
    assert config["tasks"]["late"] == {
        "acks_late": True, "acks_on_failure": True, "reject_on_worker_lost": True, "max_crashes": 3,
    }  # fmt: skip
    assert config["tasks"]["plain"]["acks_late"] is False
    assert config["queues"] == [("celery", "celery", "direct", "celery")]
    assert config["accept"] == ["application/json", "application/x-yaml"]
    assert (config["url"], config["node"], config["children"]) == ("memory://hub-config", "w@h", 2)


def test_the_password_of_the_broker_is_not_shown(app: Celery) -> None:
    app.conf.broker_url = "sqlite://me:secret@host/x"
    assert "secret" not in _hub_config.shown_broker_url(app)
