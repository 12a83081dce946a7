"""`Queues`: the queues that an app knows, by name; what it lacks it may make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any

from celeriac._entity import Exchange, Queue, as_queue

__all__ = ["Queues"]


class Queues(dict[str, Any]):
    """Name -> queue.

    Args:
        queues: queues, or name -> queue or options.
        default_exchange: exchange of queues that name none.
        create_missing: a missing name makes a queue instead of a KeyError.
        create_missing_queue_type: classic or quorum.
        create_missing_queue_exchange_type: type of its exchange; None: that of the default one.
        autoexchange: name -> `Exchange` of a queue that is made.
        max_priority: ``x-max-priority`` of queues that have none.
        default_routing_key: key of queues that name none.

    Raises:
        ValueError: a queue type that is neither classic nor quorum.
    """

    version = 0
    """Goes up with each change."""

    def __init__(
        self,
        queues: Any = None,
        default_exchange: Any = None,
        create_missing: bool = True,
        create_missing_queue_type: str | None = None,
        create_missing_queue_exchange_type: str | None = None,
        autoexchange: Any = None,
        max_priority: int | None = None,
        default_routing_key: str | None = None,
    ) -> None:
        super().__init__()
        if create_missing_queue_type not in (None, "classic", "quorum"):
            raise ValueError(
                f"task_create_missing_queue_type {create_missing_queue_type!r}: expected 'classic' or 'quorum'"
            )
        self.aliases: dict[str, Any] = {}
        self.default_exchange = default_exchange
        self.default_routing_key = default_routing_key
        self.create_missing = create_missing
        self.create_missing_queue_type = create_missing_queue_type
        self.create_missing_queue_exchange_type = create_missing_queue_exchange_type
        self.autoexchange = Exchange if autoexchange is None else autoexchange
        self.max_priority = max_priority
        self._consume_from: dict[str, Any] | None = None
        if isinstance(queues, Mapping):
            for name, value in queues.items():
                if hasattr(value, "exchange"):
                    self.add(value)
                else:
                    self.add_compat(name, **(value or {}))
        else:
            for queue in queues or ():
                self.add(queue)

    def __getitem__(self, name: str) -> Any:
        try:
            return self.aliases[name]
        except KeyError:
            return super().__getitem__(name)

    def __setitem__(self, name: str, queue: Any) -> None:
        if self.default_exchange is not None and (queue.exchange is None or not queue.exchange.name):
            queue.exchange = self.default_exchange
        super().__setitem__(name, queue)
        if getattr(queue, "alias", None):
            self.aliases[queue.alias] = queue
        self.version += 1

    def __missing__(self, name: str) -> Any:
        if not self.create_missing:
            raise KeyError(name)
        return self.add(self.new_missing(name))

    def add(self, queue: Any, **kwargs: Any) -> Any:
        """Adds a queue, or one made of a name and options; returns it."""
        if not hasattr(queue, "exchange"):
            return self.add_compat(str(queue), **kwargs)
        queue = as_queue(queue)
        if not queue.routing_key and self.default_routing_key is not None:
            # Of a fanout exchange, too: on Redis the key is part of the channel that senders publish to.
            queue = copy(queue)
            queue.routing_key = self.default_routing_key
        return self._add(queue)

    def add_compat(self, name: str, **options: Any) -> Any:
        """Adds a queue from options in the old style; returns it."""
        options.setdefault("routing_key", options.get("binding_key"))
        if options["routing_key"] is None:
            options["routing_key"] = name
        return self._add(Queue.from_dict(name, **options))

    def _add(self, queue: Any) -> Any:
        if self.max_priority is not None:
            arguments = dict(queue.queue_arguments or {})
            if "x-max-priority" not in arguments and getattr(queue, "max_priority", None) is None:
                arguments["x-max-priority"] = self.max_priority
                queue.queue_arguments = arguments
        self[queue.name] = queue
        return queue

    def new_missing(self, name: str) -> Any:
        """The queue made for a name that is missing: queue, exchange and key are called the same."""
        arguments = None
        if self.create_missing_queue_type and self.create_missing_queue_type != "classic":
            arguments = {"x-queue-type": self.create_missing_queue_type}
        kind = self.create_missing_queue_exchange_type
        exchange = self.autoexchange(name, kind) if kind else self.autoexchange(name)
        return Queue(name, exchange, name, queue_arguments=arguments)

    def select(self, include: str | Iterable[str] | None) -> None:
        """Consume only these."""
        if include:
            names = [include] if isinstance(include, str) else include
            self._consume_from = {name: self[name] for name in names}

    def select_add(self, queue: Any, **kwargs: Any) -> Any:
        """Adds a queue, and consumes it, too, if only some were selected."""
        added = self.add(queue, **kwargs)
        if self._consume_from is not None:
            self._consume_from[added.name] = added
        return added

    def deselect(self, exclude: str | Iterable[str] | None) -> None:
        """Do not consume these."""
        if not exclude:
            return
        names = {exclude} if isinstance(exclude, str) else set(exclude)
        if self._consume_from is None:
            self.select([name for name in self if name not in names])
        else:
            for name in names:
                self._consume_from.pop(name, None)

    @property
    def consume_from(self) -> Mapping[str, Any]:
        """What a worker consumes: all, unless some were selected."""
        return self if self._consume_from is None else self._consume_from

    def format(self, indent: int = 0, indent_first: bool = True) -> str:
        """A line a queue, for people."""
        lines = []
        for name, queue in sorted(self.consume_from.items()):
            exchange = queue.exchange
            lines.append(
                f".> {name:<16} exchange={getattr(exchange, 'name', '') or '(default)'}"
                f"({getattr(exchange, 'type', 'direct')}) key={queue.routing_key or ''}"
            )
        pad = " " * indent
        if not lines:
            return ""
        return (pad if indent_first else "") + f"\n{pad}".join(lines)
