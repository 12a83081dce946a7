"""Queues and exchanges as an application declares them. Kombu's objects are accepted wherever ours are.

Plain data: nothing here talks to a broker.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Broadcast", "Exchange", "Queue", "as_queue", "binding"]

TRANSIENT_DELIVERY_MODE = 1
PERSISTENT_DELIVERY_MODE = 2
DELIVERY_MODES = {"transient": TRANSIENT_DELIVERY_MODE, "persistent": PERSISTENT_DELIVERY_MODE}


class _Entity:
    """Compared and shown by its public attributes."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), getattr(self, "name", None)))

    def __copy__(self) -> Any:
        new = self.__class__.__new__(self.__class__)
        new.__dict__.update(self.__dict__)
        return new

    def __call__(self, channel: Any = None) -> Any:
        """Kombu binds an entity to a channel by calling it; here that changes nothing."""
        return self


class Exchange(_Entity):
    """Where messages are published to.

    Args:
        name: ``""`` is the default exchange, which delivers to the queue named by the routing key.
        type: direct, topic, fanout or headers.
        durable: survives the broker's restart.
        auto_delete: goes when its last queue goes.
        delivery_mode: 1 or transient, 2 or persistent; None: ``task_default_delivery_mode``.
        arguments: more, for the broker.
        passive: it must be there already; else declaring it fails.
        no_declare: it is there already: it is not declared.
    """

    def __init__(
        self,
        name: str = "",
        type: str = "",
        channel: Any = None,
        *,
        durable: bool = True,
        auto_delete: bool = False,
        delivery_mode: int | str | None = None,
        arguments: dict[str, Any] | None = None,
        passive: bool = False,
        no_declare: bool = False,
        **extra: Any,
    ) -> None:
        del channel
        self.name = name
        self.type = type or "direct"
        self.durable = durable
        self.auto_delete = auto_delete
        self.delivery_mode = DELIVERY_MODES.get(delivery_mode, delivery_mode)  # type: ignore[arg-type]  # any key
        self.arguments = arguments
        self.passive = passive
        self.no_declare = no_declare
        self.__dict__.update(extra)

    def __repr__(self) -> str:
        return f"<Exchange {self.name!r} ({self.type})>"

    def __str__(self) -> str:
        return self.name


class binding(_Entity):  # noqa: N801 - Kombu's name
    """How messages get from an exchange into a queue, for a queue that has several.

    Args:
        exchange: an `Exchange`.
        routing_key: key, or pattern.
        arguments: of exchanges of type headers: ``x-match`` and the headers that must match.
        unbind_arguments: accepted for Kombu's sake.
    """

    def __init__(
        self, exchange: Any = None, routing_key: str = "", arguments: Any = None, unbind_arguments: Any = None
    ) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.arguments = arguments
        self.unbind_arguments = unbind_arguments

    def __repr__(self) -> str:
        return f"<binding: {getattr(self.exchange, 'name', self.exchange)}->{self.routing_key}>"


