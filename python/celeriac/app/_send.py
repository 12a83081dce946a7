"""From a call with merged options to a published message and its result."""

from __future__ import annotations

from typing import Any

from celeriac._bridge.codec import new_ids
from celeriac.app._batch import alike, publications
from celeriac.app._eager import maybe_list
from celeriac.app._option_values import check_task_id
from celeriac.app._ready_made import publish_ready_made
from celeriac.app.context import current_frame

__all__ = ["send", "send_many"]


def _parent() -> Any:
    """The frame of the innermost task that a worker runs here."""
    frame = current_frame()
    while frame is not None and frame.request.called_directly:
        frame = frame.below
    return frame


def _inherit(app: Any, frame: Any, options: dict[str, Any]) -> None:
    """What a task hands on to the tasks that it sends: root, parent, and its priority if so configured."""
    request = frame.request
    if options.get("root_id") is None:
        options["root_id"] = request.root_id or request.id
    if options.get("parent_id") is None:
        options["parent_id"] = request.id
    if app.conf.task_inherit_parent_priority and options.get("priority") is None:
        options["priority"] = (request.delivery_info or {}).get("priority")


def send(app: Any, name: str, args: Any, kwargs: Any, options: dict[str, Any], task: Any) -> Any:
    """Publishes a call; `options` is the caller's to lose."""
    task_id = options.get("task_id")
    tag = None
    if task_id is None:
        task_id, tag = new_ids(2)
    else:
        check_task_id(task_id)
    link = options.get("link")
    if link is not None:
        options["link"] = maybe_list(link)
    link_error = options.get("link_error")
    if link_error is not None:
        options["link_error"] = maybe_list(link_error)
    frame = current_frame()
    if frame is not None:
        frame = _parent()
        if frame is not None:
            _inherit(app, frame, options)
    ignored = options.get("ignore_result")
    if not ignored:
        app._on_task_call(task_id)
    if tag is None or frame is not None or not publish_ready_made(app, name, task_id, tag, args, kwargs, options):
        app.amqp.send(name, task_id, args, kwargs, options, task)
    result_cls = options.get("result_cls")
    if result_cls is not None:
        result = result_cls(task_id)
    elif task is not None and "_backend" in task.__dict__:
        result = task.AsyncResult(task_id)
    else:
        result = app.AsyncResult(task_id, task_name=name)
    result.ignored = bool(ignored)
    if frame is not None and options.get("add_to_parent", True):
        frame.task.add_trail(result)
    return result


def send_many(app: Any, task: Any, calls: list[Any], options: dict[str, Any], check: Any) -> list[Any]:
    """Publishes calls of one task in one step; returns their results."""
    frame = _parent()
    options = dict(options)
    if frame is not None:
        _inherit(app, frame, options)
    amqp, name = app.amqp, task.name
    if check is not None:
        for args, kwargs in calls:
            check(*args, **kwargs)
    ids = new_ids(len(calls))
    made = publications(amqp, name, ids, calls, options, task) if calls and alike(amqp, options) else None
    messages = []
    if made is None:
        messages = [
            (name, amqp.message(name, task_id, args, kwargs, options, task), options)
            for task_id, (args, kwargs) in zip(ids, calls)  # noqa: B905 - of one length
        ]
    ignored = bool(options.get("ignore_result"))
    if not ignored:
        for task_id in ids:
            app._on_task_call(task_id)
    if made is None:
        amqp.send_many(messages)
    else:
        batch, declare = made
        if declare:
            amqp.declare(declare)
        amqp.publish_many(batch)
    results = []
    make, backend = app.AsyncResult, task.__dict__.get("_backend") or app.backend
    trail = frame is not None and options.get("add_to_parent", True)
    for task_id in ids:
        result = make(task_id, backend, name)
        if ignored:
            result.ignored = True
        results.append(result)
        if trail:
            frame.task.add_trail(result)
    return results
