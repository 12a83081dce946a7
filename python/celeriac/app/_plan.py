"""What running a task takes, worked out once per task: the tracer then asks no question twice."""

from __future__ import annotations

from typing import Any

__all__ = ["Plan"]


def overrides(task: Any, name: str) -> bool:
    """True if the task's class, or the task itself, has its own `name` instead of that of `Task`."""
    from celeriac.app.task import Task

    if name in getattr(task, "__dict__", ()):
        return True
    for cls in type(task).__mro__:
        if cls is Task:
            return False
        if name in cls.__dict__:
            return True
    return True


class Plan:
    """One task as the tracer sees it. Settings are read when the plan is made, as `Task.bind` does."""

    __slots__ = (
        "after_return",
        "backend",
        "before_start",
        "call",
        "custom_call",
        "deduplicate",
        "expires_ms",
        "fast_record",
        "ignore_result",
        "inherit_priority",
        "keyprefix",
        "name",
        "on_failure",
        "on_retry",
        "on_success",
        "repr_max",
        "store_eager",
        "store_errors",
        "task",
        "throws",
        "track_started",
        "via_hub",
    )

    def __init__(self, app: Any, task: Any) -> None:
        from celeriac.backends.base import KeyValueStoreBackend

        conf = app.conf
        self.task = task
        self.name: str = task.name
        self.custom_call = overrides(task, "__call__")
        self.call: Any = task if self.custom_call else task.run
        self.before_start: Any = task.before_start if overrides(task, "before_start") else None
        self.on_success: Any = task.on_success if overrides(task, "on_success") else None
        self.on_failure: Any = task.on_failure if overrides(task, "on_failure") else None
        self.on_retry: Any = task.on_retry if overrides(task, "on_retry") else None
        self.after_return: Any = task.after_return if overrides(task, "after_return") else None
        self.ignore_result = bool(task.ignore_result)
        self.store_errors = bool(task.store_errors_even_if_ignored)
        self.store_eager = bool(getattr(task, "store_eager_result", False))
        self.track_started = bool(task.track_started)
        self.throws: Any = tuple(task.throws or ()) if not isinstance(task.throws, type) else task.throws
        self.repr_max: int = getattr(task, "resultrepr_maxsize", 1024)
        self.inherit_priority = bool(conf.task_inherit_parent_priority)
        backend = self.backend = task.backend
        keyvalue = isinstance(backend, KeyValueStoreBackend)
        self.via_hub = keyvalue and backend.hub_url is not None and backend is app.backend
        self.deduplicate = bool(
            conf.get("worker_deduplicate_successful_tasks") and task.acks_late and backend.persistent and keyvalue
        )
        # Records of plain successes are put together from parts; all others go through the general encoder.
        self.fast_record: Any = backend.success_record if keyvalue and backend.plain_json() else None
        self.keyprefix: str = backend.task_keyprefix if keyvalue else ""
        self.expires_ms: int | None = int(backend.expires * 1000) if backend.expires else None
