"""What a worker's options come to when they meet the settings, and which have no effect yet."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from celeriac.app._connection import first_url

if TYPE_CHECKING:
    from collections.abc import Mapping

_FROM_SETTINGS = {
    "logfile": "worker_logfile",
    "task_events": "worker_send_task_events",
    "statedb": "worker_state_db",
    "time_limit": "task_time_limit",
    "soft_time_limit": "task_soft_time_limit",
    "max_tasks_per_child": "worker_max_tasks_per_child",
    "max_memory_per_child": "worker_max_memory_per_child",
    "disable_prefetch": "worker_disable_prefetch",
    "pool_putlocks": "worker_pool_putlocks",
    "pool_start_method": "worker_pool_start_method",
}

# Option -> what it will need. Shown in one warning when one of them is set.
_NO_EFFECT = {
    "autoscale": "--autoscale",
    "beat": "--beat",
    "statedb": "--statedb",
    "task_events": "--task-events",
    "heartbeat_interval": "--heartbeat-interval",
    "scheduler": "--scheduler",
    "schedule_filename": "--schedule-filename",
}

# The same, where children are not processes.
_OF_PROCESSES = {
    "time_limit": "--time-limit",
    "soft_time_limit": "--soft-time-limit",
    "max_tasks_per_child": "--max-tasks-per-child",
    "max_memory_per_child": "--max-memory-per-child",
    "pool_start_method": "--pool-start-method",
}
_OF_LINUX = {"max_memory_per_child": "--max-memory-per-child"}

_TASK_OPTIONS = ("rate_limit",)
"""The same for options of a task: nobody should trust in a limit that is not kept."""
_TASK_OPTIONS_OF_PROCESSES = ("soft_time_limit", "time_limit")


def effective(conf: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a worker with its value: as given, else from the settings, else the default."""
    found: dict[str, Any] = {
        name: options[name] if options.get(name) is not None else getattr(conf, setting, None)
        for name, setting in _FROM_SETTINGS.items()
    }
    found["loglevel"] = options.get("loglevel") or "WARNING"
    found["purge"] = bool(options.get("purge"))
    found["concurrency"] = int(options.get("concurrency") or conf.worker_concurrency or os.cpu_count() or 2)
    found["prefetch_multiplier"] = _multiplier(conf, options.get("prefetch_multiplier"))
    found["pool_cls"] = options.get("pool_cls") or options.get("pool") or _pool(conf)
    for name in ("autoscale", "beat", "heartbeat_interval", "scheduler", "schedule_filename"):
        found[name] = options.get(name)
    return found


def _multiplier(conf: Any, option: int | None) -> int | None:
    """As given; as set, if somebody set it; None: the hub adapts. An option of 0 counts as not given, as in Celery."""
    if option:
        return int(option)
    if conf.value_set_for("worker_prefetch_multiplier") is not None:
        return int(conf.worker_prefetch_multiplier)
    return None


def _pool(conf: Any) -> str | None:
    """The setting, if somebody set it; None leaves it to the platform. A broker in memory is of one process."""
    if conf.value_set_for("worker_pool") is not None:
        return str(conf.worker_pool)
    return "threads" if first_url(conf.broker_read_url).startswith("memory:") else None


def without_effect(values: Mapping[str, Any], app: Any) -> list[str]:
    """What is set but does nothing in this version, or in this pool: options, those of tasks, and bootsteps."""
    processes = getattr(values.get("pool_cls"), "has_processes", False)
    options = _NO_EFFECT if processes else {**_NO_EFFECT, **_OF_PROCESSES}
    if sys.platform != "linux":
        options = {**options, **_OF_LINUX}
    found = [shown for name, shown in sorted(options.items()) if values.get(name)]
    for option in _TASK_OPTIONS if processes else (*_TASK_OPTIONS, *_TASK_OPTIONS_OF_PROCESSES):
        usual = (None, values.get(option))
        names = sorted(name for name, task in app.tasks.items() if getattr(task, option, None) not in usual)
        if names:
            found.append(f"{option} of {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else ""))
    found += [f"app.steps[{kind!r}]" for kind, steps in sorted(app.steps.items()) if steps]
    return found
