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
    assert without_effect(values, app) == ["--autoscale", "--beat"]
    assert without_effect(effective(app.conf, {}), app) == []


def test_limits_of_tasks_and_bootsteps_that_do_nothing_are_named(app: Celery) -> None:
    for name in ("slow", "slower"):
        app.task(name=name, shared=False, time_limit=3, rate_limit="1/m" if name == "slow" else None)(print)
    app.steps["worker"].add(object)
    app.steps["consumer"].clear()
    assert without_effect(effective(app.conf, {}), app) == [
        "rate_limit of slow", "time_limit of slow and 1 more", "app.steps['worker']",
    ]  # fmt: skip


def test_a_limit_of_all_tasks_is_named_once(app: Celery) -> None:
    app.conf.update(task_time_limit=5, task_default_rate_limit="1/s")
    app.task(name="slow", shared=False)(print)
    found = without_effect(effective(app.conf, {}), app)
    assert [text for text in found if "time_limit" in text or "time-limit" in text] == ["--time-limit"]


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
    assert [row["name"] for row in config["queues"]] == ["celery"]
    assert config["accept"] == ["application/json", "application/x-yaml"]
    assert (config["url"], config["node"], config["children"]) == ("memory://hub-config", "w@h", 2)


def test_the_password_of_the_broker_is_not_shown(app: Celery) -> None:
    app.conf.broker_url = "sqlite://me:secret@host/x"
    assert "secret" not in _hub_config.shown_broker_url(app)


def test_a_broker_in_memory_is_not_shared_with_processes(app: Celery) -> None:
    assert effective(app.conf, {})["pool_cls"] == "threads"
    assert effective(app.conf, {"pool_cls": "prefork"})["pool_cls"] == "prefork"
    app.conf.broker_url = "sqlite:///x.db"
    assert effective(app.conf, {})["pool_cls"] is None


def test_limits_of_a_task_go_before_those_of_the_worker(app: Celery) -> None:
    @app.task(name="own", shared=False, time_limit=2, soft_time_limit=0.5)
    def own() -> None: ...

    @app.task(name="other", shared=False)
    def other() -> None: ...

    worker = worker_of(app, time_limit=30)
    assert _hub_config.limits(worker, own) == {"hard_limit_us": 2_000_000, "soft_limit_us": 500_000}
    assert _hub_config.limits(worker, other) == {"hard_limit_us": 30_000_000}
