"""The consuming side of a worker, as signals and user code see it. The work itself is the hub's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celeriac._bridge.hub import Hub
    from celeriac.app.base import Celery
    from celeriac.concurrency.base import BasePool
    from celeriac.worker.worker import WorkController


class Consumer:
    """Sender of `worker_ready` and of the signals about messages."""

    def __init__(self, controller: WorkController) -> None:
        self.controller = controller
        self.app: Celery = controller.app
        self.hostname: str = controller.hostname
        self.pid = os.getpid()

    def __repr__(self) -> str:
        return f"<Consumer: {self.hostname}>"

    @property
    def hub(self) -> Hub | None:
        return self.controller.hub

    @property
    def pool(self) -> BasePool | None:
        return self.controller.pool

    @property
    def prefetch_multiplier(self) -> int | None:
        return self.controller.prefetch_multiplier

    def add_task_queue(
        self,
        queue: Any,
        exchange: str | None = None,
        exchange_type: str | None = None,
        routing_key: str | None = None,
        **options: Any,
    ) -> None:
        """Consumes one more queue, made up from its name if it is not configured."""
        from celeriac._bridge.topology import queue_table

        queues = self.app.amqp.queues
        name = queue if isinstance(queue, str) else queue.name
        if name not in queues.consume_from:
            exchange = name if exchange is None else exchange
            kind = exchange_type or "direct"
            found = queues.select_add(
                queue, exchange=exchange, exchange_type=kind, routing_key=routing_key or name, **options
            )
        else:
            found = queues[name]
        if self.hub is not None:
            self.hub.set_consuming(queue_table(found), True)

    def cancel_task_queue(self, queue: Any) -> None:
        """Stops consuming a queue; what is held of it stays held."""
        from celeriac._bridge.topology import queue_table

        name = queue if isinstance(queue, str) else queue.name
        found = self.app.amqp.queues[name]
        self.app.amqp.queues.deselect([name])
        if self.hub is not None:
            self.hub.set_consuming(queue_table(found), False)
