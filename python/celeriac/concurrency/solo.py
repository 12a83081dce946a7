"""The solo pool: tasks run in the worker's main thread, one at a time."""

from __future__ import annotations

import os
from typing import Any

from celeriac.concurrency.base import BasePool

__all__ = ["TaskPool"]


class TaskPool(BasePool):
    """Runs one task at a time, where the worker waits for notices otherwise.

    The hub has a thread of its own, so a long task delays neither leases nor heartbeats, unlike in Celery.
    """

    body_can_be_buffer = True
    runs_in_main_thread = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limit = 1

    def run_once(self, timeout_ms: int) -> bool:
        batch = self._ports[0].next_batch(timeout_ms)
        if batch is None:
            self._child_ends()
            return False
        self._run_batch(0, batch)
        return True

    def _get_info(self) -> dict[str, Any]:
        return {**super()._get_info(), "processes": [os.getpid()]}
