"""The record that is stored for a task: Celery's result meta document, as a dict, and its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac._bridge import codec
from celeriac.exceptions import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.app.context import Context

_COMPRESSED = b"\x00celery-compressed\x00"
_MAX_DECOMPRESSED_BYTES = 512 * 1024 * 1024


def result_tuples(children: Any) -> Any:
    """Handles of sub-tasks as they are stored: `[[id, parent], members]`. None stays None."""
    if children is None:
        return None
    return [child.as_tuple() if hasattr(child, "as_tuple") else child for child in children]


def build_meta(
    task_id: str,
    state: str,
    result: Any,
    traceback: Any,
    date_done: str | None,
    children: Any,
    request: Context | None,
    *,
    extended: bool,
) -> dict[str, Any]:
    """The meta document. `result` is encoded already; `date_done` is ISO text for a final state, else None."""
    meta: dict[str, Any] = {
        "status": state,
        "result": result,
        "traceback": traceback,
        "children": result_tuples(children),
        "date_done": date_done,
    }
    if request is not None:
        if request.group:
            meta["group_id"] = request.group
        if request.parent_id:
            meta["parent_id"] = request.parent_id
        if extended:
            _extend(meta, request)
    meta["task_id"] = task_id
    return meta


def _extend(meta: dict[str, Any], request: Context) -> None:
    delivery = request.delivery_info
    meta["name"] = request.task
    meta["args"] = request.args
    meta["kwargs"] = request.kwargs
    meta["worker"] = request.hostname
    meta["retries"] = request.retries
    meta["queue"] = delivery.get("routing_key") if isinstance(delivery, dict) else None
    if request.stamped_headers:
        stamps = request.stamps or {}
        meta["stamped_headers"] = request.stamped_headers
        meta.update((name, stamps[name]) for name in request.stamped_headers if name in stamps)


def pack(data: bytes, method: str | None) -> bytes:
    """Compresses an encoded meta (`result_compression`) and says so in front of it."""
    if not method:
        return data
    packed, content_type = codec.compress(data, method)
    return _COMPRESSED + content_type.encode() + b"\x00" + packed


def unpack(data: bytes) -> bytes:
    """The encoded meta, whether it was compressed or not."""
    if not data.startswith(_COMPRESSED):
        return data
    method, found, packed = data[len(_COMPRESSED) :].partition(b"\x00")
    if not found:
        raise DecodeError("compressed result without the name of its compression")
    return codec.decompress(packed, method.decode("ascii", "replace"), _MAX_DECOMPRESSED_BYTES)


def decode_meta(
    meta: Any,
    task_id: str,
    rebuild: Callable[[Any], BaseException],
    children: Callable[[Any], Any],
) -> dict[str, Any]:
    """A stored meta as `AsyncResult` wants it: exceptions and sub-results are objects again.

    Keys that other writers leave out are filled in; keys that we don't know are kept.

    Raises:
        DecodeError: it is no meta document at all.
        SecurityError: the stored exception's type is not an exception class.
    """
    if not isinstance(meta, dict) or not isinstance(meta.get("status"), str):
        raise DecodeError(f"what is stored for task {task_id} is not a result: it has no status")
    decoded: dict[str, Any] = {"traceback": None, "result": None, **meta}
    decoded.setdefault("task_id", task_id)
    if decoded["status"] in states.EXCEPTION_STATES:
        decoded["result"] = _exception_of(decoded, task_id, rebuild)
    if decoded["status"] in states.READY_STATES:
        decoded["children"] = children(decoded.get("children"))
    return decoded


def _exception_of(meta: Mapping[str, Any], task_id: str, rebuild: Callable[[Any], BaseException]) -> Any:
    stored = meta["result"]
    if stored is None:
        if meta["status"] == states.RETRY:
            return None  # Task.retry() without an exception
        return Exception(f"task {task_id} has state {meta['status']}, but no exception was stored")
    if isinstance(stored, BaseException) or (isinstance(stored, dict) and "exc_type" in stored):
        return rebuild(stored)
    # update_state(state=FAILURE, meta=...) and foreign writers leave what is not an exception: keep the facts.
    return Exception(stored)
