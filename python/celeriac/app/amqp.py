"""An app's queues, routes and messages.

`AMQP.message` is on the hot path of `delay()`: whatever depends on settings only is kept in `_Defaults` until a setting
changes. How a message gets to the broker is in `_publishing.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celeriac._bridge.broker import is_amqp
from celeriac._bridge.codec import bounded_repr, new_id
from celeriac._entity import Exchange, Queue, is_broadcast
from celeriac.app._connection import first_url
from celeriac.app._message import Outgoing, eta_and_due, expiry, origin
from celeriac.app._option_values import check_option_values
from celeriac.app._options import CALL_OPTIONS, PLAIN_OPTIONS, check_option_names
from celeriac.app._publishing import Publishing, task_message
from celeriac.app._queues import Queues
from celeriac.app.routes import Router as RouterOf
from celeriac.app.routes import prepare
from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from celeriac.app.base import Celery

__all__ = ["AMQP", "Queues", "task_message"]

DELIVERY_MODES: Mapping[Any, int] = {"transient": 1, "persistent": 2, 1: 1, 2: 2, "1": 1, "2": 2}


_NO_LINKS: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class _Defaults:
    """What the settings say about publishing, read once."""

    def __init__(self, amqp: AMQP) -> None:
        conf = amqp.app.conf
        self.version = conf.version
        self.queues_version = amqp.queues.version
        if conf.task_protocol != 2:
            raise ImproperlyConfigured(
                f"task_protocol {conf.task_protocol!r}: celeriac reads messages of protocol 1 and 2 and writes 2 only"
            )
        self.serializer: str = conf.task_serializer
        self.compression: str | None = conf.task_compression
        self.delivery_mode = DELIVERY_MODES.get(conf.task_default_delivery_mode, 2)
        self.priority: int | None = conf.task_default_priority
        self.inherit_priority: bool = conf.task_inherit_parent_priority
        self.retry: bool = conf.task_publish_retry
        self.retry_policy: dict[str, Any] = dict(conf.task_publish_retry_policy or {})
        self.timeout_s: float | None = conf.publish_timeout
        self.has_routes = bool(amqp.router.routes)
        self.amqp = is_amqp(first_url(conf.broker_write_url))
        """Messages are made in AMQP's form."""
        exchange, key, mode, declare = amqp.destination({"queue": amqp.default_queue}, conf.task_default_delivery_mode)
        self.exchange, self.routing_key, self.queue_mode, self.declare = exchange, key, mode, declare


