"""The request of a running task (`task.request`) and the stack of running tasks.

A worker builds a `Context` for every message but decodes the message's headers only when somebody asks for one: most
tasks never do. Whatever is asked for, every attribute of the table below can always be read.

The stack lives in a context variable: each thread has its own, a coroutine keeps the one it was started with, and
`asyncio.to_thread` hands it on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from celeriac._bridge.codec import Message
    from celeriac._bridge.hub import Job

Publication = tuple[str, str, int, "int | None", bytes]
"""`(exchange, routing_key, priority, due_ms, envelope)`."""

_DEFAULTS: dict[str, Any] = {
    "id": None,
    "task": None,
    "args": None,
    "kwargs": None,
    "called_directly": True,
    "is_eager": False,
    "retries": 0,
    "hostname": None,
    "delivery_info": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "taskset": None,
    "chord": None,
    "chain": None,
    "callbacks": None,
    "errbacks": None,
    "root_id": None,
    "parent_id": None,
    "correlation_id": None,
    "reply_to": None,
    "properties": None,
    "headers": None,
    "origin": None,
    "shadow": None,
    "timelimit": None,
    "time_limit": None,
    "soft_time_limit": None,
    "ignore_result": False,
    "logfile": None,
    "loglevel": None,
    "utc": None,
    "lang": None,
    "argsrepr": None,
    "kwargsrepr": None,
    "stamped_headers": None,
    "stamps": None,
    "replaced_task_nesting": 0,
}

# Header names that are the protocol's own; all others are the sender's and turn up in `request.headers`.
_PROTOCOL_FIELDS = frozenset(_DEFAULTS) | {"compression", "children"}

# RabbitMQ adds these to dead-lettered messages; a message that is sent anew starts without them.
_DEATH_HEADERS = frozenset(
    {"x-death"} | {f"x-{when}-death-{what}" for when in ("first", "last") for what in ("exchange", "queue", "reason")}
)

_EMBEDDED = ("callbacks", "errbacks", "chain", "chord")
_NO_LINKS = dict.fromkeys(_EMBEDDED)


class Context:
    """What a task may know about its own execution. Unknown attributes may be set and stay with the request."""

    __slots__ = ("__dict__", "__weakref__", "_children", "_embed", "_entering", "_job", "_message", "_outbox")

    _children: list[Any] | None
    _embed: Mapping[str, Any] | None
    _entering: bool
    """The tracer is about to call a task that has its own `__call__`; what that one calls in turn is the same run."""
    _job: Job | None
    _message: Message | None
    _outbox: list[Publication] | None
    """Where a worker collects what it publishes together with the end of this task; None: publish directly."""

    if TYPE_CHECKING:
        id: str | None
        task: str | None
        args: Any
        kwargs: Any
        called_directly: bool
        is_eager: bool
        retries: int
        hostname: str | None
        delivery_info: dict[str, Any] | None
        eta: str | None
        expires: str | None
        group: str | None
        group_index: int | None
        taskset: str | None
        chord: Any
        chain: list[Any] | None
        callbacks: list[Any] | None
        errbacks: list[Any] | None
        root_id: str | None
        parent_id: str | None
        correlation_id: str | None
        reply_to: str | None
        properties: dict[str, Any] | None
        headers: dict[str, Any] | None
        origin: str | None
        shadow: str | None
        timelimit: Any
        time_limit: float | None
        soft_time_limit: float | None
        ignore_result: bool | None
        logfile: str | None
        loglevel: int | str | None
        utc: bool | None
        lang: str | None
        argsrepr: str | None
        kwargsrepr: str | None
        stamped_headers: list[str] | None
        stamps: dict[str, Any] | None
        replaced_task_nesting: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._children = self._embed = self._job = self._message = self._outbox = None
        self._entering = False
        self.update(*args, **kwargs)

    @classmethod
    def for_message(
        cls,
        message: Message,
        args: Any,
        kwargs: Any,
        embed: Any,
        hostname: str | None,
        job: Job | None = None,
        outbox: list[Publication] | None = None,
    ) -> Context:
        """The request of a message that a worker runs. Headers stay bytes until one of them is asked for."""
        self = cls.__new__(cls)
        self._children = None
        self._embed = embed
        self._entering = False
        self._job = job
        self._message = message
        self._outbox = outbox
        fields = self.__dict__
        fields["args"] = args
        fields["kwargs"] = kwargs
        fields["hostname"] = hostname
        fields["called_directly"] = False
        return self

    def __getattr__(self, name: str) -> Any:
        # Only reached when the attribute is not set on the instance.
        if name[:2] == "__":
            raise AttributeError(name)
        message = self._message
        if message is not None:
            fields = self.__dict__
            if name == "id":
                value: Any = message.id
            elif name == "retries":
                value = message.retries
            elif name == "task":
                value = message.task
            elif name == "parent_id":
                value = message.parent_id
            elif name == "group":
                value = message.group
            elif name in _EMBEDDED:
                embed = self._embed
                value = embed.get(name) if isinstance(embed, Mapping) else None
            elif name == "is_eager":
                value = False
            else:
                self._load(message)
                fields = self.__dict__
                if name in fields:
                    return fields[name]
                value = _DEFAULTS.get(name, fields)
                if value is fields:
                    raise AttributeError(f"'{type(self).__name__}' object has no attribute {name!r}")
                return value
            fields[name] = value
            return value
        try:
            return _DEFAULTS[name]
        except KeyError:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute {name!r}") from None

    def _load(self, message: Message) -> None:
        """Decodes headers and properties. What was set on the request before stays as it is."""
        self._message = None
        fields = message.headers()
        custom = fields.keys() - _PROTOCOL_FIELDS
        properties = message.properties()
        embed = self._embed if isinstance(self._embed, Mapping) else {}
        fields.update(_NO_LINKS)
        fields.update(embed)
        fields.update(
            headers={name: fields[name] for name in fields if name in custom} if custom else None,
            id=message.id,
            task=message.task,
            retries=message.retries,
            properties=properties,
            reply_to=properties.get("reply_to"),
            correlation_id=properties.get("correlation_id"),
            delivery_info=self._delivery_info(properties),
            is_eager=False,
        )
        if "ignore_result" not in fields:
            fields["ignore_result"] = None  # not said: the task's own setting counts
        fields["time_limit"], fields["soft_time_limit"] = _limits(fields.get("timelimit"))
        fields.update(self.__dict__)
        self.__dict__ = fields

    def _delivery_info(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        told = properties.get("delivery_info")
        told = told if isinstance(told, Mapping) else {}
        job = self._job
        return {
            "exchange": told.get("exchange", ""),
            "routing_key": told.get("routing_key", job.queue if job is not None else None),
            "priority": properties.get("priority"),
            "redelivered": job.redelivered if job is not None else False,
        }

    def _whole(self) -> dict[str, Any]:
        if self._message is not None:
            self._load(self._message)
        return self.__dict__

    def get(self, key: str, default: Any = None) -> Any:
        """The attribute, or `default` if it neither is set nor has a default of its own."""
        return getattr(self, key, default)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Sets attributes, as `dict.update`. A new `timelimit` sets `time_limit` and `soft_time_limit` too."""
        new: dict[str, Any] = dict(*args, **kwargs)
        own = self._whole()
        if "children" in new:
            self._children = new.pop("children")
        own.update(new)
        if "timelimit" in new:
            own["time_limit"], own["soft_time_limit"] = _limits(new["timelimit"])

    def clear(self) -> None:
        """Back to the defaults."""
        self._message = self._embed = self._children = None
        self.__dict__.clear()

    def as_execution_options(self) -> dict[str, Any]:
        """The options that send this task again, as itself (retry, replace). `eta` and `argsrepr` are not kept."""
        limits = self.timelimit
        hard, soft = _limits(limits)
        headers = self.headers
        options: dict[str, Any] = {
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": self.expires,
            "soft_time_limit": soft,
            "time_limit": hard,
            "headers": {k: v for k, v in headers.items() if k not in _DEATH_HEADERS} if headers else headers,
            "retries": self.retries,
            "reply_to": self.reply_to,
            "replaced_task_nesting": self.replaced_task_nesting,
            "origin": self.origin,
        }
        if self.stamped_headers:
            stamps = self.stamps or {}
            options["stamped_headers"] = self.stamped_headers
            options.update((name, stamps[name]) for name in self.stamped_headers if name in stamps)
        return options

    @property
    def children(self) -> list[Any]:
        """Results of the tasks that this one has sent."""
        if self._children is None:
            self._children = []
        return self._children

    @children.setter
    def children(self, value: list[Any] | None) -> None:
        self._children = value

    def __repr__(self) -> str:
        return f"<Context: {self._whole()!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self._whole()),)


