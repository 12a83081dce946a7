"""Runs the coroutine of a task on the event loop of this thread.

One loop a thread, kept from task to task: what a task opens on it (a connection pool, a client session) can be used by
the next one. Where a loop runs already (an eager task called from a coroutine) the coroutine gets a loop in a thread of
its own and the caller waits: like every eager call, it blocks until the task has ended.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

# asyncio is imported where it is used: with ssl, which it brings, it is a tenth of a worker's memory and start-up time,
# and most workers never run a coroutine.
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

logger = logging.getLogger("celeriac.app.trace")

PATIENCE_S = 5.0
"""How long what was cancelled may take to end."""


class _ThreadLoop(threading.local):
    loop: asyncio.AbstractEventLoop | None = None
    pid: int = 0


_own = _ThreadLoop()


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The coroutine's result, or its exception."""
    import asyncio

    if asyncio._get_running_loop() is not None:
        return _run_elsewhere(coroutine)
    loop = _own.loop
    if loop is None or _own.pid != os.getpid() or loop.is_closed():
        # After a fork the parent's loop shares its selector with the parent: it is dropped, not closed.
        loop = _own.loop = asyncio.new_event_loop()
        _own.pid = os.getpid()
        asyncio.set_event_loop(loop)
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        if not task.done():
            # A signal handler raised (SystemExit, time limit): the task must not go on under the next one.
            task.cancel()
            _drain(loop, [task])
        raise


def _run_elsewhere(coroutine: Coroutine[Any, Any, Any]) -> Any:
    outcome: list[Any] = [None, None]
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome[0] = context.run(run, coroutine)
        except BaseException as exc:
            outcome[1] = exc
        finally:
            close()

    thread = threading.Thread(target=work, name="celeriac-eager-coroutine")
    thread.start()
    thread.join()
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def close() -> None:
    """Ends this thread's loop: cancels what still runs on it, then closes it. No error if there is none."""
    loop, _own.loop = _own.loop, None
    if loop is None or _own.pid != os.getpid() or loop.is_closed():
        return
    import asyncio

    try:
        _drain(loop, asyncio.all_tasks(loop))
        loop.run_until_complete(loop.shutdown_asyncgens())
        executor = getattr(loop, "_default_executor", None)
        if executor is not None:  # shutdown_default_executor() would wait for whatever its threads do
            executor.shutdown(wait=False, cancel_futures=True)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _drain(loop: asyncio.AbstractEventLoop, tasks: Any) -> None:
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    if not pending:
        return
    import asyncio

    done, stubborn = loop.run_until_complete(asyncio.wait(pending, timeout=PATIENCE_S))
    for task in done:
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.warning("%r failed when it was cancelled: %r", task.get_name(), exc)
    for task in stubborn:
        logger.warning("%r goes on although it was cancelled; it is left behind", task.get_name())
