"""A result that a thread of the test waits for."""

from __future__ import annotations

import threading
from typing import Any

from celeriac import Celery


class Waiting(threading.Thread):
    """A thread in `get()`, from now on; `timeout` is that call's."""

    def __init__(self, app: Celery, task_id: str, timeout: float = 30) -> None:
        super().__init__(daemon=True)
        self.outcome: Any = None
        self._result, self._timeout = app.AsyncResult(task_id), timeout
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self._result.get(timeout=self._timeout)
        except BaseException as exc:
            self.outcome = exc

    def end(self) -> Any:
        """What `get()` returned or raised."""
        self.join(self._timeout + 10)
        assert not self.is_alive()
        return self.outcome
