"""How a backend turns results, exceptions and whole metas into bytes and back."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac._bridge import codec
from celeriac._bridge.codec import json_dumps
from celeriac.app.context import current_frame
from celeriac.backends import _exceptions, _meta
from celeriac.exceptions import DecodeError, EncodeError
from celeriac.utils.serialization import UnpickleableExceptionWrapper

if TYPE_CHECKING:
    from celeriac.app.context import Context

Write = tuple[str, bytes, "int | None", bool]
"""`(key, value, expires_ms, success)`: one record, ready for the store. `expires_ms` is wall clock."""

# Serializers without a type for exceptions: these are stored as structure.
_STRUCTURE_ONLY = {"json", "yaml", "msgpack", "application/json", "application/x-yaml", "application/x-msgpack"}

_PICKLE = "application/x-python-serialize"
_PLAIN = {type(None), bool, int, float, str, list, dict}
_SUCCESS = (
    b'{"status": "SUCCESS", "result": %b, "traceback": null, "children": [], "date_done": "%b.%06d%b", %b"task_id": %b}'
)


class Coding:
    """The part of a backend that knows the record format and nothing about where records are kept."""

    app: Any
    serializer: str
    accept: frozenset[str] | None
    expires: float | None
    failure_expires: float | None
    compression: str | None
    extended: bool
    _zone: dt.tzinfo
    _content_type: str
    _content_encoding: str
    _second: tuple[int, bytes, bytes] = (-1, b"", b"")

    def _prepare_coding(self, serializer: str | None, accept: Any) -> None:
        conf = self.app.conf
        self.serializer = serializer or conf.result_serializer or "json"
        self._content_type, self._content_encoding, _ = codec.dumps(None, self.serializer)
        wanted = accept or conf.result_accept_content or conf.accept_content
        self.accept = codec.accept_types(wanted)
        self.compression = conf.get("result_compression")
        self.extended = bool(conf.result_extended)
        self._zone = self.app.timezone

    # --- values ------------------------------------------------------------------------------------------------

    def encode(self, data: Any) -> bytes:
        """`data` in the backend's serializer. Raises EncodeError."""
        return codec.dumps(data, self.serializer)[2]

    def decode(self, payload: Any) -> Any:
        """Raises DecodeError, or ContentDisallowed if the serializer is not accepted."""
        if payload is None:
            return None
        data = _meta.unpack(bytes(payload) if not isinstance(payload, str) else payload.encode())
        if self._content_type == _PICKLE and (self.accept is None or _PICKLE in self.accept):
            return _exceptions.unpickle(data)
        return codec.loads(data, self._content_type, self._content_encoding, self.accept)

    def prepare_value(self, result: Any) -> Any:
        """`result` as it is put into a meta: handles of other results become their tuples."""
        if self.serializer != "pickle" and hasattr(result, "as_tuple") and hasattr(result, "supports_native_join"):
            return result.as_tuple()
        return result

    # --- exceptions --------------------------------------------------------------------------------------------

    def prepare_exception(self, exc: Any, serializer: str | None = None) -> Any:
        """What is stored for `exc`: structure, or with pickle the exception itself."""
        if exc is None or not isinstance(exc, BaseException):
            return exc
        if (serializer or self.serializer) in _STRUCTURE_ONLY:
            return _exceptions.exception_document(exc, self.encode)
        return _exceptions.picklable_exception(exc)

    def exception_to_python(self, exc: Any) -> BaseException | None:
        """The exception of what `prepare_exception` made, by whatever serializer and writer."""
        if not exc:
            return None
        if isinstance(exc, BaseException):
            return _exceptions.restored(exc) if isinstance(exc, UnpickleableExceptionWrapper) else exc
        if isinstance(exc, Mapping):
            return _exceptions.rebuild(exc)
        raise DecodeError(f"stored exception must be a mapping or an exception, got {type(exc).__name__}")

    def encode_result(self, result: Any, state: str) -> Any:
        """The `result` member of a meta."""
        if state in states.EXCEPTION_STATES and isinstance(result, BaseException):
            return self.prepare_exception(result)
        return self.prepare_value(result)

    # --- whole records -----------------------------------------------------------------------------------------

    def date_done(self) -> str:
        """Now, as it is stored: ISO 8601 with the offset of the app's time zone."""
        return dt.datetime.now(self._zone).isoformat()

    def expires_ms(self, state: str) -> int | None:
        """When a record written now may go: wall clock, milliseconds; None keeps it."""
        expires = self.expires
        if state == states.FAILURE and self.failure_expires is not None:
            expires = self.failure_expires
        return int((time.time() + expires) * 1000) if expires else None

    def meta_for(
        self, task_id: str, state: str, result: Any, traceback: Any = None, request: Context | None = None
    ) -> dict[str, Any]:
        """The meta document of a state, ready to be encoded."""
        if traceback is not None and not isinstance(traceback, str):
            traceback = str(traceback)
        return _meta.build_meta(
            task_id,
            state,
            self.encode_result(result, state),
            traceback,
            self.date_done() if state in states.READY_STATES else None,
            self.current_task_children(request),
            request,
            extended=self.extended,
        )

    def encode_meta(self, meta: dict[str, Any]) -> bytes:
        """Raises EncodeError."""
        try:
            data = self.encode(meta)
        except EncodeError:
            if "args" not in meta:
                raise
            # Arguments came by another serializer than results go by: their text must do, the state matters more.
            bounded = codec.bounded_repr
            data = self.encode({**meta, "args": bounded(meta["args"]), "kwargs": bounded(meta["kwargs"])})
        return _meta.pack(data, self.compression) if self.compression else data

    def plain_json(self) -> bool:
        """True if `success_record` may stand for `encode_meta`: nothing about the format is out of the ordinary."""
        cls = type(self)
        same = cls.encode is Coding.encode and cls.encode_meta is Coding.encode_meta and cls.meta_for is Coding.meta_for
        return same and self.serializer == "json" and not self.compression and not self.extended

    def success_record(
        self, task_id: str, result: Any, now_ns: int, group: str | None = None, parent_id: str | None = None
    ) -> bytes:
        """The encoded meta of a success without sub-tasks, put together from its parts.

        `now_ns` is wall clock, nanoseconds. Raises EncodeError. A fifth of the time of `meta_for` and `encode_meta`.
        """
        if type(result) not in _PLAIN:
            result = self.prepare_value(result)
        whole, fraction = divmod(now_ns, 1_000_000_000)
        second, prefix, suffix = self._second
        if second != whole:
            second, prefix, suffix = self._second = self._spell(whole)
        family = b""
        if group:
            family = b'"group_id": %b, ' % json_dumps(group)
        if parent_id:
            family += b'"parent_id": %b, ' % json_dumps(parent_id)
        return _SUCCESS % (json_dumps(result), prefix, fraction // 1000, suffix, family, json_dumps(task_id))

    def _spell(self, second: int) -> tuple[int, bytes, bytes]:
        """A second as it stands in `date_done`, before and after the fraction. Kept: formatting a date takes 1 µs."""
        text = dt.datetime.fromtimestamp(second, self._zone).isoformat().encode()
        return second, text[:19], text[19:]

    def current_task_children(self, request: Context | None = None) -> Any:
        """Sub-results of `request`, or of the task that runs here; None outside of tasks."""
        if request is None:
            frame = current_frame()
            if frame is None:
                return None
            request = frame.request
        return getattr(request, "children", None) or []

    def meta_from_decoded(self, meta: Any, task_id: str = "") -> dict[str, Any]:
        """A meta as `AsyncResult` wants it. Raises DecodeError, SecurityError."""
        return _meta.decode_meta(meta, task_id, self._rebuild, self._children)

    def decode_result(self, payload: bytes, task_id: str = "") -> dict[str, Any]:
        """`meta_from_decoded` of stored bytes."""
        return self.meta_from_decoded(self.decode(payload), task_id)

    def _rebuild(self, stored: Any) -> BaseException:
        found = self.exception_to_python(stored)
        return found if found is not None else Exception("no exception was stored")

    def _children(self, stored: Any) -> Any:
        if not stored:
            return stored
        from celeriac.result import result_from_tuple

        return [result_from_tuple(child, self.app) for child in stored]
