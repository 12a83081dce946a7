"""What applications use in their own tests: a worker in a thread, an app of the test's own, pytest fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import celeriac.contrib.testing.tasks  # noqa: F401 - while the test runs it would be forgotten at its end
from celeriac import Celery, current_app
from celeriac.contrib.testing.app import TestApp, setup_default_app
from celeriac.contrib.testing.worker import start_worker, test_worker_started, test_worker_stopped

pytest_plugins = ("pytester",)


@pytest.fixture(autouse=True)
def _as_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celeriac.worker.worker.check_privileges", lambda _: None)


@pytest.fixture
def app() -> Iterator[Celery]:
    made = TestApp("contrib")

    @made.task(name="double", shared=False)
    def double(x: int) -> int:
        return 2 * x

    with setup_default_app(made):
        yield made
    made.close()


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_worker_runs_while_the_block_lasts(app: Celery, pool: str) -> None:
    seen: list[str] = []

    def started(**_: Any) -> None:
        seen.append("started")

    def stopped(**_: Any) -> None:
        seen.append("stopped")

    test_worker_started.connect(started)
    test_worker_stopped.connect(stopped)
    with start_worker(app, pool=pool) as worker:
        assert app.send_task("double", args=(4,)).get(timeout=5) == 8
        assert seen == ["started"]
    assert seen == ["started", "stopped"]
    assert worker.exitcode == 0


def test_a_worker_that_cannot_start_says_why(app: Celery) -> None:
    app.conf.broker_url = "carrier-pigeon://roof"
    with pytest.raises(RuntimeError, match="carrier-pigeon"), start_worker(app, perform_ping_check=False):
        pass


def test_the_app_is_current_inside_only(app: Celery) -> None:
    other = TestApp("other")
    with setup_default_app(other):
        assert current_app.main == "other"
    assert current_app.main == "contrib"


def test_a_trap_makes_the_default_app_unusable(app: Celery) -> None:
    with setup_default_app(app, use_trap=True), pytest.raises(RuntimeError, match="default app"):
        current_app.send_task("x")


def test_fixtures_under_celery_s_names(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[3]
    monkeypatch.setenv("PYTHONPATH", str(root / "python"))
    pytester.makepyfile(
        """
        import pytest
        pytest_plugins = ("celeriac.contrib.pytest",)

        @pytest.fixture(scope="session")
        def celery_config():
            return {"task_default_queue": "mine"}

        def test_task(celery_app, celery_worker):
            @celery_app.task
            def mul(x, y):
                return x * y
            celery_worker.reload()
            assert mul.delay(4, 4).get(timeout=10) == 16
            assert celery_app.conf.task_default_queue == "mine"

        @pytest.mark.celery(task_default_queue="marked")
        def test_marker(celery_app):
            assert celery_app.conf.task_default_queue == "marked"

        def test_session(celery_session_app, celery_session_worker):
            assert celery_session_app.send_task("celery.ping").get(timeout=10) == "pong"
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q")
    done.assert_outcomes(passed=3)
