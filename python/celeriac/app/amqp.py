"""Publishing: makes task messages, finds their destination, hands them to the broker.

`AMQP.publication` is the hot path of `delay()`: whatever depends on settings only is kept in `_Defaults` until a
setting changes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac._bridge.codec import bounded_repr, compress, dumps, encode_envelope, new_id
from celeriac._entity import Exchange, Queue, is_broadcast
from celeriac.app._message import Outgoing, eta_and_due, expiry, origin
from celeriac.app._options import PROPERTY_LEAKS, check_option_names
from celeriac.app._queues import Queues
from celeriac.app.context import collecting
from celeriac.app.routes import Router as RouterOf
from celeriac.app.routes import prepare
from celeriac.exceptions import BrokerUnavailable, ImproperlyConfigured, OperationalError

if TYPE_CHECKING:
    from celeriac.app.base import Celery
    from celeriac.app.context import Publication

__all__ = ["AMQP", "Queues"]

DELIVERY_MODES: Mapping[Any, int] = {"transient": 1, "persistent": 2, 1: 1, 2: 2, "1": 1, "2": 2}


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
        exchange, key, mode, declare = amqp.destination({"queue": amqp.default_queue}, conf.task_default_delivery_mode)
        self.exchange, self.routing_key, self.queue_mode, self.declare = exchange, key, mode, declare


class AMQP:
    """An app's queues, routes and messages."""

    Queues_cls = Queues
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
        self._declared: set[str] = set()
        self._declared_pid = os.getpid()
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
        elif not isinstance(args, (list, tuple)):
            raise TypeError(f"task args must be a list or tuple, got {args!r}")
        if kwargs is None:
            kwargs = {}
        elif not isinstance(kwargs, Mapping):
            raise TypeError(f"task keyword arguments must be a mapping, got {kwargs!r}")
        defaults = self.defaults
        get = options.get
        out = Outgoing()
        if defaults.has_routes or "queue" in options or "exchange" in options or "routing_key" in options:
            route_options = self.router.route(options, get("route_name") or name, args, kwargs, task)
            if len(route_options) != len(options):  # a route may set more than the destination
                options = {**route_options, **{k: v for k, v in options.items() if v is not None and k != "queue"}}
                get = options.get
            out.exchange, out.routing_key, mode, out.declare = self.destination(route_options, defaults.delivery_mode)
        else:
            out.exchange, out.routing_key, out.declare = defaults.exchange, defaults.routing_key, defaults.declare
            mode = defaults.queue_mode
            if "delivery_mode" in options and options["delivery_mode"] is not None:
                mode = DELIVERY_MODES[options["delivery_mode"]]
            if "declare" in options and options["declare"] is not None:
                out.declare = options["declare"]
        expires_text = seconds_left = eta = due_ms = None
        if get("countdown") or get("eta"):
            eta, due_ms = eta_and_due(get("countdown"), get("eta"), self.app.now())
        if get("expires") is not None:
            expires_text, seconds_left = expiry(options["expires"], self.app.now())
        out.due_ms, out.eta, out.args, out.kwargs = due_ms, eta, args, kwargs
        stamped = get("stamped_headers")
        argsrepr, kwargsrepr = get("argsrepr"), get("kwargsrepr")
        if argsrepr is None:
            argsrepr = bounded_repr(args, self.argsrepr_maxsize)
        if kwargsrepr is None:
            kwargsrepr = bounded_repr(kwargs, self.kwargsrepr_maxsize) if kwargs else "{}"
        out.headers = headers = {
            "lang": "py",
            "task": name,
            "id": task_id,
            "shadow": get("shadow"),
            "eta": eta,
            "expires": expires_text,
            "group": get("group_id"),
            "group_index": get("group_index"),
            "retries": get("retries", 0),
            "timelimit": [get("time_limit"), get("soft_time_limit")],
            "root_id": get("root_id") or task_id,
            "parent_id": get("parent_id"),
            "argsrepr": argsrepr,
            "kwargsrepr": kwargsrepr,
            "origin": get("origin") or origin(),
            "ignore_result": get("ignore_result"),
            "replaced_task_nesting": get("replaced_task_nesting", 0),
            "stamped_headers": stamped,
            "stamps": {stamp: options[stamp] for stamp in stamped if stamp in options} if stamped else {},
        }
        priority = get("priority")
        out.properties = properties = {
            "correlation_id": task_id,
            "reply_to": get("reply_to") or self.app.thread_oid,
            "delivery_mode": mode,
            "delivery_info": {"exchange": out.exchange, "routing_key": out.routing_key},
            "priority": (defaults.priority or 0) if priority is None else priority,
            "body_encoding": "base64",
            "delivery_tag": new_id(),
        }
        if seconds_left is not None:
            properties["expiration"] = str(int(max(seconds_left, 0.0) * 1000))
        if options:
            leaks = options.keys() - PROPERTY_LEAKS
            if stamped:
                leaks -= set(stamped)
            if leaks:
                check_option_names(leaks)
                properties.update((key, options[key]) for key in sorted(leaks) if options[key] is not None)
            extra = get("headers")
            if extra:
                headers.update(extra)
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
        return out

    def encode(self, out: Outgoing) -> Publication:
        """The message as the broker takes it.

        Raises:
            EncodeError: a value that the serializer cannot hold.
            ValueError: no such compression.
        """
        content_type, content_encoding, data = dumps(out.body, out.serializer)
        if out.compression:
            data, method = compress(data, out.compression)
            out.headers["compression"] = method
        properties = out.properties
        envelope = encode_envelope(out.headers, properties, data, content_type, content_encoding)
        return out.exchange, out.routing_key, properties.get("priority") or 0, out.due_ms, envelope

    def publication(self, name: str, task_id: str, args: Any = None, kwargs: Any = None, **options: Any) -> Publication:
        """``(exchange, routing_key, priority, due_ms, envelope)`` of a call; sends `before_task_publish`."""
        out = self.message(name, task_id, args, kwargs, options)
        self._before(name, out, options)
        return self.encode(out)

    def _before(self, name: str, out: Outgoing, options: Mapping[str, Any]) -> None:
        if signals.before_task_publish.receivers:
            body = list(out.body)
            signals.before_task_publish.send(
                sender=name,
                body=body,
                exchange=out.exchange,
                routing_key=out.routing_key,
                declare=out.declare,
                headers=out.headers,
                properties=out.properties,
                retry_policy=options.get("retry_policy"),
            )
            out.body = (body[0], body[1], body[2])

    def _after(self, name: str, out: Outgoing) -> None:
        if signals.after_task_publish.receivers:
            signals.after_task_publish.send(
                sender=name,
                body=out.body,
                headers=out.headers,
                exchange=out.exchange,
                routing_key=out.routing_key,
            )
        if signals.task_sent.receivers:
            signals.task_sent.send(
                sender=name,
                task_id=out.headers.get("id"),
                task=name,
                args=out.args,
                kwargs=out.kwargs,
                eta=out.eta,
                taskset=out.headers.get("group"),
            )

    def send(
        self, name: str, task_id: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any = None
    ) -> Outgoing:
        """Makes a message and publishes it; with all signals."""
        out = self.message(name, task_id, args, kwargs, options, task)
        if signals.before_task_publish.receivers:
            self._before(name, out, options)
        publication = self.encode(out)
        if out.declare:
            self.declare(out.declare)
        self.publish(
            publication, options.get("retry"), options.get("retry_policy"), options.get("timeout"), _declare=False
        )
        if signals.after_task_publish.receivers or signals.task_sent.receivers:
            self._after(name, out)
        return out

    def send_many(self, messages: Iterable[tuple[str, Outgoing, Mapping[str, Any]]]) -> None:
        """Publishes messages of `message()` in one step: all or none; with all signals."""
        batch = []
        batch_of = []
        for name, out, options in messages:
            self._before(name, out, options)
            batch.append(self.encode(out))
            batch_of.append((name, out))
            if out.declare:
                self.declare(out.declare)
        self.publish_many(batch)
        for name, out in batch_of:
            self._after(name, out)

    # --- the broker

    def publish(
        self,
        publication: Publication,
        retry: bool | None = None,
        retry_policy: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        *,
        _declare: bool = True,
    ) -> None:
        """Hands one message to the broker; inside a worker's task end, to the outbox of that task instead.

        Args:
            publication: what `publication` returned.
            retry: try again after a connection error; None: ``task_publish_retry``.
            retry_policy: changes to ``task_publish_retry_policy``.
            timeout: seconds; None: ``publish_timeout``.

        Raises:
            OperationalError: the broker did not take it; nothing was stored.
        """
        outbox = collecting.get()
        if outbox is not None:
            outbox.append(publication)
            return
        del _declare, timeout
        broker = self.app.broker
        try:
            broker.publish(*publication)
        except OperationalError as exc:
            self._retry_publish(lambda: broker.publish(*publication), exc, retry, retry_policy)

    def publish_many(self, batch: list[Publication]) -> None:
        """`publish` of many in one step: all or none."""
        outbox = collecting.get()
        if outbox is not None:
            outbox.extend(batch)
        elif batch:
            self._with_retries(lambda: self.app.broker.publish_many(batch), None, None)

    def _with_retries(self, call: Any, retry: bool | None, policy: Mapping[str, Any] | None) -> None:
        try:
            call()
        except OperationalError as exc:
            self._retry_publish(call, exc, retry, policy)

    def _retry_publish(
        self, call: Any, error: OperationalError, retry: bool | None, retry_policy: Mapping[str, Any] | None
    ) -> None:
        """Calls again after a connection error, with growing pauses; raises the last error."""
        defaults = self.defaults
        policy = {**defaults.retry_policy, **(retry_policy or {})}
        wanted = defaults.retry if retry is None else retry
        errors = tuple(policy.get("retry_errors") or (BrokerUnavailable,))
        most = policy.get("max_retries")
        pause_s = float(policy.get("interval_start") or 0)
        step_s, longest_s = float(policy.get("interval_step") or 0), float(policy.get("interval_max") or 0)
        errback = policy.get("errback")
        attempt = 0
        while wanted and isinstance(error, errors) and (most is None or attempt < most):
            attempt += 1
            if errback is not None:
                errback(error, pause_s)
            if pause_s > 0:
                time.sleep(pause_s)
            pause_s = min(pause_s + step_s, longest_s) if longest_s else pause_s + step_s
            try:
                call()
                return
            except OperationalError as exc:
                error = exc
        raise error

    def declare(self, queues: Iterable[Any]) -> None:
        """Declares queues that this process has not declared yet: a message to an unknown exchange would be refused."""
        if self._declared_pid != os.getpid():
            self._declared, self._declared_pid = set(), os.getpid()
        for queue in queues:
            if isinstance(queue, str):
                queue = self.queues[queue]
            if queue.name in self._declared or getattr(queue, "no_declare", False):
                continue
            for name, exchange, kind, key in bindings(queue):
                self.app.broker.declare(name, exchange, kind, key)
            self._declared.add(queue.name)


def bindings(queue: Any) -> list[tuple[str, str, str, str]]:
    """``(queue, exchange, exchange type, routing key)`` of a queue, one for each of its bindings."""
    found = getattr(queue, "bindings", None) or [queue]
    rows = []
    for each in found:
        exchange = getattr(each, "exchange", None) or queue.exchange
        name, kind = getattr(exchange, "name", "") or "", getattr(exchange, "type", None) or "direct"
        rows.append((queue.name, name, kind, getattr(each, "routing_key", None) or ""))
    return rows