def _limits(timelimit: Any) -> tuple[Any, Any]:
    # Only a pair means something; wire.md 1.9 lists what senders have been seen to put here.
    if isinstance(timelimit, (list, tuple)) and len(timelimit) == 2:
        return timelimit[0], timelimit[1]
    return None, None


class Frame(NamedTuple):
    """One running task: the task, its request, and what it interrupted."""

    task: Any
    request: Context
    below: Frame | None


_new_tuple = tuple.__new__  # a third of the time of Frame(...), which every task pays
_running: ContextVar[Frame | None] = ContextVar("celeriac_running", default=None)

collecting: ContextVar[list[Publication] | None] = ContextVar("celeriac_collecting", default=None)
"""While set, `AMQP.publish` appends to this list instead of publishing: the tracer runs callbacks and the next link of
a chain in it, so that they leave together with the result of the task that called them."""


@contextmanager
def collect(outbox: list[Publication] | None) -> Iterator[None]:
    """Publications made inside go to `outbox`; None: they are published at once."""
    token = collecting.set(outbox)
    try:
        yield
    finally:
        collecting.reset(token)


def push_request(task: Any, request: Context) -> Token[Frame | None]:
    """Makes `task` the running one. Undone by `pop_request` with the token returned."""
    return _running.set(_new_tuple(Frame, (task, request, _running.get())))


