"""`start_worker`: a worker in a thread of the test's process."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celeriac.utils.dispatch import Signal
from celeriac.worker import WorkController

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.app.base import Celery

__all__ = ["TestWorkController", "setup_app_for_worker", "start_worker", "test_worker_started", "test_worker_starting"]

test_worker_starting = Signal(name="test_worker_starting", providing_args=set())
test_worker_started = Signal(name="test_worker_started", providing_args={"worker", "consumer"})
test_worker_stopped = Signal(name="test_worker_stopped", providing_args={"worker"})

_START_LIMIT_S = 10.0


class TestWorkController(WorkController):
    """A worker that says when it is ready."""

    __test__ = False  # not a test class, whatever its name says

    def ensure_started(self, timeout: float = _START_LIMIT_S) -> None:
        """Returns when the worker consumes.

        Raises:
            RuntimeError: it ended instead, or takes longer than `timeout` seconds.
        """
        if not self.wait_ready(timeout):
            raise RuntimeError(f"the test worker did not start within {timeout} s: {self.failure!r}")


@contextmanager
def start_worker(
    app: Celery,
    concurrency: int = 1,
    pool: str = "solo",
    loglevel: str | int | None = None,
    logfile: str | None = None,
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    **kwargs: Any,
) -> Iterator[TestWorkController]:
    """Runs a worker for `app` in a thread for as long as the block lasts.

    With `perform_ping_check` it sends `celery.ping` first and waits for the answer, at most `ping_task_timeout`
    seconds, which needs a result backend. The worker has `shutdown_timeout` seconds to end. Other arguments are those
    of `app.WorkController`.

    Raises:
        RuntimeError: the worker did not start, or did not end in time.
    """
    if perform_ping_check:
        import celeriac.contrib.testing.tasks  # noqa: F401 - registers celery.ping with every app
    test_worker_starting.send(sender=app)
    worker = None
    try:
        with _start_worker_thread(
            app,
            concurrency=concurrency,
            pool=pool,
            loglevel=loglevel or os.environ.get("WORKER_LOGLEVEL", "error"),
            logfile=logfile,
            shutdown_timeout=shutdown_timeout,
            **kwargs,
        ) as worker:
            if perform_ping_check:
                answer = app.send_task("celery.ping").get(timeout=ping_task_timeout)
                if answer != "pong":
                    raise RuntimeError(f"the test worker answered {answer!r} to celery.ping")
            yield worker
    finally:
        test_worker_stopped.send(sender=app, worker=worker)


@contextmanager
def _start_worker_thread(
    app: Celery,
    *,
    concurrency: int,
    pool: str,
    loglevel: str | int,
    logfile: str | None,
    shutdown_timeout: float,
    WorkController: Any = TestWorkController,  # noqa: N803 - Celery's name
    **kwargs: Any,
) -> Iterator[TestWorkController]:
    setup_app_for_worker(app, loglevel, logfile)
    kwargs.setdefault("without_heartbeat", True)
    worker: TestWorkController = WorkController(
        app=app,
        hostname=kwargs.pop("hostname", None) or f"gen{os.getpid()}@test",
        pool=pool,
        concurrency=concurrency,
        loglevel=loglevel,
        logfile=logfile,
        ready_callback=kwargs.pop("ready_callback", None),
        **kwargs,
    )
    thread = threading.Thread(target=worker.start, name="celeriac-test-worker", daemon=True)
    thread.start()
    try:
        worker.ensure_started()
        test_worker_started.send(sender=app, worker=worker, consumer=worker.consumer)
        yield worker
    finally:
        worker.stop(in_sighandler=True)
        thread.join(shutdown_timeout)
        if thread.is_alive():
            worker.terminate(in_sighandler=True)
            raise RuntimeError(
                f"the test worker did not end within {shutdown_timeout} s: does a task still run? "
                "A longer `shutdown_timeout` waits for it."
            )


@contextmanager
def _start_worker_process(app: Celery, **kwargs: Any) -> Iterator[None]:
    raise NotImplementedError("start a process with `celeriac worker` instead")
    yield


def setup_app_for_worker(app: Celery, loglevel: str | int, logfile: str | None) -> None:
    """Makes `app` ready to be run by a worker: finalised, current and default, its log set up."""
    app.finalize()
    app.set_current()
    app.set_default()
    app.log.setup(loglevel=loglevel, logfile=logfile)
