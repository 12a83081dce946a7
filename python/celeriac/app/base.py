"""The application object: `Celeriac`, under Celery's name too."""

from __future__ import annotations

import sys
import threading
from collections import defaultdict
from functools import cached_property
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, cast, overload

from celeriac import _state
from celeriac._forks import forks
from celeriac.app._clock import LamportClock
from celeriac.app._setup import Setup
from celeriac.app.config import Settings
from celeriac.app.registry import TaskRegistry
from celeriac.utils.dispatch import Signal

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from typing_extensions import Self

    from celeriac._bridge.broker import Broker
    from celeriac.app.amqp import AMQP
    from celeriac.app.task import CoroutineTask, Task
    from celeriac.canvas import Signature
    from celeriac.result import AsyncResult

    TaskOf = Task[..., Any]  # inside the class `Task` is a property

__all__ = ["App", "Celeriac", "Celery"]

P = ParamSpec("P")
R = TypeVar("R")

_OMITTED: Any = object()


class Celery(Setup):
    """Settings, tasks and the way to the broker. Making one opens nothing: everything waits for its first use.

    Args:
        main: stands for ``__main__`` in task names.
        loader: class, alias or dotted path.
        backend, broker, include: the settings ``result_backend``, ``broker_url``, ``include``.
        amqp, events, log, control: classes that replace the app's helpers.
        set_as_current: make it the current app of this thread.
        tasks: registry, or name -> task.
        changes: settings.
        config_source: as `config_from_object`, when needed.
        fixups: paths of callables that take the app; None: those that are built in.
        task_cls: base of its task classes.
        autofinalize: finalise at the first use of a task.
        namespace: prefix of setting names in the configuration source.
        strict_typing: default of ``Task.typing``.
        **kwargs: more settings.

    Raises:
        ImproperlyConfigured: a keyword that is no setting.
    """

    main: str | None = None
    amqp_cls: Any = "celeriac.app.amqp:AMQP"
    backend_cls: Any = None
    events_cls: Any = "celeriac.app.events:Events"
    loader_cls: Any = None
    log_cls: Any = "celeriac.app.log:Logging"
    control_cls: Any = "celeriac.app.control:Control"
    task_cls: Any = "celeriac.app.task:Task"
    registry_cls: Any = TaskRegistry
    builtin_fixups: Iterable[str] = frozenset({"celeriac.fixups.django:fixup"})

    SYSTEM = sys.platform
    IS_macOS = sys.platform == "darwin"
    IS_WINDOWS = sys.platform == "win32"

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: Any = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: Any = None,
        include: Any = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Iterable[str] | None = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        **kwargs: Any,
    ) -> None:
        self.clock = LamportClock()
        self.main = main
        self.amqp_cls = amqp or self.amqp_cls
        self.events_cls = events or self.events_cls
        self.loader_cls = loader or self._default_loader()
        self.log_cls = log or self.log_cls
        self.control_cls = control or self.control_cls
        self.task_cls = task_cls or self.task_cls
        self.set_as_current = set_as_current
        self.autofinalize = autofinalize
        self.namespace = namespace
        self.strict_typing = strict_typing
        self.configured = False
        self.finalized = False
        self._has_all_tasks = False
        self.user_options: defaultdict[str, set[Any]] = defaultdict(set)
        self.steps: defaultdict[str, set[Any]] = defaultdict(set)
        self.use_fast_trace_task = False
        self._config_source = config_source
        self._pending: list[Any] = []
        self._duplicates: set[str] = set()
        self._pending_defaults: list[Any] = []
        self._pending_periodic_tasks: list[Any] = []
        self._finalize_lock = threading.RLock()
        self._local = threading.local()
        registry = tasks if tasks is not None else {}
        self._tasks: TaskRegistry = registry if isinstance(registry, TaskRegistry) else self.registry_cls(registry)
        self._lazy_backend: Any = None
        self._broker: Any = None
        given = {"broker_url": broker, "result_backend": backend, "include": include, **kwargs}
        self._given = {name: value for name, value in given.items() if value is not None}
        self._changes = dict(changes or {})
        self._conf = Settings(self._load_config, {**self._changes, **self._given})
        self.fixups = set(self.builtin_fixups if fixups is None else fixups)
        self._fixups = self._apply_fixups()
        if set_as_current:
            self.set_current()
        if not callable(getattr(type(self), "on_configure", None)):
            self.on_configure = Signal(name="app.on_configure")
        self.on_after_configure = Signal(name="app.on_after_configure", providing_args={"source"})
        self.on_after_finalize = Signal(name="app.on_after_finalize")
        self.on_after_fork = Signal(name="app.on_after_fork")
        self.on_init()
        _state._register_app(self)

    if TYPE_CHECKING:
        on_configure: Any

    def on_init(self) -> None:
        """For sub-classes: called at the end of the constructor."""

    # --- settings

    @property
    def conf(self) -> Settings:
        """The settings; the first read loads them."""
        return self._conf

    @conf.setter
    def conf(self, value: Any) -> None:
        self._conf = value if isinstance(value, Settings) else Settings(changes=value)

    # --- tasks

    @overload
    def task(self, fun: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
    @overload
    def task(self, fun: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, *, bind: Literal[True], **opts: Any) -> _BoundDecorator: ...
    @overload
    def task(self, *, bind: Literal[False] = ..., **opts: Any) -> _Decorator: ...
    def task(self, *args: Any, **opts: Any) -> Any:
        """Decorator: makes a task of a function, bare or with options.

        Options:
            name: default ``<module>.<function>``.
            base: task class.
            bind: the function's first argument is the task.
            shared: also a task of every other app in the process, as in Celery. Default True.
            lazy: wait with making the task until it is used. Default True.
            pydantic, pydantic_strict, pydantic_context, pydantic_dump_kwargs: validate arguments and dump the result.
            **opts: attributes of the task.

        Raises:
            TypeError: not called with a function or with options.
        """
        from celeriac.app._making import decorate

        return decorate(self, args, opts)

    def register_task(self, task: Any, **options: Any) -> Any:
        """Adds a task object, or an instance of a task class; returns it."""
        from celeriac.app._making import warn_of_duplicate
        from celeriac.app.autoretry import add_autoretry_behaviour

        if isinstance(task, type):
            task = task()
        if not task.name:
            cls = type(task)
            cls.name = self.gen_task_name(cls.__name__, cls.__module__)
        found = self._tasks.get(task.name)
        if found is not None and found is not task:
            first = getattr(found, "_declared", None) or type(found)
            warn_of_duplicate(self, task.name, first, type(task), "the second one takes its place")
        add_autoretry_behaviour(task, **options)
        self._tasks[task.name] = task
        type(task)._app = self
        type(task).bind(self)
        return task

    def gen_task_name(self, name: str, module: str | None) -> str:
        """Name of a task without one; override to name tasks otherwise."""
        from celeriac.utils.imports import gen_task_name

        return gen_task_name(self, name, module)

    @property
    def tasks(self) -> TaskRegistry:
        """The registry. The first access finalises the app."""
        self.finalize(auto=True)
        return self._tasks

    def finalize(self, auto: bool = False) -> None:
        """Makes all tasks that were declared. May be called often.

        Raises:
            RuntimeError: `auto` is set and ``autofinalize`` is off.
        """
        if self._has_all_tasks:
            return
        with self._finalize_lock:  # other threads wait until all are made; the one that makes them comes here again
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("Contract breach: app not finalized")
            self.finalized = True
            import celeriac.app.builtins  # noqa: F401 - registers the built-in tasks

            _state._announce_app_finalized(self)
            from celeriac.local import maybe_evaluate

            while self._pending:
                maybe_evaluate(self._pending.pop(0))
            for task in list(self._tasks.values()):
                type(task).bind(self)
            self._has_all_tasks = True
            self.on_after_finalize.send(sender=self)

    @cached_property
    def Task(self) -> Any:  # noqa: N802 - Celery's name
        """Base of this app's task classes."""
        return self.create_task_cls()

    def create_task_cls(self) -> Any:
        """A task class bound to this app."""
        return self.subclass_with_self(
            self.task_cls, name="Task", attribute="_app", keep_reduce=True, abstract=True, __bound__=False
        )

    def type_checker(self, fun: Callable[..., Any], bound: bool = False) -> Callable[..., object]:
        """What `Task.apply_async` calls with the arguments; raises TypeError when they do not fit `fun`."""
        from celeriac.app._checker import make_checker

        return make_checker(fun, bound)

    # --- calling

    def send_task(
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: float | None = None,
        eta: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        connection: Any = None,
        router: Any = None,
        result_cls: Any = None,
        expires: Any = _OMITTED,
        publisher: Any = None,
        link: Any = None,
        link_error: Any = None,
        add_to_parent: bool = True,
        group_id: str | None = None,
        group_index: int | None = None,
        retries: int = 0,
        chord: Any = None,
        reply_to: str | None = None,
        time_limit: Any = _OMITTED,
        soft_time_limit: Any = _OMITTED,
        root_id: str | None = None,
        parent_id: str | None = None,
        route_name: str | None = None,
        shadow: str | None = None,
        chain: Any = None,
        task_type: Any = None,
        replaced_task_nesting: int = 0,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Sends a task by name; it need not be known here. Options as in `Task.apply_async`.

        A task of this name that is registered here gives its own options as defaults.

        Raises:
            TypeError: `name` is no text, or as `Task.apply_async`.
        """
        from celeriac.app._option_values import check_task_name

        check_task_name(name)
        if self.conf.task_always_eager:
            import warnings

            from celeriac.exceptions import AlwaysEagerIgnored

            warnings.warn(AlwaysEagerIgnored("task_always_eager has no effect on send_task"), stacklevel=2)
        named = {
            "countdown": countdown,
            "eta": eta,
            "task_id": task_id,
            "result_cls": result_cls,
            "link": link,
            "link_error": link_error,
            "group_id": group_id,
            "group_index": group_index,
            "chord": chord,
            "reply_to": reply_to,
            "root_id": root_id,
            "parent_id": parent_id,
            "route_name": route_name,
            "shadow": shadow,
            "chain": chain,
        }
        given = {key: value for key, value in named.items() if value is not None}
        limits = {"expires": expires, "time_limit": time_limit, "soft_time_limit": soft_time_limit}
        # None is said on purpose here: it takes the task's own limit off.
        given.update((key, value) for key, value in limits.items() if value is not _OMITTED)
        given.update(options)
        if not add_to_parent:
            given["add_to_parent"] = False
        if retries:
            given["retries"] = retries
        if replaced_task_nesting:
            given["replaced_task_nesting"] = replaced_task_nesting
        task = task_type or self._tasks.get(name)
        if task is not None and task_type is None:
            given = {**task._get_exec_options(), **given}
        return self._send(name, args, kwargs, given, task)

    def _send(self, name: str, args: Any, kwargs: Any, options: dict[str, Any], task: Any) -> AsyncResult[Any]:
        """Publishes a call with its options merged; returns its result."""
        from celeriac.app._send import send

        result: AsyncResult[Any] = send(self, name, args, kwargs, options, task)
        return result

    def _send_many(self, task: Any, calls: list[Any], options: dict[str, Any], check: Any) -> list[Any]:
        from celeriac.app._send import send_many

        return send_many(self, task, calls, options, check)

    def signature(self, *args: Any, **kwargs: Any) -> Signature[Any]:
        """A signature of this app."""
        from celeriac.canvas import signature

        kwargs["app"] = self
        return signature(*args, **kwargs)

    # --- helpers, made at first use

    @cached_property
    def amqp(self) -> AMQP:
        """Queues, routes and messages."""
        return cast("AMQP", self._instantiate(self.amqp_cls, app=self))

    @cached_property
    def loader(self) -> Any:
        """Finds configuration and task modules."""
        from celeriac.loaders import get_loader_cls

        return get_loader_cls(self.loader_cls)(app=self)

    @cached_property
    def log(self) -> Any:
        """Sets logging up."""
        return self._instantiate(self.log_cls, app=self)

    @cached_property
    def events(self) -> Any:
        """Sends and receives monitoring events."""
        return self._instantiate(self.events_cls, app=self)

    @cached_property
    def control(self) -> Any:
        """Sends commands to workers."""
        return self._instantiate(self.control_cls, app=self)

    @cached_property
    def annotations(self) -> Any:
        """Prepared ``task_annotations``."""
        from celeriac.app.annotations import prepare

        return prepare(self.conf.task_annotations)

    @cached_property
    def AsyncResult(self) -> Any:  # noqa: N802 - Celery's name
        """`celeriac.result.AsyncResult` of this app."""
        return self.subclass_with_self("celeriac.result:AsyncResult", attribute="_app")

    @cached_property
    def ResultSet(self) -> Any:  # noqa: N802
        """`celeriac.result.ResultSet` of this app."""
        return self.subclass_with_self("celeriac.result:ResultSet", attribute="_app")

    @cached_property
    def GroupResult(self) -> Any:  # noqa: N802
        """`celeriac.result.GroupResult` of this app."""
        return self.subclass_with_self("celeriac.result:GroupResult", attribute="_app")

    @cached_property
    def Worker(self) -> Any:  # noqa: N802
        """`celeriac.apps.worker.Worker` of this app."""
        return self.subclass_with_self("celeriac.apps.worker:Worker")

    @cached_property
    def WorkController(self) -> Any:  # noqa: N802
        """`celeriac.worker.WorkController` of this app."""
        return self.subclass_with_self("celeriac.worker:WorkController")

    @cached_property
    def Beat(self) -> Any:  # noqa: N802
        """`celeriac.apps.beat.Beat` of this app."""
        return self.subclass_with_self("celeriac.apps.beat:Beat")

    # --- broker and results

    @property
    def broker(self) -> Broker:
        """The producer's way to the broker; opens at first use."""
        broker = self._broker
        if broker is None:
            broker = self._broker = self._open_broker(self.conf.broker_write_url)
        return cast("Broker", broker)

    @property
    def backend(self) -> Any:
        """The result backend; one a thread unless it says that threads may share it."""
        if self._lazy_backend is not None:
            return self._lazy_backend
        found = getattr(self._local, "backend", None)
        if found is None:
            found = self._local.backend = self._get_backend()
            if getattr(found, "thread_safe", False) or self.conf.result_backend_thread_safe:
                self._lazy_backend = found
        return found

    @backend.setter
    def backend(self, value: Any) -> None:
        self._lazy_backend = value

    # --- current app and task

    def set_current(self) -> None:
        """Makes this the current app of this thread."""
        _state._set_current_app(self)

    def set_default(self) -> None:
        """Makes this the app of threads that have none."""
        _state.set_default_app(self)

    @property
    def current_task(self) -> TaskOf | None:
        """The task that runs here, None outside of tasks."""
        return _state.get_current_task()

    @property
    def current_worker_task(self) -> TaskOf | None:
        """The innermost task that a worker runs here."""
        return _state.get_current_worker_task()

    # --- time and identity

    @property
    def timezone(self) -> dt.tzinfo:
        """``timezone``, else UTC, else the system's without ``enable_utc``. Kept from first use on."""
        found = self.__dict__.get("_timezone")
        if found is None:
            from celeriac.utils.time import timezone

            conf = self.conf
            zone = conf.timezone or ("UTC" if conf.enable_utc else None)
            found = self.__dict__["_timezone"] = timezone.tz_or_local(zone)
        return cast("dt.tzinfo", found)

    def now(self) -> dt.datetime:
        """The time now, aware, in the app's zone."""
        from datetime import datetime

        return datetime.now(self.timezone)

    def uses_utc_timezone(self) -> bool:
        """True if the app's zone is UTC."""
        from datetime import timezone

        return self.timezone is timezone.utc

    @cached_property
    def oid(self) -> str:
        """Id of this app in this process."""
        from celeriac.app._oid import oid_from

        return oid_from(self, threads=False)

    @property
    def thread_oid(self) -> str:
        """Id of this app in this thread: the default ``reply_to``."""
        local = self._local
        found: str | None = getattr(local, "oid", None)
        if found is None or local.forks != forks.count:
            from celeriac.app._oid import oid_from

            found = local.oid = oid_from(self, threads=True)
            local.forks = forks.count
        return found

    def _models(self) -> dict[str, Any]:
        """Models of messages (`_ready_made`), by name of task: they have `thread_oid` and this process in them."""
        found: tuple[int, dict[str, Any]] | None = getattr(self._local, "models", None)
        if found is None or found[0] != forks.count:
            found = self._local.models = forks.count, {}
        return found[1]

    # --- the object

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections and forgets it."""
        broker, self._broker = self._broker, None
        if broker is not None:
            broker.close()
        close_backend = getattr(self._lazy_backend, "close", None)
        if close_backend is not None:
            close_backend()
        _state._deregister_app(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'}:{id(self):#x}>"

    def __reduce__(self) -> Any:
        from celeriac.app._pickle import reduce_app

        return reduce_app(self)

    def __class_getitem__(cls, item: Any) -> GenericAlias:
        return GenericAlias(cls, item if isinstance(item, tuple) else (item,))


if TYPE_CHECKING:

    class _Decorator:
        """``@app.task(...)``."""

        @overload
        def __call__(self, fun: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
        @overload
        def __call__(self, fun: Callable[P, R], /) -> Task[P, R]: ...
        def __call__(self, fun: Any, /) -> Any: ...

    class _BoundDecorator:
        """``@app.task(bind=True, ...)``: the function's first parameter is the task."""

        @overload
        def __call__(self, fun: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
        @overload
        def __call__(self, fun: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...
        def __call__(self, fun: Any, /) -> Any: ...


Celeriac = Celery
App = Celery
