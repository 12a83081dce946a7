"""`celeriac result`: waits for a task and prints what it returned."""

from __future__ import annotations

import os
from typing import Any

import click

from celeriac.bin.base import CeleryCommand, CeleryOption, handle_preload_options, json_option
from celeriac.exceptions import ImproperlyConfigured, TimeoutError
from celeriac.platforms import EX_FAILURE


@click.command(cls=CeleryCommand)
@click.argument("task_id")
@click.option("-t", "--task", cls=CeleryOption, help="Take the result backend of this task.")
@click.option("--traceback", cls=CeleryOption, is_flag=True, help="Print the task's traceback; do not wait.")
@click.option("--timeout", cls=CeleryOption, type=float, help="Give up after so many seconds.")
@json_option
@click.pass_context
@handle_preload_options
def result(
    ctx: click.Context, task_id: str, task: str | None, traceback: bool, timeout: float | None, as_json: bool
) -> None:
    """Wait for the result of the task TASK_ID and print it.

    Exits with 1 if the task failed, was revoked or is not ready in time; with 69 or 78 if the store cannot be used.
    """
    app = ctx.obj.app
    found = app.tasks[task].AsyncResult(task_id) if task else app.AsyncResult(task_id)
    failure: BaseException | None = None
    value: Any = None
    try:
        if traceback:
            ctx.obj.echo(found.traceback or "")
            return
        found.get(timeout=timeout, propagate=False)  # what it raises otherwise is the store's error, not the task's
    except TimeoutError as exc:
        failure = exc
    except NotImplementedError as exc:
        raise ImproperlyConfigured(str(exc)) from exc
    else:
        try:
            value = found.maybe_throw()
        except Exception as exc:
            failure = exc
    if failure is not None and os.environ.get("CELERIAC_TRACEBACK"):
        raise failure
    if as_json:
        error = None if failure is None else {"type": type(failure).__name__, "message": str(failure)}
        ctx.obj.json({"id": task_id, "state": found.state, "result": value, "error": error})
    elif failure is None:
        ctx.obj.echo(str(value))
    else:
        ctx.obj.error(f"Error: {type(failure).__name__}: {failure}")
    if failure is not None:
        ctx.exit(EX_FAILURE)
