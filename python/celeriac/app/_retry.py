"""`Task.retry`: sends the next attempt of the running task."""

from __future__ import annotations

from typing import Any, NoReturn

from celeriac.app.context import collect
from celeriac.exceptions import Reject, Retry

__all__ = ["retry"]


def retry(
    task: Any,
    args: Any,
    kwargs: Any,
    exc: BaseException | None,
    throw: bool,
    eta: Any,
    countdown: float | None,
    max_retries: int | None,
    options: dict[str, Any],
) -> Retry:
    """See `Task.retry`."""
    request = task.request
    attempt = (request.retries or 0) + 1
    if max_retries is not None:
        # On the request, not on the task: other threads run the task, too.
        request.update(override_max_retries=max_retries)
    limit = task.max_retries if max_retries is None else max_retries
    if request.called_directly:
        # Nobody would send the next attempt: the caller gets what went wrong.
        _raise_with(exc or Retry("Task can be retried", None))
    if not eta and countdown is None:
        countdown = task.default_retry_delay
    signature = task.signature_from_request(
        request,
        args,
        kwargs,
        countdown=countdown,
        eta=eta,
        retries=attempt,
        ignore_result=request.ignore_result,
        **options,
    )
    if limit is not None and attempt > limit:
        if exc is not None:
            _raise_with(exc)
        raise task.MaxRetriesExceededError(
            f"Can't retry {task.name}[{request.id}] args:{signature.args} kwargs:{signature.kwargs}",
            task_args=signature.args,
            task_kwargs=signature.kwargs,
        )
    ended = Retry(exc=exc, when=eta or countdown, is_eager=request.is_eager, sig=signature)
    if request.is_eager:
        if throw:
            raise ended
        return ended
    try:
        with collect(request._outbox):  # in a worker it leaves together with the end of this attempt
            signature.apply_async()
    except Exception as error:
        raise Reject(error, requeue=False) from error
    if throw:
        raise ended
    return ended


def _raise_with(exc: BaseException) -> NoReturn:
    """Raises `exc`; chained to the exception that is being handled if it is another one."""
    import sys

    active = sys.exc_info()[1]
    if active is not None and active is not exc:
        raise exc from active
    raise exc