def pop_request(token: Token[Frame | None] | None = None) -> Context | None:
    """Ends the running task; returns its request. Without a token: whichever is on top."""
    top = _running.get()
    if token is not None:
        _running.reset(token)
    elif top is not None:
        _running.set(top.below)
    return top.request if top is not None else None


def request_of(task: Any) -> Context | None:
    """The request of the innermost running call of `task`, None if it does not run here."""
    frame = _running.get()
    while frame is not None:
        if frame.task is task:
            return frame.request
        frame = frame.below
    return None


def current_frame() -> Frame | None:
    """The innermost running task with its request."""
    return _running.get()


def running_task() -> Any:
    """The innermost running task, None outside of tasks (`current_task`)."""
    frame = _running.get()
    return frame.task if frame is not None else None


def running_worker_task() -> Any:
    """The innermost task that a worker or `apply` runs, skipping tasks called as functions."""
    frame = _running.get()
    while frame is not None and frame.request.called_directly:
        frame = frame.below
    return frame.task if frame is not None else None


def enters(task: Any) -> bool:
    """True once for `Task.__call__` when the task's own `__call__` hands on the call that the tracer made."""
    frame = _running.get()
    if frame is None or frame.task is not task or not frame.request._entering:
        return False
    frame.request._entering = False
    return True


def in_worker() -> bool:
    """True inside a task that a worker runs, however deep."""
    frame = _running.get()
    while frame is not None:
        if frame.request._job is not None:
            return True
        frame = frame.below
    return False


class RequestStack:
    """The requests of one task in this thread or coroutine (`Task.request_stack`)."""

    __slots__ = ("_task",)

    def __init__(self, task: Any) -> None:
        self._task = task

    def push(self, request: Context) -> None:
        """Makes the task run `request`."""
        push_request(self._task, request)

    def pop(self) -> Context | None:
        """Ends the innermost running task."""
        return pop_request()

    @property
    def top(self) -> Context | None:
        """The request that runs, None if the task does not."""
        return request_of(self._task)

    @property
    def stack(self) -> list[Context]:
        """All requests of this task, outermost first."""
        found: list[Context] = []
        frame = _running.get()
        while frame is not None:
            if frame.task is self._task:
                found.append(frame.request)
            frame = frame.below
        return found[::-1]

    def __len__(self) -> int:
        return len(self.stack)
