"""What the hub reports, turned into log lines and signals, on the thread that drives the worker."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac.worker import _reception

if TYPE_CHECKING:
    from celeriac._bridge.codec import Message
    from celeriac.worker.worker import WorkController

logger = logging.getLogger("celeriac.worker")
connection_logger = logging.getLogger("celeriac.worker.consumer")

_LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "critical": 50}


def wanted() -> list[str]:
    """Kinds of notices worth a crossing. `received` costs one for each task, so only if somebody listens."""
    kinds = ["log", "up", "down", "unknown", "dead", "child", "ready", "stopped"]
    if _reception.wanted():
        kinds.append("received")
    return kinds


class Notices:
    """Handles notices for one worker."""

    def __init__(self, worker: WorkController) -> None:
        self.worker = worker
        self.reception = _reception.Reception(worker)
        self.was_up = False

    def handle(self, notices: list[tuple[str, Any]]) -> None:
        """Each in turn; kinds that this version does not know are left for a later one."""
        for kind, data in notices:
            method = getattr(self, f"on_{kind}", None)
            if method is not None:
                method(data)

    def on_log(self, data: tuple[Any, str]) -> None:
        level, text = data
        number = level if isinstance(level, int) else _LEVELS.get(str(level).lower(), logging.INFO)
        logger.log(number, "%s", text)

    def on_up(self, _: object) -> None:
        if not self.was_up:
            connection_logger.info("Connected to %s", self.worker.broker_url)
        else:
            connection_logger.warning("Connected again to %s", self.worker.broker_url)
        self.was_up = True

    def on_down(self, text: str) -> None:
        conf = self.worker.app.conf
        retry = conf.broker_connection_retry
        if not self.was_up and conf.broker_connection_retry_on_startup is not None:
            retry = conf.broker_connection_retry_on_startup
        if retry:
            connection_logger.error("consumer: Cannot use %s: %s. Trying again...", self.worker.broker_url, text)
            return
        connection_logger.critical("consumer: Cannot use %s: %s. Not trying again.", self.worker.broker_url, text)
        self.worker.stop(exitcode=1)

    def on_received(self, message: Message) -> None:
        self.reception.noticed(message)

    def on_unknown(self, message: Message) -> None:
        from celeriac.exceptions import NotRegistered

        connection_logger.error(
            "Received the task %s[%s], which this worker does not have. Is its module imported (`include`, "
            "`imports`, -I)? The message is in the dead-letter store: celeriac dead list",
            message.task,
            message.id,
        )
        signals.task_unknown.send(
            sender=self.worker.consumer,
            message=message,
            exc=NotRegistered(message.task),
            name=message.task,
            id=message.id,
        )

    def on_dead(self, data: tuple[Any, str, str, str]) -> None:
        """A message that will not be run went to the dead-letter store."""
        task_id, task, reason, detail = data
        if reason == "unknown-task":
            return  # `on_unknown` has said so
        connection_logger.error("Task %s[%s] is dead (%s): %s", task or "?", task_id or "?", reason, detail)
        signals.task_rejected.send(sender=self.worker.consumer, message=data, exc=detail)

    def on_child(self, data: tuple[int, int, bool, int | None]) -> None:
        if self.worker.pool is not None:
            self.worker.pool.on_child(*data)

    def on_ready(self, _: object) -> None:
        self.worker.on_ready()

    def on_stopped(self, why: str | None) -> None:
        self.worker.on_hub_stopped(why)
