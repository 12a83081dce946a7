"""`Signature`: a call to be made later, with its options. Chains, groups and chords come with a later version."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypeVar

from celeriac._state import get_current_app
from celeriac.utils import uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.app.base import Celery
    from celeriac.result import AsyncResult, EagerResult

__all__ = [
    "Signature",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "maybe_subtask",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]

R = TypeVar("R")

_LATER = "chains, groups and chords are not there yet"


class Signature(dict[str, Any], Generic[R]):
    """Name, arguments and options of a call; a dict that serialises as such.

    Args:
        task: name, task, or a dict to take over.
        args, kwargs: arguments.
        options: call options.
        type: the task, if `task` is its name.
        subtask_type: kind of canvas; None for a plain call.
        immutable: ignore arguments that are added later, such as the parent's result.
        app: the app; else the current one when needed.
        **extra_options: more call options.
    """

    TYPES: ClassVar[dict[str, type[Signature[Any]]]] = {}
    _app: Celery | None = None
    _type: Any = None

    def __init__(
        self,
        task: Any = None,
        args: Any = None,
        kwargs: Any = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Celery | None = None,
        **extra_options: Any,
    ) -> None:
        self._app = app
        if isinstance(task, dict):
            super().__init__(task)
            return
        if isinstance(task, str) or task is None:
            name, self._type = task, type
        else:
            name, self._type = task.name, task
        super().__init__(
            task=name,
            args=tuple(args or ()),
            kwargs=kwargs or {},
            options=dict(options or {}, **extra_options),
            subtask_type=subtask_type,
            immutable=immutable,
        )

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[Any], Any]:
        """Decorator: adds a kind of canvas."""

        def register(subclass: Any) -> Any:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Celery | None = None) -> Signature[Any]:
        """A signature from its dict, of the class that ``subtask_type`` names.

        Raises:
            NotImplementedError: a kind of canvas that is not there yet.
        """
        kind = d.get("subtask_type")
        if kind:
            found = cls.TYPES.get(kind)
            if found is None:
                raise NotImplementedError(f"a signature of type {kind!r}: {_LATER}")
            if found is not cls:
                return found.from_dict(d, app=app)
        return Signature(dict(d), app=app)

    # --- calling

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Runs the task here and now."""
        args, kwargs, _ = self._merge(partial_args, partial_kwargs, None)
        return self.type(*args, **kwargs)

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> AsyncResult[R]:
        """Sends it, these arguments before its own."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply_async(
        self, args: Any = None, kwargs: Any = None, route_name: str | None = None, **options: Any
    ) -> AsyncResult[R]:
        """Sends it; arguments and options are merged as in `clone`. Options that are None do not count."""
        options = {name: value for name, value in options.items() if value is not None}
        if args or kwargs or options:
            args, kwargs, options = self._merge(args, kwargs, options)
        else:
            args, kwargs, options = self.args, self.kwargs, self.options
        if route_name:
            options = {**options, "route_name": route_name}
        send = self._apply_async
        result: AsyncResult[R] = send(args, kwargs, **options)
        return result

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> EagerResult[R]:
        """Runs it here, as `Task.apply`."""
        options = {name: value for name, value in options.items() if value is not None}
        args, kwargs, options = self._merge(args, kwargs, options)
        options.pop("countdown", None), options.pop("eta", None)
        result: EagerResult[R] = self.type.apply(args, kwargs, **options)
        return result

    @property
    def _apply_async(self) -> Callable[..., Any]:
        task = self._type
        if task is None:
            task = self.app._tasks.get(self["task"]) if self._app is not None else None
        if task is not None:
            send: Callable[..., Any] = task.apply_async
            return send
        app = self.app
        return lambda args, kwargs, **options: app.send_task(self["task"], args, kwargs, **options)

    def _merge(
        self, args: Any = None, kwargs: Any = None, options: Mapping[str, Any] | None = None, force: bool = False
    ) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
        """What is added goes before its own arguments and over its own keywords and options.

        The group and stamps that it has are kept.
        """
        merged = dict(self.options)
        if options:
            keep = {"group_id", "stamped_headers", *(merged.get("stamped_headers") or ())}
            merged.update((name, value) for name, value in options.items() if name not in keep or name not in merged)
        if self.immutable and not force:
            return tuple(self.args), dict(self.kwargs), merged
        return (
            tuple(args or ()) + tuple(self.args),
            {**self.kwargs, **(kwargs or {})},
            merged,
        )

    # --- copies

    def clone(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Signature[R]:
        """A copy with these arguments and options merged in."""
        if args or kwargs or opts:
            args, kwargs, options = self._merge(args, kwargs, opts)
        else:
            args, kwargs, options = tuple(self.args), dict(self.kwargs), self.options
        copy: Signature[R] = Signature.from_dict(
            {
                "task": self["task"],
                "args": args,
                "kwargs": dict(kwargs),
                "options": deepcopy(options),
                "subtask_type": self.subtask_type,
                "immutable": self.immutable,
            },
            app=self._app,
        )
        copy._type = self._type
        return copy

    partial = clone

    def replace(self, args: Any = None, kwargs: Any = None, options: Any = None) -> Signature[R]:
        """A copy with whole parts replaced."""
        copy = self.clone()
        if args is not None:
            copy["args"] = args
        if kwargs is not None:
            copy["kwargs"] = kwargs
        if options is not None:
            copy["options"] = options
        return copy

    def set(self, immutable: bool | None = None, **options: Any) -> Signature[R]:
        """Changes options in place; returns itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Sets whether arguments can be added."""
        self["immutable"] = immutable

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> AsyncResult[R]:
        """Gives it an id without sending it; returns the result that it will have."""
        options = self.options
        task_id = options.get("task_id") or _id or uuid()
        options["task_id"] = task_id
        if root_id:
            options["root_id"] = root_id
        if parent_id:
            options["parent_id"] = parent_id
        if "reply_to" not in options:
            options["reply_to"] = self.app.thread_oid
        if group_id and "group_id" not in options:
            options["group_id"] = group_id
        if chord:
            options["chord"] = chord
        if group_index is not None:
            options["group_index"] = group_index
        return self.AsyncResult(task_id)

    _freeze = freeze

    # --- links

    def link(self, callback: Any) -> Any:
        """Adds what follows on success; returns it."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Adds what follows on failure; returns it."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Signature[R]:
        """`link_error` that returns this signature."""
        self.link_error(errback)
        return self

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Adds `value` to option `key` unless it is there."""
        items = self._list_option(key)
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Adds several values to option `key`."""
        self._list_option(key).extend(value if isinstance(value, (list, tuple)) else [value])

    def _list_option(self, key: str) -> list[Any]:
        items = self.options.get(key)
        if not isinstance(items, list):
            items = [] if items is None else list(items) if isinstance(items, tuple) else [items]
            self.options[key] = items
        return items

    def flatten_links(self) -> list[Any]:
        """This signature and all that follow it on success."""
        found: list[Any] = [self]
        for callback in self.options.get("link") or ():
            found += maybe_signature(callback, app=self._app).flatten_links()
        return found

    # --- operators

    def __or__(self, other: Any) -> NoReturn:  # not dict's union
        raise NotImplementedError(f"{self} | {other!r}: {_LATER}; use link()")

    def __ior__(self, other: Any) -> NoReturn:  # not dict's update
        raise NotImplementedError(f"{self} |= {other!r}: {_LATER}; use link()")

    def __invert__(self) -> R:
        return self.apply_async().get()

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> NoReturn:
        """Comes with canvas."""
        raise NotImplementedError(f"stamp(): {_LATER}")

    # --- the object

    @property
    def type(self) -> Any:
        """The task.

        Raises:
            NotRegistered: the app does not know it.
        """
        return self._type or self.app.tasks[self["task"]]

    @property
    def app(self) -> Celery:
        """The app."""
        return self._app or get_current_app()

    @property
    def AsyncResult(self) -> Callable[..., AsyncResult[R]]:  # noqa: N802 - Celery's name
        """Makes results of this task."""
        make: Callable[..., AsyncResult[R]] = self._type.AsyncResult if self._type is not None else self.app.AsyncResult
        return make

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self["task"])

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self["task"])

    @property
    def args(self) -> Any:
        """Positional arguments."""
        return self.get("args") or ()

    @property
    def kwargs(self) -> Any:
        """Keyword arguments."""
        return self.get("kwargs") or {}

    @property
    def options(self) -> dict[str, Any]:
        """Call options."""
        options: dict[str, Any] = self.setdefault("options", {})
        return options

    @property
    def subtask_type(self) -> str | None:
        """Kind of canvas."""
        return self.get("subtask_type")

    @property
    def immutable(self) -> bool:
        """True if no arguments can be added."""
        return bool(self.get("immutable"))

    @property
    def id(self) -> str | None:
        """The id that it will have, once frozen."""
        return self.options.get("task_id")

    @property
    def parent_id(self) -> str | None:
        """Id of the task that sends it."""
        return self.options.get("parent_id")

    @property
    def root_id(self) -> str | None:
        """Id of the first task of the workflow."""
        return self.options.get("root_id")

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """``name(1, key=2)``, with these arguments merged in."""
        from celeriac.utils.functional import reprcall

        args, kwargs, _ = self._merge(args, kwargs, {}, force=True)
        return reprcall(self["task"], args, kwargs)

    def __repr__(self) -> str:
        return self.reprcall()

    def __json__(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> Any:
        return signature, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        # As in Celery: a signature inside options becomes a plain dict, which is what goes on the wire.
        memo[id(self)] = self
        return {key: deepcopy(value, memo) for key, value in self.items()}

    def __copy__(self) -> Signature[R]:
        return self.clone()

    def __hash__(self) -> int:  # type: ignore[override]  # dicts have none; signatures are put in sets by identity
        return id(self)


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature[Any]:
    """A signature from a name, a task, a dict, or another one (cloned)."""
    app = kwargs.get("app")
    if isinstance(varies, dict):
        if isinstance(varies, Signature):
            return varies.clone()
        return Signature.from_dict(varies, app=app)
    return Signature(varies, *args, **kwargs)


def maybe_signature(d: Any, app: Celery | None = None, clone: bool = False) -> Any:
    """None as it is; a dict or signature as signature of `app`, a copy with `clone`."""
    if d is None:
        return None
    if isinstance(d, Signature):
        if clone:
            d = d.clone()
    elif isinstance(d, dict):
        d = Signature.from_dict(d, app=app)
    if app is not None and isinstance(d, Signature):
        d._app = app
    return d


def send_as_group(app: Any, signatures: list[Any], args: Any, options: Mapping[str, Any]) -> Any:
    """Sends plain signatures as the members of one group; its result becomes a child of the running task.

    Several callbacks of a task leave like this.
    """
    group_id = uuid()
    results = []
    for index, each in enumerate(signatures):
        member = each.clone()
        member.options.update(group_id=group_id, group_index=index)
        results.append(member.apply_async(args, add_to_parent=False, **options))
    whole = app.GroupResult(group_id, results)
    parent = app.current_worker_task
    if parent is not None:
        parent.add_trail(whole)
    return whole


subtask = signature
maybe_subtask = maybe_signature


class _Later:
    """Stands for a kind of canvas that is not there yet: it can be imported, but not made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__}(): {_LATER}")


class chain(_Later):  # noqa: N801 - Celery's names
    """Comes with a later version."""


class group(_Later):  # noqa: N801
    """Comes with a later version."""


class chord(_Later):  # noqa: N801
    """Comes with a later version."""


class chunks(_Later):  # noqa: N801
    """Comes with a later version."""


class xmap(_Later):  # noqa: N801
    """Comes with a later version."""


class xstarmap(_Later):  # noqa: N801
    """Comes with a later version."""