class Queue(_Entity):
    """What workers consume, and how messages get into it.

    Args:
        name: its name.
        exchange: an `Exchange` or its name; None: the default one of the app. A list is taken as `bindings`.
        routing_key: key of the binding to the exchange.
        durable, exclusive, auto_delete: as in AMQP.
        queue_arguments: such as ``x-queue-type``.
        max_priority: ``x-max-priority``.
        expires, message_ttl: seconds.
        max_length, max_length_bytes: bounds of the queue.
        bindings: several of `binding`, which then take the place of `exchange` and `routing_key`.
        binding_arguments: of the binding to an exchange of type headers.
        no_declare: it is there already, with its exchange and bindings: nothing is declared.
    """

    def __init__(
        self,
        name: str = "",
        exchange: Any = None,
        routing_key: str = "",
        channel: Any = None,
        bindings: Any = None,
        on_declared: Any = None,
        *,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        queue_arguments: dict[str, Any] | None = None,
        binding_arguments: dict[str, Any] | None = None,
        consumer_arguments: dict[str, Any] | None = None,
        max_priority: int | None = None,
        expires: float | None = None,
        message_ttl: float | None = None,
        max_length: int | None = None,
        max_length_bytes: int | None = None,
        alias: str | None = None,
        no_declare: bool = False,
        no_ack: bool = False,
        **extra: Any,
    ) -> None:
        del channel
        if isinstance(exchange, (list, tuple, set, frozenset)):
            exchange, bindings = None, [*exchange, *(bindings or ())]
        self.name = name
        self.exchange: Any = Exchange(exchange) if isinstance(exchange, str) else exchange
        self.routing_key = routing_key
        self.bindings = list(bindings or ())
        self.on_declared = on_declared
        self.durable = durable
        # An exclusive queue goes with its connection in any case.
        self.exclusive = exclusive
        self.auto_delete = auto_delete or exclusive
        self.queue_arguments = queue_arguments
        self.binding_arguments = binding_arguments
        self.consumer_arguments = consumer_arguments
        self.max_priority = max_priority
        self.expires = expires
        self.message_ttl = message_ttl
        self.max_length = max_length
        self.max_length_bytes = max_length_bytes
        self.alias = alias
        self.no_declare = no_declare
        self.no_ack = no_ack
        self.__dict__.update(extra)

    @classmethod
    def from_dict(cls, queue: str, **options: Any) -> Queue:
        """A queue from options in Celery's old style: exchange, exchange_type, binding_key or routing_key…"""
        exchange_type = options.pop("exchange_type", None)
        exchange = options.pop("exchange", None)
        key = options.pop("binding_key", None) or options.pop("routing_key", None) or ""
        options.pop("routing_key", None)
        if exchange is not None and not hasattr(exchange, "type"):
            exchange = Exchange(
                exchange,
                exchange_type or "direct",
                delivery_mode=options.pop("delivery_mode", None),
                durable=options.pop("exchange_durable", options.get("durable", True)),
                auto_delete=options.pop("exchange_auto_delete", options.get("auto_delete", False)),
                arguments=options.pop("exchange_arguments", None),
            )
        if "queue_durable" in options:
            options["durable"] = options.pop("queue_durable")
        if "queue_auto_delete" in options:
            options["auto_delete"] = options.pop("queue_auto_delete")
        return cls(queue, exchange, key, **options)

    def __repr__(self) -> str:
        exchange = getattr(self.exchange, "name", self.exchange)
        return f"<{type(self).__name__} {self.name!r} -> {exchange!r} -> {self.routing_key!r}>"

    def __str__(self) -> str:
        return self.name


class Broadcast(Queue):
    """A queue of its own for each worker, all bound to one fanout exchange: every worker gets each message.

    Args:
        name: name of the exchange, and `alias` of the queue.
        queue: name of the queue; None: one that no other worker has.
    """

    def __init__(
        self,
        name: str | None = None,
        queue: str | None = None,
        unique: bool = False,
        auto_delete: bool = True,
        exchange: Any = None,
        alias: str | None = None,
        **kwargs: Any,
    ) -> None:
        if queue is None or unique:
            from celeriac.utils import uuid

            queue = f"{queue or 'bcast'}.{uuid()}"
        kwargs.setdefault("routing_key", "")
        super().__init__(
            name=queue,
            exchange=exchange if exchange is not None else Exchange(name or "", "fanout"),
            alias=alias or name,
            auto_delete=auto_delete,
            **kwargs,
        )


def is_broadcast(queue: Any) -> bool:
    """True for our `Broadcast` and Kombu's."""
    return any(cls.__name__ == "Broadcast" for cls in type(queue).__mro__)


def as_queue(value: Any) -> Any:
    """`value` if it looks like a queue, ours or Kombu's.

    Raises:
        TypeError: it has no name, exchange and routing key.
    """
    if isinstance(value, Queue) or all(hasattr(value, name) for name in ("name", "exchange", "routing_key")):
        return value
    raise TypeError(f"expected a Queue, got {value!r}")
