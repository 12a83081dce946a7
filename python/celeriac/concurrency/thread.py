"""The threads pool: every child is a thread of the worker's process."""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING, Any

from celeriac.concurrency.base import WAIT_MS, BasePool, logger
from celeriac.exceptions import WorkerTerminate

if TYPE_CHECKING:
    from celeriac._bridge.hub import Port

__all__ = ["TaskPool"]


class TaskPool(BasePool):
    """Runs up to `limit` tasks at once in threads. A task that runs cannot be ended from outside."""

    signal_safe = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._threads: list[threading.Thread] = []

    def on_start(self) -> None:
        """Starts the threads. They are daemons: a cold shutdown must not wait for what they run.

        Each is the only one to hold its port, which goes down with it:
        others run what waits for a thread that has ended.
        """
        ports, self._ports = self._ports, []
        self._threads = [
            threading.Thread(target=self._child, args=(index, port), name=f"celeriac-pool-{index + 1}", daemon=True)
            for index, port in enumerate(ports)
        ]
        for thread in self._threads:
            thread.start()

    def _child(self, index: int, port: Port) -> None:
        try:
            while (batch := port.next_batch(WAIT_MS)) is not None:
                self._run_batch(index, batch)
        except WorkerTerminate as ending:
            logger.warning("A task raised WorkerTerminate: its thread ends")
            # What the frames hold, jobs and port, goes back to the hub now and not when garbage is collected.
            traceback.clear_frames(ending.__traceback__)
        finally:
            batch = None
            del port
            self._child_ends()

    def on_stop(self) -> None:
        """Waits for the threads, in slices that let signal handlers of the main thread run."""
        for thread in self._threads:
            while thread.is_alive() and self._state != self.TERMINATE:
                thread.join(0.2)

    def did_start_ok(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def _get_info(self) -> dict[str, Any]:
        return {**super()._get_info(), "threads": len(self._threads)}
