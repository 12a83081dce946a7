"""The signals. `providing_args` are what receivers get besides ``signal`` and ``sender``; each group says who sends."""

from __future__ import annotations

from celeriac.utils.dispatch import Signal

# --- publishing; the sender is the task's name
before_task_publish = Signal(
    name="before_task_publish",
    providing_args={"body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy"},
)
"""Before a message is encoded: changes made to ``headers``, ``properties`` and ``body`` in place are sent."""
after_task_publish = Signal(name="after_task_publish", providing_args={"body", "headers", "exchange", "routing_key"})
"""The broker has the message."""
task_sent = Signal(name="task_sent", providing_args={"task_id", "task", "args", "kwargs", "eta", "taskset"})
"""Older form of `after_task_publish`."""

# --- execution; the sender is the task, for those of the worker's main process its consumer
task_received = Signal(name="task_received", providing_args={"request"})
task_prerun = Signal(name="task_prerun", providing_args={"task_id", "task", "args", "kwargs"})
task_postrun = Signal(name="task_postrun", providing_args={"task_id", "task", "args", "kwargs", "retval", "state"})
task_success = Signal(name="task_success", providing_args={"result"})
task_retry = Signal(name="task_retry", providing_args={"request", "reason", "einfo"})
task_failure = Signal(
    name="task_failure", providing_args={"task_id", "exception", "args", "kwargs", "traceback", "einfo"}
)
task_internal_error = Signal(
    name="task_internal_error",
    providing_args={"task_id", "args", "kwargs", "request", "exception", "traceback", "einfo"},
)
task_revoked = Signal(name="task_revoked", providing_args={"request", "terminated", "signum", "expired"})
task_rejected = Signal(name="task_rejected", providing_args={"message", "exc"})
task_unknown = Signal(name="task_unknown", providing_args={"message", "exc", "name", "id"})

# --- worker
import_modules = Signal(name="import_modules")
"""Modules with tasks are to be imported; the sender is the app. Exceptions of receivers are raised."""
celeryd_init = Signal(name="celeryd_init", providing_args={"instance", "conf", "options"})
celeryd_after_setup = Signal(name="celeryd_after_setup", providing_args={"instance", "conf"})
worker_init = Signal(name="worker_init")
worker_before_create_process = Signal(name="worker_before_create_process")
worker_process_init = Signal(name="worker_process_init")
worker_process_shutdown = Signal(name="worker_process_shutdown", providing_args={"pid", "exitcode"})
worker_ready = Signal(name="worker_ready")
heartbeat_sent = Signal(name="heartbeat_sent")
worker_shutting_down = Signal(name="worker_shutting_down", providing_args={"sig", "how", "exitcode"})
worker_shutdown = Signal(name="worker_shutdown")

# --- logging; the sender is None
setup_logging = Signal(name="setup_logging", providing_args={"loglevel", "logfile", "format", "colorize"})
"""Any receiver turns celeriac's own logging configuration off."""
after_setup_logger = Signal(
    name="after_setup_logger", providing_args={"logger", "loglevel", "logfile", "format", "colorize"}
)
after_setup_task_logger = Signal(
    name="after_setup_task_logger", providing_args={"logger", "loglevel", "logfile", "format", "colorize"}
)

# --- beat, green pools, command line
beat_init = Signal(name="beat_init")
beat_embedded_init = Signal(name="beat_embedded_init")
eventlet_pool_started = Signal(name="eventlet_pool_started")
eventlet_pool_preshutdown = Signal(name="eventlet_pool_preshutdown")
eventlet_pool_postshutdown = Signal(name="eventlet_pool_postshutdown")
eventlet_pool_apply = Signal(name="eventlet_pool_apply", providing_args={"target", "args", "kwargs"})
user_preload_options = Signal(name="user_preload_options", providing_args={"app", "options"})

__all__ = [
    "after_setup_logger",
    "after_setup_task_logger",
    "after_task_publish",
    "beat_embedded_init",
    "beat_init",
    "before_task_publish",
    "celeryd_after_setup",
    "celeryd_init",
    "eventlet_pool_apply",
    "eventlet_pool_postshutdown",
    "eventlet_pool_preshutdown",
    "eventlet_pool_started",
    "heartbeat_sent",
    "import_modules",
    "setup_logging",
    "task_failure",
    "task_internal_error",
    "task_postrun",
    "task_prerun",
    "task_received",
    "task_rejected",
    "task_retry",
    "task_revoked",
    "task_sent",
    "task_success",
    "task_unknown",
    "user_preload_options",
    "worker_before_create_process",
    "worker_init",
    "worker_process_init",
    "worker_process_shutdown",
    "worker_ready",
    "worker_shutdown",
    "worker_shutting_down",
]
