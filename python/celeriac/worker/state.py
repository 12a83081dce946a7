"""What this worker process knows about itself, under Celery's names.

Deliveries live in the hub; here is a view of what runs, and the flags that ask the worker to stop.
"""

from __future__ import annotations

import os
import platform
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import WorkerShutdown, WorkerTerminate
from celeriac.platforms import EX_FAILURE, EX_OK

if TYPE_CHECKING:
    from celeriac.worker.request import Request
    from celeriac.worker.worker import WorkController

SOFTWARE_INFO = {"sw_ident": "py-celeriac", "sw_ver": "0", "sw_sys": platform.system()}

REVOKES_MAX = int(os.environ.get("CELERY_WORKER_REVOKES_MAX", "50000"))
REVOKE_EXPIRES = float(os.environ.get("CELERY_WORKER_REVOKE_EXPIRES", "10800"))

should_stop: bool | int | None = None
"""Set it to end the worker warm; a number is the exit code."""
should_terminate: bool | int | None = None
"""Set it to end the worker cold; a number is the exit code."""

total_count: Counter[str] = Counter()
"""Tasks received, by name; kept while somebody listens to `task_received` or the log level is INFO."""

revoked: set[str] = set()

_workers: weakref.WeakSet[WorkController] = weakref.WeakSet()


def _requests() -> list[Request]:
    from celeriac.worker.request import Request

    return [
        Request(job.message, worker.app, hostname=worker.hostname, job=job)
        for worker in _workers
        if worker.pool is not None
        for job in worker.pool.running_jobs()
    ]


def __getattr__(name: str) -> Any:
    if name == "active_requests":
        return set(_requests())
    if name == "requests":
        return {request.id: request for request in _requests()}
    if name == "all_total_count":
        return [sum(total_count.values())]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def reset_state() -> None:
    """Forgets counts, revoked ids and the flags."""
    global should_stop, should_terminate
    should_stop = should_terminate = None
    total_count.clear()
    revoked.clear()


def maybe_shutdown() -> None:
    """Raises WorkerTerminate or WorkerShutdown if a flag asks for it."""
    if should_terminate is not None and should_terminate is not False:
        raise WorkerTerminate(EX_FAILURE if should_terminate is True else should_terminate)
    if should_stop is not None and should_stop is not False:
        raise WorkerShutdown(EX_OK if should_stop is True else should_stop)
