"""An app for tests: everything in memory, nobody else's settings."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celeriac import Celery, _state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DEFAULT_TEST_CONFIG", "TestApp", "Trap", "set_trap", "setup_default_app"]

DEFAULT_TEST_CONFIG: dict[str, Any] = {
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
    "accept_content": {"json"},
    "enable_utc": True,
    "timezone": "UTC",
    "broker_url": "memory://",
    "result_backend": "cache+memory://",
    "broker_heartbeat": 0,
}


class Trap:
    """Stands where the default app would be: any use of it is an error of the test."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"the test uses the default app (its {name!r}): pass the test's own app")


def TestApp(  # noqa: N802 - Celery's name
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    enable_logging: bool = False,
    set_as_current: bool = False,
    log: Any = None,
    backend: str | None = None,
    broker: str | None = None,
    **kwargs: Any,
) -> Celery:
    """An app with the settings of `DEFAULT_TEST_CONFIG`, changed by `config`."""
    del enable_logging, log
    app = Celery(
        name or "celery.tests",
        set_as_current=set_as_current,
        broker=broker or "memory://",
        backend=backend or "cache+memory://",
        **kwargs,
    )
    app.conf.update({**DEFAULT_TEST_CONFIG, "broker_url": app.conf.broker_url, **(config or {})})
    if backend:
        app.conf.result_backend = backend
    return app


TestApp.__test__ = False  # type: ignore[attr-defined]


@contextmanager
def set_trap(app: Celery) -> Iterator[None]:
    """Any use of the current or default app is an error inside the block."""
    trap: Any = Trap()
    before = _state.default_app, _state._tls.current_app
    _state.set_default_app(trap)
    _state._set_current_app(trap)
    try:
        yield
    finally:
        _state.set_default_app(before[0])
        _state._set_current_app(before[1])


@contextmanager
def setup_default_app(app: Celery, use_trap: bool = False) -> Iterator[None]:
    """Makes `app` current and default inside the block (or traps their use); what was there before comes back."""
    before = _state.default_app, _state._tls.current_app, weakref.WeakSet(_state._apps)
    if use_trap:
        with set_trap(app):
            yield
    else:
        try:
            app.set_default()
            app.set_current()
            yield
        finally:
            _state.set_default_app(before[0])
            _state._set_current_app(before[1])
            _state._apps.clear()
            _state._apps.update(before[2])
