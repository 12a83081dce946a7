"""`Task`: what the decorator makes of a function, and what class-based tasks derive from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar, cast

from celeriac import exceptions
from celeriac.app._checker import make_checker
from celeriac.app.annotations import resolve_all as resolve_all_annotations
from celeriac.app.context import Context, RequestStack, enters, pop_request, push_request, request_of
from celeriac.app.registry import _unpickle_task_v2

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from celeriac.app.base import Celery
    from celeriac.canvas import Signature
    from celeriac.result import AsyncResult, EagerResult

__all__ = ["BaseTask", "Context", "Task", "TaskType"]

P = ParamSpec("P")
R = TypeVar("R")

# Options of the task itself that go with each message.
EXEC_OPTIONS = (
    "queue",
    "routing_key",
    "exchange",
    "priority",
    "expires",
    "serializer",
    "delivery_mode",
    "compression",
    "time_limit",
    "soft_time_limit",
    "immediate",
    "mandatory",
)

TaskType = type


class _AppProperty:
    """`Task.app`, on the class and on its instances."""

    def __get__(self, task: Task[..., Any] | None, cls: type[Task[..., Any]]) -> Celery:
        return cls._get_app()

    def __set__(self, task: Task[..., Any], app: Celery) -> None:
        type(task).bind(app)


class Task(Generic[P, R]):
    """A task: parameters `P`, result `R`. One instance a process, shared by all its threads.

    Attributes that are None take their value from the setting that `from_config` names when the task is bound to its
    app. Class-based tasks define `run` and, if need be, `name`.
    """

    __trace__: Any = None
    __v2_compat__: ClassVar[bool] = False
    __bound__: ClassVar[bool] = False
    _decorated: ClassVar[bool] = False
    _app: ClassVar[Any] = None
    _exec_options: dict[str, Any] | None = None
    _default_request: Context | None = None

    MaxRetriesExceededError = exceptions.MaxRetriesExceededError
    OperationalError = exceptions.OperationalError
    Strategy: Any = "celeriac.worker.strategy:default"
    Request: Any = "celeriac.worker.request:Request"

    name: str = None  # type: ignore[assignment]  # every registered task has one
    typing: bool | None = None
    max_retries: int | None = 3
    default_retry_delay: float = 3 * 60
    rate_limit: str | float | None = None
    ignore_result: bool | None = None
    trail: bool = True
    send_events: bool = True
    store_errors_even_if_ignored: bool | None = None
    store_eager_result: bool | None = None
    serializer: str | None = None
    compression: str | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    track_started: bool | None = None
    acks_late: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    acks_on_failure: bool | None = None
    acks_on_timeout: bool | None = None
    reject_on_worker_lost: bool | None = None
    throws: tuple[type[BaseException], ...] = ()
    expires: float | dt.datetime | None = None
    priority: int | None = None
    resultrepr_maxsize: int = 1024
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: Mapping[str, Any] = {}
    retry_backoff: bool | float = False
    retry_backoff_max: int = 600
    retry_jitter: bool = True
    max_crashes: int | None = None
    """Not in Celery: after so many crashes of its process the message is a dead letter (``task_max_crashes``)."""
    abstract: bool = True
    request_stack: RequestStack

    from_config: tuple[tuple[str, str], ...] = (
        ("serializer", "task_serializer"),
        ("rate_limit", "task_default_rate_limit"),
        ("priority", "task_default_priority"),
        ("track_started", "task_track_started"),
        ("acks_late", "task_acks_late"),
        ("acks_on_failure_or_timeout", "task_acks_on_failure_or_timeout"),
        ("acks_on_failure", "task_acks_on_failure"),
        ("acks_on_timeout", "task_acks_on_timeout"),
        ("reject_on_worker_lost", "task_reject_on_worker_lost"),
        ("ignore_result", "task_ignore_result"),
        ("store_eager_result", "task_store_eager_result"),
        ("store_errors_even_if_ignored", "task_store_errors_even_if_ignored"),
        ("time_limit", "task_time_limit"),
        ("soft_time_limit", "task_soft_time_limit"),
        ("max_crashes", "task_max_crashes"),
    )

    app = _AppProperty()

    def __new__(cls, *args: Any, **kwargs: Any) -> Task[P, R]:
        self = super().__new__(cls)
        self.request_stack = RequestStack(self)
        return self

    # --- binding

    @classmethod
    def _get_app(cls) -> Celery:
        if cls._app is None:
            from celeriac._state import get_current_app

            cls._app = get_current_app()
        if not cls.__dict__.get("__bound__"):
            cls.bind(cls._app)
        app: Celery = cls._app
        return app

    @classmethod
    def bind(cls, app: Celery) -> Celery:
        """Makes `app` the task's app and fills attributes that are None from its settings."""
        was_bound = cls.__dict__.get("__bound__", False)
        cls.__bound__ = True
        cls._app = app
        cls._exec_options = None
        conf = app.conf
        if cls.typing is None:
            cls.typing = app.strict_typing
        for attribute, setting in cls.from_config:
            if getattr(cls, attribute, None) is None:
                setattr(cls, attribute, conf[setting])
        # Not said of this kind of end: what is said of both, else acknowledge.
        both = True if cls.acks_on_failure_or_timeout is None else cls.acks_on_failure_or_timeout
        cls.acks_on_failure = both if cls.acks_on_failure is None else cls.acks_on_failure
        cls.acks_on_timeout = both if cls.acks_on_timeout is None else cls.acks_on_timeout
        if not was_bound:
            cls.annotate()
        cls.on_bound(app)
        return app

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Called when the task was bound to `app`."""

    @classmethod
    def annotate(cls) -> None:
        """Applies ``task_annotations``."""
        for found in resolve_all_annotations(cls._app.annotations, cls):
            for key, value in found.items():
                if key.startswith("@"):
                    cls.add_around(key[1:], value)
                else:
                    setattr(cls, key, value)

    @classmethod
    def add_around(cls, attr: str, around: Callable[..., Any]) -> None:
        """Replaces method `attr` by ``around(method)``."""
        wrapper = around(getattr(cls, attr))
        # The body of a task that is not bound takes no `self`.
        is_static = isinstance(vars(cls).get(attr), staticmethod)
        setattr(cls, attr, staticmethod(wrapper) if is_static else wrapper)

    # --- running

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the body here and now: no message, no handlers, no stored result."""
        if enters(self):  # super().__call__() of a task that a worker runs: it is the same run
            entered: R = self.run(*args, **kwargs)
            return entered
        token = push_request(self, Context(args=args, kwargs=kwargs))
        try:
            result: R = self.run(*args, **kwargs)
            return result
        finally:
            pop_request(token)

    if TYPE_CHECKING:
        run: Callable[..., Any]
        __wrapped__: Callable[..., Any]
    else:

        def run(self, *args: Any, **kwargs: Any) -> Any:
            """The body."""
            raise NotImplementedError(f"task {self.name!r} must define run()")

    @property
    def request(self) -> Context:
        """The request that this task works on; outside of a run an empty one, new each time."""
        return request_of(self) or Context()

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Makes this the running task with a request of these fields."""
        push_request(self, Context(*args, **kwargs))

    def pop_request(self) -> None:
        """Undoes `push_request`."""
        pop_request()

    @property
    def backend(self) -> Any:
        """The result backend."""
        own = self.__dict__.get("_backend")
        return self.app.backend if own is None else own

    @backend.setter
    def backend(self, value: Any) -> None:
        self.__dict__["_backend"] = value

    # --- calling

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Sends the task with these arguments."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: tuple[Any, ...] | list[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult[R]:
        """Sends the task.

        Args:
            args: its positional arguments.
            kwargs: its keyword arguments.
            task_id: an id of the caller's own.
            producer: accepted for Celery's sake.
            link: signatures that follow on success, one or a list.
            link_error: signatures that follow on failure.
            shadow: name for logs and events.
            **options: see docs/guide/calling.md; what is no option becomes a message property.

        Raises:
            TypeError: arguments that the task does not take, or a misspelt option.
            ValueError: an option that cannot be used.
            OperationalError: the broker did not take the message.
        """
        app = self._app if self.__bound__ else self._get_app()
        if self.typing:
            check = self.__dict__.get("_checker") or self._make_checker()
            check(*(args or ()), **(kwargs or {}))
        if self.soft_time_limit and self.time_limit and self.soft_time_limit > self.time_limit:
            raise ValueError(
                f"soft_time_limit {self.soft_time_limit} of task {self.name!r} must not be above time_limit "
                f"{self.time_limit}"
            )
        if self._shadows:
            shadow = shadow or self.shadow_name(args, kwargs, options)
        own = self._exec_options
        if own is None:
            own = self._get_exec_options()
        if task_id is not None:
            options["task_id"] = task_id
        if link is not None:
            options["link"] = link
        if link_error is not None:
            options["link_error"] = link_error
        if shadow is not None:
            options["shadow"] = shadow
        merged = {**own, **options} if options else own.copy()
        if merged.get("ignore_result") is None:
            merged["ignore_result"] = self.ignore_result
        if app.conf.task_always_eager:
            return self._apply_eager(args, kwargs, merged)
        result: AsyncResult[R] = app._send(self.name, args, kwargs, merged, self)
        return result

    def _apply_eager(self, args: Any, kwargs: Any, options: dict[str, Any]) -> EagerResult[R]:
        """`apply` with arguments as they would arrive: through the serializer and back."""
        from celeriac.app._eager import through_serializer
        from celeriac.result import denied_join_result

        args, kwargs = through_serializer(args or (), kwargs or {}, options.get("serializer") or "json")
        with denied_join_result():
            return self.apply(args, kwargs, **options)

    def apply_many(self, calls: Any, **options: Any) -> list[AsyncResult[R]]:
        """Sends many calls, in few steps. Not in Celery.

        Args:
            calls: each a tuple or list of arguments, a pair ``(args, kwargs)`` of a tuple or list and a dict, or a
                dict of keyword arguments.
            **options: as in `apply_async`, for all of them; ``chunk_size`` (default 1000) messages go in one step.

        Returns:
            A result a call, in order.

        Raises:
            As `apply_async`. Chunks before the one that failed were sent: the error says how many calls were.
        """
        from celeriac.app._bulk import apply_many

        results: list[AsyncResult[R]] = apply_many(self, calls, options)
        return results

    def apply(
        self,
        args: tuple[Any, ...] | list[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        logfile: str | None = None,
        loglevel: int | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult[R]:
        """Runs the task here, with handlers, signals and retries, and returns when it has ended.

        `throw` raises what the task raises (None: ``task_eager_propagates``); `retries` is the number of this attempt,
        from 0; the others are those of `apply_async`. Time limits and rate limits do not count here.
        """
        from celeriac.app._eager import apply

        result: EagerResult[R] = apply(
            self, args, kwargs, link, link_error, task_id, retries, throw, logfile, loglevel, headers, options
        )
        return result

    def _make_checker(self) -> Callable[..., object]:
        header = getattr(self, "__header__", None)
        if header is None:
            header = make_checker(self.run)
        self.__dict__["_checker"] = header
        checker: Callable[..., object] = header
        return checker

    @property
    def _shadows(self) -> bool:
        return type(self).shadow_name is not Task.shadow_name

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str | None:
        """Override to give calls another name in logs and events."""

    def _get_exec_options(self) -> dict[str, Any]:
        found = {name: getattr(self, name, None) for name in EXEC_OPTIONS}
        if not found["priority"]:
            del found["priority"]
        self._exec_options = {name: value for name, value in found.items() if value is not None}
        return self._exec_options

    # --- retrying

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: dt.datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> exceptions.Retry:
        """Sends the task that runs once more and ends this attempt by raising `Retry`.

        Args:
            args: other positional arguments for the next attempt.
            kwargs: other keyword arguments.
            exc: why; raised when there are no attempts left.
            throw: raise the `Retry`; False returns it.
            eta: when.
            countdown: in so many seconds; without either after ``default_retry_delay``.
            max_retries: instead of the task's, for this attempt.
            **options: call options of the next attempt.

        Raises:
            Retry: the next attempt was sent.
            MaxRetriesExceededError: no attempts are left and `exc` is None.
            Reject: the next attempt could not be sent.
        """
        from celeriac.app._retry import retry

        return retry(self, args, kwargs, exc, throw, eta, countdown, max_retries, options)

    def signature_from_request(
        self,
        request: Context | None = None,
        args: Any = None,
        kwargs: Any = None,
        queue: str | None = None,
        **extra_options: Any,
    ) -> Signature[R]:
        """The signature that would run this request again."""
        request = self.request if request is None else request
        args = request.args if args is None else args
        kwargs = request.kwargs if kwargs is None else kwargs
        options = {**request.as_execution_options(), **extra_options}
        delivery = request.delivery_info or {}
        priority = delivery.get("priority")
        if priority is not None:
            options.setdefault("priority", priority)
        if queue:
            options["queue"] = queue
        elif "queue" not in extra_options and "exchange" not in extra_options:
            # By the default exchange the routing key is the queue's name.
            exchange, key = delivery.get("exchange"), delivery.get("routing_key")
            if exchange == "" and key:
                options["queue"] = key
            elif delivery:
                options.update(exchange=exchange, routing_key=key)
        return self.signature(args, kwargs, type=self, **options)

    subtask_from_request = signature_from_request

    # --- signatures

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Signature[R]:
        """A signature of this task; arguments as in `Signature`."""
        from celeriac.canvas import signature

        starkwargs.setdefault("app", self.app)
        found: Signature[R] = signature(self, args, *starargs, **starkwargs)
        return found

    subtask = signature

    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """``.signature(args, kwargs)``."""
        return self.signature(args, kwargs)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """``.signature(args, kwargs, immutable=True)``."""
        return self.signature(args, kwargs, immutable=True)

    def chunks(self, it: Any, n: int) -> Any:
        """Comes with canvas."""
        from celeriac.canvas import chunks

        return chunks(self.signature(), it, n, app=self.app)

    def map(self, it: Any) -> Any:
        """Comes with canvas."""
        from celeriac.canvas import xmap

        return xmap(self.signature(), it, app=self.app)

    def starmap(self, it: Any) -> Any:
        """Comes with canvas."""
        from celeriac.canvas import xstarmap

        return xstarmap(self.signature(), it, app=self.app)

    def replace(self, sig: Any) -> Any:
        """Comes with canvas."""
        raise NotImplementedError("Task.replace() comes with chains, groups and chords, which are not there yet")

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Comes with canvas.

        Raises:
            ValueError: the task is no member of a chord.
        """
        if not self.request.chord:
            raise ValueError("the current task is not a member of a chord")
        raise NotImplementedError("Task.add_to_chord() comes with chords, which are not there yet")

    # --- results and events

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult[R]:  # noqa: N802 - Celery's name
        """The result of task `task_id`."""
        kwargs.setdefault("backend", self.__dict__.get("_backend"))
        result: AsyncResult[R] = self.app.AsyncResult(task_id, task_name=self.name, **kwargs)
        return result

    def update_state(
        self,
        task_id: str | None = None,
        state: str | None = None,
        meta: Any = None,
        **kwargs: Any,
    ) -> None:
        """Stores a state, also one of your own, and `meta` for a task; by default for the one that runs."""
        request = self.request
        task_id = request.id if task_id is None else task_id
        self.backend.store_result(task_id, meta, state, request=request, **kwargs)

    def send_event(self, type_: str, retry: bool = True, retry_policy: Any = None, **fields: Any) -> None:
        """Does nothing yet: monitoring events come with a later version."""

    def add_trail(self, result: Any) -> Any:
        """Adds to the children of the running request, unless ``trail`` is off."""
        if self.trail:
            self.request.children.append(result)
        return result

    def start_strategy(self, app: Celery, consumer: Any, **kwargs: Any) -> Any:
        """The function that takes this task's messages in a worker."""
        from celeriac.utils.imports import instantiate

        return instantiate(self.Strategy, self, app, consumer, **kwargs)

    # --- handlers

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Before the body runs. What it raises counts as the task's failure."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """After the result was stored."""

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """When the task will run again."""

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """When the task has failed."""

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """At the end of a task that succeeded or failed."""

    def on_replace(self, sig: Any) -> Any:
        """Comes with canvas."""
        raise NotImplementedError("Task.on_replace() comes with chains, groups and chords, which are not there yet")

    # --- the object

    @property
    def __name__(self) -> str:
        return cast("str", type(self).__name__)  # the class's, by way of `type`

    def __repr__(self) -> str:
        app = self._app
        bound = f" of {app.main or hex(id(app))}" if app is not None and self.__bound__ else " (unbound)"
        return f"<@task: {self.name}{bound}>"

    def __reduce__(self) -> Any:
        # Tasks are found again by name; the module is imported first where they are unpickled.
        module = type(self).__module__
        by_name = ("__main__", "__mp_main__", "celeriac.app.task")
        return _unpickle_task_v2, (self.name, None if module in by_name else module), None


if TYPE_CHECKING:
    from collections.abc import Coroutine

    class CoroutineTask(Task[P, R]):
        """What the decorator makes of a coroutine function: calling it gives a coroutine, its result is `R`."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...  # type: ignore[override]


BaseTask = Task
