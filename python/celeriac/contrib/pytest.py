"""Fixtures for pytest, under Celery's names. Enable them with `pytest_plugins = ("celeriac.contrib.pytest",)`.

`celery_app` is an app in memory, `celery_worker` runs its tasks in a thread. Override the other fixtures to change
them.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.contrib.testing.app import TestApp, setup_default_app
from celeriac.contrib.testing.worker import start_worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celeriac.app.base import Celery

NO_WORKER = os.environ.get("NO_WORKER")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker `celery`: settings of one test's app."""
    config.addinivalue_line("markers", "celery(**overrides): settings of the test's celeriac app")


@contextmanager
def _create_app(enable_logging: bool, use_trap: bool, parameters: Mapping[str, Any], **config: Any) -> Iterator[Celery]:
    options = {"set_as_current": False, "enable_logging": enable_logging, **parameters}
    app = TestApp(config=config, **options)
    with setup_default_app(app, use_trap=use_trap):
        yield app


@pytest.fixture(scope="session")
def use_celery_app_trap() -> bool:
    """True: any use of the current or default app is an error."""
    return False


@pytest.fixture(scope="session")
def celery_session_app(
    request: pytest.FixtureRequest,
    celery_config: dict[str, Any],
    celery_parameters: dict[str, Any],
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[Celery]:
    """One app for the whole session."""
    with _create_app(celery_enable_logging, use_celery_app_trap, celery_parameters, **celery_config) as app:
        yield app


@pytest.fixture(scope="session")
def celery_session_worker(
    request: pytest.FixtureRequest,
    celery_session_app: Celery,
    celery_includes: Sequence[str],
    celery_class_tasks: Sequence[Any],
    celery_worker_pool: str,
    celery_worker_parameters: dict[str, Any],
) -> Iterator[Any]:
    """One worker for the whole session."""
    if NO_WORKER:
        yield None
        return
    for module in celery_includes:
        celery_session_app.loader.import_task_module(module)
    for task in celery_class_tasks:
        celery_session_app.register_task(task)
    with start_worker(celery_session_app, pool=celery_worker_pool, **celery_worker_parameters) as worker:
        yield worker


@pytest.fixture(scope="session")
def celery_enable_logging() -> bool:
    """True: the app sets logging up."""
    return False


@pytest.fixture(scope="session")
def celery_includes() -> Sequence[str]:
    """Modules with tasks that the worker imports."""
    return ()


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    """Pool of the workers."""
    return "solo"


@pytest.fixture(scope="session")
def celery_config() -> dict[str, Any]:
    """Settings of the apps."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> dict[str, Any]:
    """Arguments of the apps' constructor."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_parameters() -> dict[str, Any]:
    """Arguments of `start_worker`."""
    return {}


@pytest.fixture(scope="session")
def celery_class_tasks() -> Sequence[Any]:
    """Task classes that the session's worker registers."""
    return []


@pytest.fixture
def celery_app(
    request: pytest.FixtureRequest,
    celery_config: dict[str, Any],
    celery_parameters: dict[str, Any],
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[Celery]:
    """An app of the test's own; `@pytest.mark.celery(...)` changes its settings."""
    mark = request.node.get_closest_marker("celery")
    config = {**celery_config, **(mark.kwargs if mark else {})}
    with _create_app(celery_enable_logging, use_celery_app_trap, celery_parameters, **config) as app:
        yield app


@pytest.fixture
def celery_worker(
    request: pytest.FixtureRequest,
    celery_app: Celery,
    celery_includes: Sequence[str],
    celery_worker_pool: str,
    celery_worker_parameters: dict[str, Any],
) -> Iterator[Any]:
    """A worker for `celery_app`."""
    if NO_WORKER:
        yield None
        return
    for module in celery_includes:
        celery_app.loader.import_task_module(module)
    with start_worker(celery_app, pool=celery_worker_pool, **celery_worker_parameters) as worker:
        yield worker


@pytest.fixture
def depends_on_current_app(celery_app: Celery) -> None:
    """Makes `celery_app` the current app."""
    celery_app.set_current()
