"""``@app.task(pydantic=True)``: arguments become models, a model that is returned becomes a dict."""

from __future__ import annotations

import typing
from functools import wraps
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pydantic_wrapper"]


def pydantic_wrapper(
    app: Any,
    fun: Callable[..., Any],
    name: str,
    strict: bool = False,
    context: dict[str, Any] | None = None,
    dump_kwargs: dict[str, Any] | None = None,
    bound: bool = False,
) -> Callable[..., Any]:
    """`fun` with its arguments validated and its result dumped; a coroutine function stays one.

    Only parameters whose annotation is a model, or ``Model | None``, are validated; the caller's side does nothing.

    Raises:
        ImproperlyConfigured: pydantic is not installed.
    """
    try:
        from pydantic import BaseModel
    except ImportError as exc:
        raise ImproperlyConfigured(
            f"task {name!r} has pydantic=True, but pydantic is not installed\nhint: pip install 'celeriac[pydantic]'"
        ) from exc
    import inspect

    signature = inspect.signature(fun)
    hints = _hints(fun)
    models = {
        parameter: model
        for parameter in signature.parameters
        if (model := _model_of(hints.get(parameter), BaseModel)) is not None
    }
    returned = _model_of(hints.get("return"), BaseModel)
    validation = {**(context or {}), "celery_app": app, "celery_task_name": name}
    dumping = {"mode": "json", **(dump_kwargs or {})}
    del bound  # the task itself is the first argument then; it has no model

    def validated(args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        given = signature.bind(*args, **kwargs)
        for parameter, model in models.items():
            value = given.arguments.get(parameter)
            if value is not None:
                given.arguments[parameter] = model.model_validate(value, strict=strict, context=validation)
        return given

    def dumped(value: Any) -> Any:
        return value.model_dump(**dumping) if returned is not None and isinstance(value, returned) else value

    if inspect.iscoroutinefunction(fun):

        @wraps(fun)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            given = validated(args, kwargs)
            return dumped(await fun(*given.args, **given.kwargs))

        return run_async

    @wraps(fun)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = validated(args, kwargs)
        return dumped(fun(*given.args, **given.kwargs))

    return run


def _hints(fun: Callable[..., Any]) -> dict[str, Any]:
    """Annotations, those written as text evaluated; one that cannot be is left out."""
    try:
        return typing.get_type_hints(fun)
    except (NameError, TypeError):
        return {key: value for key, value in fun.__annotations__.items() if not isinstance(value, str)}


def _model_of(annotation: Any, base: type) -> Any:
    """The model of ``Model``, ``Optional[Model]`` or ``Model | None``; None for anything else."""
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        others = [arg for arg in typing.get_args(annotation) if arg is not NoneType]
        if len(others) != 1:
            return None
        annotation = others[0]
    is_model = isinstance(annotation, type) and issubclass(annotation, base)
    return annotation if is_model else None
