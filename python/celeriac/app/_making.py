"""What ``@app.task`` does: a task class of its own for each function, made when first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac._state import connect_on_app_finalize
from celeriac.app._checker import make_checker
from celeriac.app.autoretry import add_autoretry_behaviour
from celeriac.local import PromiseProxy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["decorate", "task_from_fun"]


def decorate(app: Any, args: tuple[Any, ...], opts: dict[str, Any]) -> Any:
    """``app.task(*args, **opts)``."""
    if len(args) == 1 and callable(args[0]):
        return _declare(app, args[0], opts)
    if args:
        if len(args) > 1:
            raise TypeError(f"@task takes one function or options, got {len(args)} positional arguments")
        raise TypeError(f"@task takes a function, got {args[0]!r}")
    return lambda fun: _declare(app, fun, opts)


def _declare(app: Any, fun: Callable[..., Any], opts: dict[str, Any]) -> Any:
    opts = dict(opts)
    shared, lazy, keep = opts.pop("shared", True), opts.pop("lazy", True), opts.pop("filter", None)
    if not callable(fun):
        raise TypeError(f"@task takes a function, got {fun!r}")
    if shared:

        def make_shared(other: Any) -> Any:
            return task_from_fun(other, fun, **opts)

        # Celery skips this app, which registers the task itself.
        connect_on_app_finalize(make_shared)
    if not lazy or app.finalized:
        made = task_from_fun(app, fun, **opts)
    else:
        made = PromiseProxy(_make_late, (app, fun), opts, __doc__=fun.__doc__)
        app._pending.append(made)
    return keep(made) if keep is not None else made


def _make_late(app: Any, fun: Callable[..., Any], **opts: Any) -> Any:
    with app._finalize_lock:  # another thread may be making it just now: there must be one
        if not app.finalized:
            # Making one task makes all of them, so that names are complete whoever asks first.
            app.finalize(auto=True)
        return task_from_fun(app, fun, **opts)


def task_from_fun(
    app: Any,
    fun: Callable[..., Any],
    name: str | None = None,
    base: Any = None,
    bind: bool = False,
    pydantic: bool = False,
    pydantic_strict: bool = False,
    pydantic_context: dict[str, Any] | None = None,
    pydantic_dump_kwargs: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """The task made of `fun`, registered; the one that is there already if the name is taken, as in Celery."""
    if not app.finalized and not app.autofinalize:
        raise RuntimeError("Contract breach: app not finalized")
    name = name or app.gen_task_name(fun.__name__, fun.__module__)
    found = app._tasks.get(name)
    if found is not None:
        warn_of_duplicate(app, name, getattr(found, "_declared", None), fun, "the first one stays")
        return found
    run: Callable[..., Any] = fun
    if pydantic:
        from celeriac.app._pydantic import pydantic_wrapper

        run = pydantic_wrapper(app, fun, name, pydantic_strict, pydantic_context, pydantic_dump_kwargs, bind)
    attributes: dict[str, Any] = {
        "app": _app_property(base or app.Task),
        "_app": app,
        "__bound__": False,
        "name": name,
        "run": run if bind else staticmethod(run),
        "_decorated": True,
        "__doc__": fun.__doc__,
        "__module__": fun.__module__,
        "__annotations__": getattr(fun, "__annotations__", {}),
        "__wrapped__": run if bind else staticmethod(fun),
        **options,
    }
    cls: Any = type(fun.__name__, (base or app.Task,), attributes)
    task = cls()
    task._declared = fun
    checker_of = type(app).type_checker
    task._checker = make_checker(fun, bind) if checker_of is _base_checker() else app.type_checker(fun, bound=bind)
    cls.__header__ = staticmethod(task._checker)
    task.__qualname__ = getattr(fun, "__qualname__", fun.__name__)
    app._tasks[name] = task
    cls.bind(app)
    add_autoretry_behaviour(task, **options)
    return task


def warn_of_duplicate(app: Any, name: str, first: Any, second: Any, what: str) -> None:
    """Warns, once a name, that another callable has the name already. The same one may be declared again."""
    if first is None or first is second or name in app._duplicates:
        return
    app._duplicates.add(name)
    import warnings

    from celeriac.exceptions import DuplicateTaskNameWarning

    warnings.warn(
        DuplicateTaskNameWarning(
            f"task name {name!r} is taken: {_place(first)} and {_place(second)} both have it; {what}\n"
            "hint: give one of them another name"
        ),
        stacklevel=4,
    )


def _place(fun: Any) -> str:
    return f"{getattr(fun, '__module__', None)}.{getattr(fun, '__qualname__', type(fun).__qualname__)}"


def _base_checker() -> Any:
    from celeriac.app.base import Celery

    return Celery.type_checker


def _app_property(base: Any) -> Any:
    """A class-based base may have replaced ``app``; tasks made by the decorator always look their app up."""
    from celeriac.app.task import Task

    return Task.__dict__["app"]
