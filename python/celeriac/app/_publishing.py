"""From a message to the broker: signals, encoding, declarations, retries."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac import signals
from celeriac._bridge.codec import compress, dumps, encode_content, encode_envelope
from celeriac._bridge.topology import queue_table
from celeriac._forks import forks
from celeriac.app.context import collecting
from celeriac.exceptions import BrokerUnavailable, OperationalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from celeriac.app._message import Outgoing
    from celeriac.app.base import Celery
    from celeriac.app.context import Publication

__all__ = ["Publishing", "task_message"]


class task_message(NamedTuple):  # noqa: N801 - Celery's name
    """What `Publishing.as_task_v2` returns."""

    headers: dict[str, Any]
    properties: dict[str, Any]
    body: tuple[Any, Any, dict[str, Any]]
    sent_event: dict[str, Any] | None


class Publishing:
    """Base of `AMQP`; not for use by itself."""

    app: Celery

    if TYPE_CHECKING:

        @property
        def defaults(self) -> Any: ...
        @property
        def queues(self) -> Any: ...
        def message(
            self, name: str, task_id: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any = None
        ) -> Outgoing: ...

    def __init__(self) -> None:
        self._declared: set[str] = set()
        self._forks = forks.count

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
        if self.defaults.amqp:
            message = encode_content(out.headers, properties, data, content_type, content_encoding, out.mandatory)
        else:
            message = encode_envelope(out.headers, properties, data, content_type, content_encoding)
        return out.exchange, out.routing_key, properties.get("priority") or 0, out.due_ms, message

    def publication(self, name: str, task_id: str, args: Any = None, kwargs: Any = None, **options: Any) -> Publication:
        """``(exchange, routing_key, priority, due_ms, envelope)`` of a call; sends `before_task_publish`."""
        out = self.message(name, task_id, args, kwargs, options)
        self._before(name, out, options)
        return self.encode(out)

    def _before(self, name: str, out: Outgoing, options: Mapping[str, Any]) -> None:
        if signals.before_task_publish.receivers:
            body = [out.body[0], out.body[1], dict(out.body[2])]
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
        self.publish(publication, options.get("retry"), options.get("retry_policy"))
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

    def as_task_v2(self, task_id: str, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> task_message:
        """Headers, properties and body of a call, as Celery's method of this name gives them."""
        out = self.message(name, task_id, args, kwargs, options)
        wanted = {key: out.properties[key] for key in ("correlation_id", "reply_to")}
        return task_message(out.headers, wanted, out.body, None)

    create_task_message = as_task_v2

    # --- the broker

    def publish(
        self,
        publication: Publication,
        retry: bool | None = None,
        retry_policy: Mapping[str, Any] | None = None,
    ) -> None:
        """Hands one message to the broker; inside a worker's task end, to the outbox of that task instead.

        Args:
            publication: what `publication` returned.
            retry: try again after a connection error; None: ``task_publish_retry``.
            retry_policy: changes to ``task_publish_retry_policy``.

        Raises:
            OperationalError: the broker did not take it; nothing was stored.
        """
        outbox = collecting.get()
        if outbox is not None:
            outbox.append(publication)
            return
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
        if self._forks != forks.count:  # a memory broker is another one in a child
            self._declared, self._forks = set(), forks.count
        for queue in queues:
            if isinstance(queue, str):
                queue = self.queues[queue]
            if queue.name in self._declared or getattr(queue, "no_declare", False):
                continue
            self.app.broker.declare(queue_table(queue))
            self._declared.add(queue.name)
