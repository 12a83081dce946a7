"""What follows a task: its callbacks, the next step of its chain, its errbacks, and steps that can no longer run."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from celeriac.app.context import Context, collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger("celeriac.app.trace")


def follow(app: Any, request: Context, retval: Any, *, inherit_priority: bool) -> None:
    """Sends the callbacks of a task that succeeded, then the next step of its chain.

    In a worker the messages are collected in the request's outbox and leave with the result, in one step.

    Raises:
        Exception: a signature that cannot be sent; the task has failed then.
    """
    callbacks, chain = request.callbacks, request.chain
    if not callbacks and not chain:
        return
    from celeriac.canvas import maybe_signature

    options: dict[str, Any] = {"parent_id": request.id, "root_id": request.root_id or request.id}
    if inherit_priority and request.delivery_info and request.delivery_info.get("priority") is not None:
        options["priority"] = request.delivery_info["priority"]
    with collect(request._outbox):
        if callbacks:
            _send_callbacks(app, [maybe_signature(each, app=app) for each in callbacks], retval, options)
        if chain:
            steps = list(chain)
            step: Any = maybe_signature(steps.pop(), app=app)
            step.apply_async((retval,), chain=steps, **options)


def _send_callbacks(app: Any, signatures: list[Any], retval: Any, options: Mapping[str, Any]) -> None:
    if len(signatures) == 1:
        signatures[0].apply_async((retval,), **options)
        return
    from celeriac.canvas import send_as_group

    for each in signatures:
        if each.subtask_type == "group":
            each.apply_async((retval,), **options)
    if single := [each for each in signatures if each.subtask_type != "group"]:
        send_as_group(app, single, (retval,), options)


def chain_steps(request: Context) -> Iterator[Context]:
    """The steps that a failure leaves without a chance to run, next one first, each as a request.

    A step that is a chord stands for its body: that is what somebody waits for.
    """
    for step in reversed(request.chain or ()):
        while isinstance(step, dict) and step.get("subtask_type") == "chord":
            step = (step.get("kwargs") or {}).get("body")
        if not isinstance(step, dict):
            continue
        options = step.get("options") or {}
        context = Context(
            {
                **options,
                "id": options.get("task_id"),
                "task": step.get("task"),
                "args": step.get("args"),
                "kwargs": step.get("kwargs"),
                "group": options.get("group_id"),
                "callbacks": options.get("link"),
                "errbacks": options.get("link_error"),
            }
        )
        yield context


def call_errbacks(app: Any, request: Context, exc: BaseException, traceback: Any) -> None:
    """Calls each errback here if it takes `(request, exc, traceback)`, else sends it with the failed task's id.

    What an errback raises is logged: it does not change what became of the task.
    """
    from celeriac.canvas import maybe_signature, send_as_group

    to_send: list[Any] = []
    for each in request.errbacks or ():
        errback: Any = maybe_signature(each, app=app)
        task = app.tasks.get(errback.task)
        if task is not None and _takes_failure(task, errback):
            try:
                errback(request, exc, traceback)
            except Exception:
                logger.exception("errback %s of task %s failed", errback.task, request.id)
        else:
            to_send.append(errback)
    if not to_send:
        return
    options = {"parent_id": request.id, "root_id": request.root_id or request.id}
    try:
        with collect(request._outbox):
            if len(to_send) == 1:
                to_send[0].apply_async((request.id,), **options)
            else:
                send_as_group(app, to_send, (request.id,), options)
    except Exception:
        logger.exception("errbacks of task %s could not be sent", request.id)


def _takes_failure(task: Any, errback: Any) -> bool:
    """True for an unbound, decorated task with room for more than one positional argument."""
    run = getattr(task, "run", None)
    if run is None or not getattr(task, "_decorated", False) or hasattr(run, "__self__"):
        return False
    room = 0
    try:
        parameters = inspect.signature(task.__wrapped__ if hasattr(task, "__wrapped__") else run).parameters.values()
    except (TypeError, ValueError):
        return False
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return True
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}:
            room += 1
    return room - len(errback.args or ()) > 1