class AMQP(Publishing):
    """What an app knows of queues and messages."""

    queues_cls = Queues
    argsrepr_maxsize = 1024
    kwargsrepr_maxsize = 1024
    task_protocols = (2,)
    autoexchange: Any = None

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._defaults: _Defaults | None = None
        self._queues: Queues | None = None
        self._router: RouterOf | None = None
        super().__init__()
        app.conf.bind_to(self._on_setting)

    # --- queues and routes

    def _on_setting(self, name: str, value: Any) -> None:
        if name == "task_routes":
            self.flush_routes()

    @property
    def queues(self) -> Queues:
        """The queues of ``task_queues``, and those made since."""
        if self._queues is None:
            self._queues = self.Queues(self.app.conf.task_queues)
        return self._queues

    @queues.setter
    def queues(self, queues: Any) -> None:
        self._queues = queues if isinstance(queues, Queues) else self.Queues(queues)
        self._router = self._defaults = None

    def Queues(  # noqa: N802 - Celery's name
        self,
        queues: Any,
        create_missing: bool | None = None,
        create_missing_queue_type: str | None = None,
        create_missing_queue_exchange_type: str | None = None,
        autoexchange: Any = None,
        max_priority: int | None = None,
    ) -> Queues:
        """A `Queues` of `queues` with the app's settings; without queues, the default one is in it."""
        conf = self.app.conf
        key = conf.task_default_routing_key
        if not queues and conf.task_default_queue:
            arguments = {"x-queue-type": "quorum"} if conf.task_default_queue_type == "quorum" else None
            queues = (Queue(conf.task_default_queue, self.default_exchange, key, queue_arguments=arguments),)
        return self.queues_cls(
            queues,
            self.default_exchange,
            conf.task_create_missing_queues if create_missing is None else create_missing,
            create_missing_queue_type or conf.task_create_missing_queue_type,
            create_missing_queue_exchange_type or conf.task_create_missing_queue_exchange_type,
            autoexchange or self.autoexchange,
            conf.task_queue_max_priority if max_priority is None else max_priority,
            key,
        )

    @property
    def default_queue(self) -> Any:
        """The queue of ``task_default_queue``."""
        return self.queues[self.app.conf.task_default_queue]

    @cached_property
    def default_exchange(self) -> Exchange:
        """The exchange of queues that name none."""
        return Exchange(self.app.conf.task_default_exchange, self.app.conf.task_default_exchange_type)

    @cached_property
    def routes(self) -> list[Any]:
        """Prepared ``task_routes``."""
        return prepare(self.app.conf.task_routes)

    def flush_routes(self) -> None:
        """Reads ``task_routes`` again when next needed."""
        self.__dict__.pop("routes", None)
        self._router = self._defaults = None

    def Router(self, queues: Any = None, create_missing: bool | None = None) -> RouterOf:  # noqa: N802 - Celery's name
        """A router over the app's routes."""
        missing = self.app.conf.task_create_missing_queues if create_missing is None else create_missing
        return RouterOf(self.routes, queues or self.queues, missing, app=self.app)

    @property
    def router(self) -> RouterOf:
        """The app's router."""
        if self._router is None:
            self._router = self.Router()
        return self._router

    @property
    def defaults(self) -> _Defaults:
        """Settings about publishing; read again after a change."""
        found = self._defaults
        if (
            found is None
            or found.version != self.app.conf.version
            or found.queues_version != self.queues.version  # a queue was added: it may be the default one
        ):
            queues = self.queues
            found = self._defaults = _Defaults(self)
            found.queues_version = queues.version
        return found

    def destination(self, options: Mapping[str, Any], default_mode: Any) -> tuple[str, str, int, list[Any]]:
        """``(exchange, routing key, delivery mode, queues to declare)`` of a routed message.

        A direct exchange is left out unless exchange *and* routing key are given: such a message goes to the default
        exchange under its queue's name.
        """
        queue = options.get("queue")
        exchange = options.get("exchange")
        routing_key = options.get("routing_key")
        kind = options.get("exchange_type")
        if queue is None and exchange is None:
            queue = self.default_queue
        name = None
        if queue is not None:
            if isinstance(queue, str):
                queue = self.queues[queue]
            name = queue.name
        if exchange is not None and not isinstance(exchange, str):
            kind = kind or exchange.type
            exchange = exchange.name
        own = getattr(queue, "exchange", None)
        kind = kind or getattr(own, "type", None) or "direct"
        mode = options.get("delivery_mode")
        if mode is None:
            mode = getattr(own, "delivery_mode", None) or default_mode
        if kind == "direct" and not (exchange and routing_key):
            exchange, routing_key = ("", name) if name else (exchange or "", routing_key or "")
        else:
            exchange = exchange if exchange is not None else (getattr(own, "name", None) or self.default_exchange.name)
            routing_key = routing_key or getattr(queue, "routing_key", None) or self.app.conf.task_default_routing_key
        declare = options.get("declare")
        if declare is None:
            declare = [queue] if queue is not None and not is_broadcast(queue) else []
        try:
            return exchange, routing_key, DELIVERY_MODES[mode], list(declare)
        except KeyError:
            raise ValueError(f"delivery_mode {mode!r}: expected 1, 2, 'transient' or 'persistent'") from None

    # --- messages

    def message(
        self, name: str, task_id: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any = None
    ) -> Outgoing:
        """The message of a call, routed, before it is encoded.

        Args:
            name: name of the task.
            task_id: its id.
            args: list or tuple.
            kwargs: mapping.
            options: call options of `Task.apply_async`.
            task: the task if it is known here.

        Raises:
            TypeError: arguments of another shape, or an option that is nearly a known one.
            ValueError: an option that cannot be used.
            QueueNotFound
        """
        if args is None:
            args = ()
        elif type(args) is not tuple and not isinstance(args, (list, tuple)):
            raise TypeError(f"task args must be a list or tuple, got {args!r}")
        if kwargs is None:
            kwargs = {}
        elif type(kwargs) is not dict and not isinstance(kwargs, Mapping):
            raise TypeError(f"task keyword arguments must be a mapping, got {kwargs!r}")
        defaults = self.defaults
        out = Outgoing()
        out.args, out.kwargs = args, kwargs
        if not defaults.has_routes and options.keys() <= PLAIN_OPTIONS:
            self._fill_plain(out, defaults, name, task_id, options)
        else:
            self._fill(out, defaults, name, task_id, options, task)
        return out

    def _fill_plain(
        self, out: Outgoing, defaults: _Defaults, name: str, task_id: str, options: Mapping[str, Any]
    ) -> None:
        """`_fill` for most calls: nothing but defaults. Half the cost, so that `delay()` costs little."""
        args, kwargs = out.args, out.kwargs
        get = options.get
        exchange = out.exchange = defaults.exchange
        routing_key = out.routing_key = defaults.routing_key
        out.declare = defaults.declare
        out.due_ms = out.eta = None
        out.mandatory = False
        out.serializer = get("serializer") or defaults.serializer
        out.compression = defaults.compression
        out.headers = {
            "lang": "py",
            "task": name,
            "id": task_id,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": get("root_id") or task_id,
            "parent_id": get("parent_id"),
            "argsrepr": bounded_repr(args, self.argsrepr_maxsize) if args else "()" if type(args) is tuple else "[]",
            "kwargsrepr": bounded_repr(kwargs, self.kwargsrepr_maxsize) if kwargs else "{}",
            "origin": origin(),
            "ignore_result": get("ignore_result"),
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        }
        out.properties = {
            "correlation_id": task_id,
            "reply_to": self.app.thread_oid,
            "delivery_mode": defaults.queue_mode,
            "delivery_info": {"exchange": exchange, "routing_key": routing_key},
            "priority": defaults.priority or 0,
            "body_encoding": "base64",
            "delivery_tag": new_id(),
        }
        out.body = (args, kwargs, _NO_LINKS)

    def _fill(
        self, out: Outgoing, defaults: _Defaults, name: str, task_id: str, options: Mapping[str, Any], task: Any
    ) -> None:
        args, kwargs = out.args, out.kwargs
        check_option_values(options)
        if defaults.has_routes or not options.keys().isdisjoint(("queue", "exchange", "routing_key")):
            options = self.router.route(options, options.get("route_name") or name, args, kwargs, task)
            out.exchange, out.routing_key, mode, out.declare = self.destination(options, defaults.delivery_mode)
        else:
            out.exchange, out.routing_key, out.declare = defaults.exchange, defaults.routing_key, defaults.declare
            mode = defaults.queue_mode
            if options.get("delivery_mode") is not None or options.get("declare") is not None:
                options = {**options, "queue": self.default_queue}
                _, _, mode, out.declare = self.destination(options, defaults.delivery_mode)
        get = options.get
        expires_text = seconds_left = None
        out.eta = out.due_ms = None
        out.mandatory = bool(get("mandatory"))
        if get("countdown") or get("eta"):
            out.eta, out.due_ms = eta_and_due(get("countdown"), get("eta"), self.app.now())
        if get("expires") is not None:
            expires_text, seconds_left = expiry(options["expires"], self.app.now())
        stamped = get("stamped_headers")
        argsrepr, kwargsrepr = get("argsrepr"), get("kwargsrepr")
        out.headers = headers = {
            "lang": "py",
            "task": name,
            "id": task_id,
            "shadow": get("shadow"),
            "eta": out.eta,
            "expires": expires_text,
            "group": get("group_id"),
            "group_index": get("group_index"),
            "retries": get("retries", 0),
            "timelimit": [get("time_limit"), get("soft_time_limit")],
            "root_id": get("root_id") or task_id,
            "parent_id": get("parent_id"),
            "argsrepr": bounded_repr(args, self.argsrepr_maxsize) if argsrepr is None else argsrepr,
            "kwargsrepr": bounded_repr(kwargs, self.kwargsrepr_maxsize) if kwargsrepr is None else kwargsrepr,
            "origin": get("origin") or origin(),
            "ignore_result": get("ignore_result"),
            "replaced_task_nesting": get("replaced_task_nesting", 0),
            "stamped_headers": stamped,
            "stamps": {stamp: options[stamp] for stamp in stamped if stamp in options} if stamped else {},
        }
        priority = get("priority")
        # In Celery's order: the bytes are the same.
        properties = {"correlation_id": task_id, "reply_to": get("reply_to") or self.app.thread_oid}
        rest = options.keys() - CALL_OPTIONS
        if stamped:
            rest -= set(stamped)
        if rest:
            check_option_names(rest)
            properties.update((key, value) for key, value in options.items() if key in rest and value is not None)
        properties["delivery_mode"] = mode
        if seconds_left is not None:
            properties["expiration"] = str(int(max(seconds_left, 0.0) * 1000))
        properties["delivery_info"] = {"exchange": out.exchange, "routing_key": out.routing_key}
        properties["priority"] = (defaults.priority or 0) if priority is None else priority
        properties["body_encoding"] = "base64"
        properties["delivery_tag"] = new_id()
        out.properties = properties
        headers.update(get("headers") or {})
        out.body = (
            args,
            kwargs,
            {
                "callbacks": get("link"),
                "errbacks": get("link_error"),
                "chain": get("chain"),
                "chord": get("chord"),
            },
        )
        out.serializer = get("serializer") or defaults.serializer
        out.compression = get("compression") or defaults.compression
