"""Apps: `Celery`, the current one, and `shared_task`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from celeriac._state import app_or_default as app_or_default
    from celeriac.app.base import Celery as Celery
    from celeriac.app.base import _BoundDecorator, _Decorator
    from celeriac.app.task import CoroutineTask, Task

__all__ = [
    "AppPickler",
    "Celery",
    "app_or_default",
    "bugreport",
    "default_app",
    "disable_trace",
    "enable_trace",
    "pop_current_task",
    "push_current_task",
    "shared_task",
]

P = ParamSpec("P")
R = TypeVar("R")

# Imported when asked for: celeriac.app.context and others are wanted without the app itself.
_LAZY = {
    "Celeriac": "celeriac.app.base:Celery",
    "Celery": "celeriac.app.base:Celery",
    "app_or_default": "celeriac._state:app_or_default",
}


def __getattr__(name: str) -> Any:
    if name == "default_app":
        from celeriac._state import get_current_app
        from celeriac.local import Proxy

        return Proxy(get_current_app)
    path = _LAZY.get(name)
    if path is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def bugreport(app: Celery | None = None) -> str:
    """A text for bug reports."""
    from celeriac._state import get_current_app

    return (app or get_current_app()).bugreport()


def enable_trace() -> None:
    """Makes the use of the current app as a fall-back an error."""
    import os

    os.environ["CELERIAC_TRACE_APP"] = "1"


def disable_trace() -> None:
    """Undoes `enable_trace`."""
    import os

    os.environ.pop("CELERIAC_TRACE_APP", None)


def push_current_task(task: Any) -> None:
    """Makes `task` the running one."""
    from celeriac.app.context import Context, push_request
    from celeriac.local import maybe_evaluate

    push_request(maybe_evaluate(task), Context())


def pop_current_task() -> Any:
    """Ends the running task; returns it."""
    from celeriac.app.context import pop_request, running_task

    task = running_task()
    pop_request()
    return task


class AppPickler:
    """Kept for Celery's sake: apps pickle themselves."""

    def __call__(self, cls: Any, *args: Any) -> Any:
        return cls(*args)


@overload
def shared_task(fun: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
@overload
def shared_task(fun: Callable[P, R], /) -> Task[P, R]: ...
@overload
def shared_task(*, bind: Literal[True], **kwargs: Any) -> _BoundDecorator: ...
@overload
def shared_task(*, bind: Literal[False] = ..., **kwargs: Any) -> _Decorator: ...
def shared_task(*args: Any, **kwargs: Any) -> Any:
    """Decorator: a task of every app in the process, now and later, for packages that have no app of their own.

    What it returns is the task of the app that is current whenever it is used. Options as in `Celery.task`.
    """

    def create(fun: Callable[..., Any], **options: Any) -> Any:
        from celeriac import _state
        from celeriac.app._making import task_from_fun
        from celeriac.local import Proxy

        for unused in ("shared", "lazy", "filter"):
            options.pop(unused, None)

        def make(app: Any) -> Any:
            return task_from_fun(app, fun, **options)

        _state.connect_on_app_finalize(make)
        for app in _state._get_active_apps():
            if app.finalized:
                with app._finalize_lock:
                    make(app)

        def task_of_current_app() -> Any:
            app = _state.get_current_app()
            name = options.get("name") or app.gen_task_name(fun.__name__, fun.__module__)
            return app.tasks[name]

        return Proxy(task_of_current_app, __doc__=fun.__doc__)

    if len(args) == 1 and callable(args[0]):
        return create(args[0], **kwargs)
    if args:
        raise TypeError(f"@shared_task takes one function or options, got {args!r}")
    return lambda fun: create(fun, **kwargs)
