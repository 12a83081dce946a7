"""Apps, and classes bound to them, in pickles."""

from __future__ import annotations

from typing import Any

__all__ = ["reduce_app", "unpickle_app", "unpickle_through_app"]


def reduce_app(app: Any) -> Any:
    """An app is pickled as the keywords of its constructor and its settings."""
    changes = {**app._changes, **{k: v for k, v in app.conf.changes.items() if _plain(v)}}
    keywords = {
        "main": app.main,
        "changes": changes,
        "loader": app.loader_cls,
        "amqp": app.amqp_cls,
        "events": app.events_cls,
        "log": app.log_cls,
        "control": app.control_cls,
        "fixups": app.fixups,
        "config_source": app._config_source,
        "task_cls": app.task_cls,
        "namespace": app.namespace,
    }
    return unpickle_app, (type(app), keywords)


def _plain(value: Any) -> bool:
    return not callable(value)


def unpickle_app(cls: Any, keywords: dict[str, Any]) -> Any:
    """The app, not made current."""
    return cls(**keywords, set_as_current=False)


def unpickle_through_app(app: Any, name: str, state: Any) -> Any:
    """An instance of the class ``app.<name>``."""
    factory, args, *_ = state
    if isinstance(factory, type):
        return getattr(app, name)(*args)
    return factory(*args)
