"""`Task.apply_many`: many calls of one task in few steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

__all__ = ["apply_many"]

CHUNK = 1000
"""Messages in one step: enough to make its cost small beside theirs, few enough to keep memory flat."""


def apply_many(task: Any, calls: Iterable[Any], options: dict[str, Any]) -> list[Any]:
    """See `Task.apply_many`."""
    app = task.app
    size = int(options.pop("chunk_size", CHUNK))
    if size < 1:
        raise ValueError(f"chunk_size {size}: expected at least 1")
    if "task_id" in options:
        raise ValueError("task_id: each call of apply_many gets an id of its own")
    if app.conf.task_always_eager:
        return [task.apply_async(*_args_of(call), **options) for call in calls]
    results: list[Any] = []
    rest = iter(calls)
    merged = {**task._get_exec_options(), **options}
    if merged.get("ignore_result") is None:
        merged["ignore_result"] = task.ignore_result
    for name in ("link", "link_error"):
        if merged.get(name) is not None and not isinstance(merged[name], (list, tuple)):
            merged[name] = [merged[name]]
    check = (task.__dict__.get("_checker") or task._make_checker()) if task.typing else None
    while chunk := list(islice(rest, size)):
        try:
            results += app._send_many(task, [_args_of(call) for call in chunk], merged, check)
        except Exception as exc:
            _note(exc, f"apply_many: the first {len(results)} calls were sent, the others were not")
            raise
    return results


def _args_of(call: Any) -> tuple[Any, Any]:
    """``(args, kwargs)`` of one call."""
    # The plain cases first: asking whether something is a Mapping costs more than all else here.
    if isinstance(call, (tuple, list)):
        if isinstance(call, tuple) and len(call) == 2 and isinstance(call[0], (list, tuple)):
            args, kwargs = call
            if isinstance(kwargs, Mapping):
                return args, kwargs
        return call, {}
    if isinstance(call, Mapping):
        return (), call
    raise TypeError(f"apply_many: expected a tuple of arguments, a pair (args, kwargs) or a dict, got {call!r}")


def _note(exc: BaseException, text: str) -> None:
    if hasattr(exc, "add_note"):  # Python 3.11
        exc.add_note(text)
