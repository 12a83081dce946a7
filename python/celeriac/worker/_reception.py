"""Says once for each delivery that its task was received, and before it runs.

The hub's notice is handled on the thread that drives the worker, the job on a child's, and either may be first: a
solo worker always runs the job first, and a thread of the pool often does.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac.worker import state
from celeriac.worker.request import Request

if TYPE_CHECKING:
    from celeriac._bridge.codec import Message
    from celeriac._bridge.hub import Job
    from celeriac.concurrency.base import Execute
    from celeriac.worker.worker import WorkController

logger = logging.getLogger("celeriac.worker.strategy")

_NOT_ANNOUNCED = frozenset({"unknown", "crashed"})
"""Verdicts at reception: the hub gives no `received` notice for these."""

_MOST_OPEN = 100_000
"""Ids whose other half is awaited, at most. One stays for each message that went back before it ran."""


def wanted() -> bool:
    """Whether anybody listens. If not, neither the notice nor the gate costs a task anything."""
    return logger.isEnabledFor(logging.INFO) or signals.task_received.has_listeners(None)


class Reception:
    """For each delivery, whichever of its notice and its job is seen first is announced; the other is not."""

    def __init__(self, worker: WorkController) -> None:
        self._worker = worker
        self._lock = threading.RLock()  # held while it is said: the other half must not run ahead of the line
        # By task id: notices minus jobs seen so far, never 0. More than one apart: a retry overtook a notice.
        self._ahead: dict[str, int] = {}

    def noticed(self, message: Message) -> None:
        """The hub's notice came."""
        self._seen(message, 1)

    def before(self, execute: Execute) -> Execute:
        """What runs a job, with the announcement in front."""

        def announce_and_execute(job: Job) -> Any:
            if job.verdict not in _NOT_ANNOUNCED:
                self._seen(job.message, -1)
            return execute(job)

        return announce_and_execute

    def _seen(self, message: Message, step: int) -> None:
        with self._lock:
            ahead = self._ahead.pop(message.id, 0)
            if ahead + step:
                if len(self._ahead) >= _MOST_OPEN:
                    self._ahead.clear()  # at worst some lines are logged twice
                self._ahead[message.id] = ahead + step
            if ahead * step < 0:
                return  # the other half was first
            state.total_count[message.task] += 1
            self._announce(message)

    def _announce(self, message: Message) -> None:
        logger.info("Task %s[%s] received", message.task, message.id)
        consumer = self._worker.consumer
        if signals.task_received.has_listeners(consumer):
            request = Request(message, self._worker.app, hostname=self._worker.hostname)
            signals.task_received.send(sender=consumer, request=request)
