"""Automatic retries: ``autoretry_for``, with exponential back-off and jitter."""

from __future__ import annotations

from functools import wraps
from typing import Any

from celeriac.exceptions import Ignore, Retry

__all__ = ["add_autoretry_behaviour"]

_OPTIONS = (
    "autoretry_for",
    "dont_autoretry_for",
    "retry_kwargs",
    "retry_backoff",
    "retry_backoff_max",
    "retry_jitter",
)


def add_autoretry_behaviour(task: Any, **options: Any) -> None:
    """Wraps ``task.run`` so that exceptions of ``autoretry_for`` retry; once a task. The original is ``_orig_run``."""
    settings: dict[str, Any] = {name: options.get(name, getattr(task, name, None)) for name in _OPTIONS}
    if not settings["autoretry_for"] or hasattr(task, "_orig_run"):
        return
    catch = tuple(settings["autoretry_for"])
    spare = tuple(settings["dont_autoretry_for"] or ())
    original = task._orig_run = task.run

    def retry_of(exc: BaseException) -> Retry:
        """What to raise for `exc`: the `Retry`, or what `retry` makes of it when no attempts are left."""
        # A copy: the mapping belongs to the class, and other threads run the task, too.
        kwargs = dict(settings["retry_kwargs"] or {})
        if settings["retry_backoff"]:
            from celeriac.utils.time import get_exponential_backoff_interval  # here: 3 ms that few apps need

            kwargs["countdown"] = get_exponential_backoff_interval(
                factor=int(max(1.0, float(settings["retry_backoff"]))),
                retries=task.request.retries,
                maximum=int(settings["retry_backoff_max"]),
                full_jitter=settings["retry_jitter"],
            )
        override = task.request.get("override_max_retries")
        if override is not None:
            kwargs["max_retries"] = override
        retry: Retry = task.retry(exc=exc, throw=False, **kwargs)
        # Eager retries raise in Celery as well: the runner applies the signature.
        retry.exc = retry.exc or (exc if isinstance(exc, Exception) else None)
        return retry

    if _is_coroutine_function(original):

        @wraps(original)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            try:
                return await original(*args, **kwargs)
            except (Ignore, Retry, *spare):
                raise
            except catch as exc:
                raise retry_of(exc) from exc

        task.run = run_async
        return

    @wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except (Ignore, Retry, *spare):
            raise
        except catch as exc:
            raise retry_of(exc) from exc

    task.run = run


def _is_coroutine_function(function: Any) -> bool:
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    return bool(code is not None and code.co_flags & 0x80)  # inspect.CO_COROUTINE
