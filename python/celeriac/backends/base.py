"""What a result backend is.

Write one by subclassing `KeyValueStoreBackend` with `get`, `set`, `mget` and `delete`, or `Backend` with the methods
that start with an underscore. Attributes and methods have Celery's names.
"""

from __future__ import annotations

import datetime as dt
import logging
import random
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac import states
from celeriac.backends._coding import Coding, Write
from celeriac.backends._marks import Marks
from celeriac.backends._waiting import Waiting
from celeriac.backends._watch import Watcher
from celeriac.exceptions import BackendGetMetaError, BackendStoreError, ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from celeriac.app.context import Context

__all__ = ["Backend", "BaseBackend", "DisabledBackend", "KeyValueStoreBackend", "Write"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Backend(Coding, Marks, Waiting):
    """A store of states and results.

    Args:
        app: the application.
        serializer: default ``result_serializer``.
        max_cached_results: how many final results to keep here; default ``result_cache_max``; -1 keeps none.
        accept: content types that may be read; default ``result_accept_content``, then ``accept_content``.
        expires: seconds or timedelta until a result may go; default ``result_expires``; 0 keeps it.
        expires_type: callable that the seconds are passed through.
        url: where the store is.
    """

    READY_STATES = states.READY_STATES
    UNREADY_STATES = states.UNREADY_STATES
    EXCEPTION_STATES = states.EXCEPTION_STATES

    subpolling_interval: float | None = None
    supports_native_join = False
    supports_autoexpire = False
    persistent = True
    is_async = False
    thread_safe = True
    retry_policy: dict[str, Any] = {"max_retries": 20, "interval_start": 0, "interval_step": 1, "interval_max": 1}

    hub_url: str | None = None
    """The store's URL if a worker's hub can write to it in the same step as it settles; None: Python writes."""

    hub_options: dict[str, Any] = {}
    """Options of that store for the hub; keys of records have their prefix already."""

    def __init__(
        self,
        app: Any,
        serializer: str | None = None,
        max_cached_results: int | None = None,
        accept: Any = None,
        expires: Any = None,
        expires_type: Callable[[float], Any] | None = None,
        url: str | None = None,
        **kwargs: Any,
    ) -> None:
        del kwargs
        self.app = app
        conf = app.conf
        self._prepare_coding(serializer, accept)
        self.expires = self.prepare_expires(expires, expires_type)
        failure = conf.get("result_failure_expires")
        self.failure_expires = _seconds(failure) if failure is not None else None
        self.url = url
        self.always_retry = bool(conf.get("result_backend_always_retry", False))
        self.max_retries = conf.get("result_backend_max_retries", float("inf"))
        self.base_sleep_between_retries_ms = conf.get("result_backend_base_sleep_between_retries_ms", 10)
        self.max_sleep_between_retries_ms = conf.get("result_backend_max_sleep_between_retries_ms", 10000)
        limit = conf.get("result_cache_max", -1) if max_cached_results is None else max_cached_results
        self._cache = _Cache(limit)
        self._watcher: Watcher | None = None

    @property
    def watcher(self) -> Watcher:
        """Who waits for results that are awaited, and calls back."""
        if self._watcher is None:
            self._watcher = Watcher(self)
        return self._watcher

    # --- settings ----------------------------------------------------------------------------------------------

    def prepare_expires(self, value: Any, type: Callable[[float], Any] | None = None) -> Any:
        """Seconds until a result may go, None to keep it."""
        if value is None:
            value = self.app.conf.result_expires
        seconds = _seconds(value)
        return type(seconds) if seconds is not None and type is not None else seconds

    def prepare_persistent(self, enabled: bool | None = None) -> bool:
        """`enabled`, or what the settings say."""
        if enabled is not None:
            return enabled
        persistent = self.app.conf.get("result_persistent")
        return self.persistent if persistent is None else bool(persistent)

    def as_uri(self, include_password: bool = False) -> str:
        """The URL, without its password unless asked for."""
        from celeriac.app._censor import sanitize_url

        url = self.url or ""
        return url if include_password else sanitize_url(url)

    # --- writing -----------------------------------------------------------------------------------------------

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Context | None = None,
        **kwargs: Any,
    ) -> Any:
        """Stores a state; returns what stands for `result` in the record.

        Raises:
            EncodeError: a result that the serializer cannot hold.
            BackendStoreError: the store could not be reached, after ``result_backend_always_retry``'s retries.
        """
        encoded = self.encode_result(result, state)
        self._retried(
            lambda: self._store_result(task_id, encoded, state, traceback, request=request, **kwargs),
            lambda: BackendStoreError("failed to store result on the backend", task_id=task_id, state=state),
        )
        return encoded

    def forget(self, task_id: str) -> None:
        """Deletes what is stored for the task."""
        self._cache.pop(task_id)
        self._retried(lambda: self._forget(task_id), None)

    def cleanup(self) -> Any:
        """Removes what has expired. Nothing to do where the store does it."""

    def process_cleanup(self) -> None:
        """Called when a task has ended in a worker."""

    def on_task_call(self, producer: Any, task_id: str) -> Any:
        """Called before a task is sent."""

    # --- reading -----------------------------------------------------------------------------------------------

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """The meta of a task; `{"status": "PENDING", "result": None}` for one never heard of.

        Raises:
            DecodeError, ContentDisallowed: what is stored cannot be read.
            BackendGetMetaError: the store could not be reached, after ``result_backend_always_retry``'s retries.
        """
        if cache:
            found = self._cache.get(task_id)
            if found is not None:
                return found
        meta: dict[str, Any] = self._retried(
            lambda: self._get_task_meta_for(task_id),
            lambda: BackendGetMetaError("failed to get meta", task_id=task_id),
        )
        if cache and meta.get("status") == states.SUCCESS:
            self._cache.put(task_id, meta)
        return meta

    def get_task_metas(self, task_ids: list[str]) -> dict[str, dict[str, Any]]:
        """`get_task_meta` of many; one question to the store where it can."""
        return {task_id: self.get_task_meta(task_id) for task_id in task_ids}

    def reload_task_result(self, task_id: str) -> None:
        """Reads a result anew into the cache."""
        self._cache.put(task_id, self.get_task_meta(task_id, cache=False))

    def get_state(self, task_id: str) -> str:
        """The state's name."""
        return str(self.get_task_meta(task_id)["status"])

    get_status = get_state

    def get_result(self, task_id: str) -> Any:
        """Return value, exception or custom meta."""
        return self.get_task_meta(task_id).get("result")

    def get_traceback(self, task_id: str) -> Any:
        """Its text, or None."""
        return self.get_task_meta(task_id).get("traceback")

    def get_children(self, task_id: str) -> Any:
        """Results of the tasks that it sent."""
        return self.get_task_meta(task_id).get("children")

    def task_result_exists(self, task_id: str) -> bool:
        """True if something is stored for the task."""
        return bool(self._get_task_meta_for(task_id)["status"] != states.PENDING)

    # --- groups and chords -------------------------------------------------------------------------------------

    def save_group(self, group_id: str, result: Any) -> Any:
        """Stores the ids of a `GroupResult`."""
        self._retried(lambda: self._save_group(group_id, result), None)
        return result

    def restore_group(self, group_id: str, cache: bool = True) -> Any:
        """The `GroupResult` saved under that id, or None."""
        meta = self.get_group_meta(group_id, cache=cache)
        return meta["result"] if meta else None

    def get_group_meta(self, group_id: str, cache: bool = True) -> dict[str, Any] | None:
        """`{"result": GroupResult}`, or None."""
        if cache:
            found = self._cache.get(f"group:{group_id}")
            if found is not None:
                return found
        meta: dict[str, Any] | None = self._retried(lambda: self._restore_group(group_id), None)
        if cache and meta is not None:
            self._cache.put(f"group:{group_id}", meta)
        return meta

    def reload_group_result(self, group_id: str) -> None:
        """Reads a group anew into the cache."""
        meta = self.get_group_meta(group_id, cache=False)
        if meta is not None:
            self._cache.put(f"group:{group_id}", meta)

    def delete_group(self, group_id: str) -> None:
        """Forgets the ids of a group; the members' results stay."""
        self._cache.pop(f"group:{group_id}")
        self._retried(lambda: self._delete_group(group_id), None)

    def ensure_chords_allowed(self) -> None:
        """Raises NotImplementedError if this backend cannot complete a chord."""

    def apply_chord(self, header_args: Any, body: Any, **kwargs: Any) -> None:
        """Called before the header of a chord is sent."""
        raise NotImplementedError(f"{type(self).__name__} does not complete chords yet")

    def add_to_chord(self, group_id: str, result: Any) -> None:
        """Adds a task to the chord of `group_id`."""
        raise NotImplementedError(f"{type(self).__name__} does not support add_to_chord")

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """How many members a chord has, told once they are counted."""

    def on_chord_part_return(self, request: Context, state: str, result: Any, **kwargs: Any) -> None:
        """Called when a member of a chord has ended."""

    # --- for subclasses ----------------------------------------------------------------------------------------

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Context | None = None,
        **kwargs: Any,
    ) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must implement _store_result")

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        raise NotImplementedError(f"{type(self).__name__} must implement _get_task_meta_for")

    def _forget(self, task_id: str) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not implement forget")

    def _save_group(self, group_id: str, result: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not store groups")

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        raise NotImplementedError(f"{type(self).__name__} does not store groups")

    def _delete_group(self, group_id: str) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not store groups")

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        """True if the operation may be tried again after `exc` (with ``result_backend_always_retry``)."""
        del exc
        return False

    def on_backend_retryable_error(self, exc: Exception) -> None:
        """Called before an operation is tried again."""

    def _retried(self, operation: Callable[[], T], error: Callable[[], Exception] | None) -> T:
        """`operation`, again and again with growing pauses if the settings say so."""
        attempt = 0
        while True:
            try:
                return operation()
            except Exception as exc:
                if not (self.always_retry and self.exception_safe_to_retry(exc)):
                    raise
                if attempt >= self.max_retries:
                    if error is None:
                        raise
                    raise error() from exc
                self.on_backend_retryable_error(exc)
                pause = min(
                    self.max_sleep_between_retries_ms, self.base_sleep_between_retries_ms * 2.0 ** min(attempt, 62)
                )
                pause *= random.random()  # noqa: S311 - jitter
                logger.warning("Failed operation on the result backend, retrying in %.3fs: %r", pause / 1000, exc)
                time.sleep(pause / 1000)
                attempt += 1

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self.app, self.url, self.serializer)


BaseBackend = Backend


class KeyValueStoreBackend(Backend):
    """A backend whose records are bytes under a name: `celery-task-meta-<id>`, `celery-taskset-meta-<id>`."""

    task_keyprefix = "celery-task-meta-"
    group_keyprefix = "celery-taskset-meta-"
    chord_keyprefix = "chord-unlock-"
    implements_incr = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        prefix = self._global_keyprefix()
        if prefix:
            prefix += "" if prefix[-1] in ":_-." else "_"
            self.task_keyprefix = prefix + self.task_keyprefix
            self.group_keyprefix = prefix + self.group_keyprefix
            self.chord_keyprefix = prefix + self.chord_keyprefix

    def _global_keyprefix(self) -> str:
        options = self.app.conf.get("result_backend_transport_options") or {}
        return str(options.get("global_keyprefix") or "")

    # --- the store ---------------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """The bytes under `key`, or None."""
        raise NotImplementedError("Must implement the get method.")

    def mget(self, keys: list[str]) -> Iterable[Any]:
        """The bytes under each key, None for a missing one."""
        return [self.get(key) for key in keys]

    def set(self, key: str, value: bytes) -> Any:
        """Stores bytes."""
        raise NotImplementedError("Must implement the set method.")

    def delete(self, key: str) -> Any:
        """Removes a key; no error if it is not there."""
        raise NotImplementedError("Must implement the delete method.")

    def incr(self, key: str) -> int:
        """Adds one to a counter; returns the new value."""
        raise NotImplementedError("Does not implement incr")

    def expire(self, key: str, value: float) -> Any:
        """Lets a key go after `value` seconds."""
        raise NotImplementedError("Does not implement expire")

    def _set_with_state(self, key: str, value: bytes, state: str) -> Any:
        return self.set(key, value)

    # --- records -----------------------------------------------------------------------------------------------

    def get_key_for_task(self, task_id: str, key: str = "") -> str:
        """Name of a task's record."""
        return f"{self.task_keyprefix}{task_id}{key}"

    def get_key_for_group(self, group_id: str, key: str = "") -> str:
        """Name of a group's record."""
        return f"{self.group_keyprefix}{group_id}{key}"

    def get_key_for_chord(self, group_id: str, key: str = "") -> str:
        """Name of a chord's counter."""
        return f"{self.chord_keyprefix}{group_id}{key}"

    def encode_write(
        self, task_id: str, state: str, result: Any, request: Context | None = None, traceback: Any = None
    ) -> Write:
        """One state of a task as a record for the store, whoever writes it. Raises EncodeError."""
        meta = self.meta_for(task_id, state, result, traceback, request)
        return (
            self.get_key_for_task(task_id),
            self.encode_meta(meta),
            self.expires_ms(state),
            state == states.SUCCESS,
        )

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Context | None = None,
        **kwargs: Any,
    ) -> Any:
        meta = self.meta_for(task_id, state, result, traceback, request)
        # A redelivered copy of a task that succeeded must not unmake the success.
        if self._get_task_meta_for(task_id)["status"] != states.SUCCESS:
            self._set_with_state(self.get_key_for_task(task_id), self.encode_meta(meta), state)
        return result

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        return self._decoded(task_id, self.get(self.get_key_for_task(task_id)))

    def get_task_metas(self, task_ids: list[str]) -> dict[str, dict[str, Any]]:
        """`get_task_meta` of many, in one question."""
        cached = {task_id: meta for task_id in task_ids if (meta := self._cache.get(task_id)) is not None}
        missing = [task_id for task_id in task_ids if task_id not in cached]
        if not missing:
            return cached
        values = self.mget([self.get_key_for_task(task_id) for task_id in missing])
        for task_id, value in zip(missing, values, strict=True):
            meta = self._decoded(task_id, value)
            if meta["status"] == states.SUCCESS:
                self._cache.put(task_id, meta)
            cached[task_id] = meta
        return cached

    def _decoded(self, task_id: str, value: Any) -> dict[str, Any]:
        if not value:
            return {"status": states.PENDING, "result": None}
        return self.decode_result(value, task_id)

    def task_result_exists(self, task_id: str) -> bool:
        """True if there is a record."""
        return bool(self.get(self.get_key_for_task(task_id)))

    def _forget(self, task_id: str) -> None:
        self.delete(self.get_key_for_task(task_id))

    def _save_group(self, group_id: str, result: Any) -> Any:
        self._set_with_state(
            self.get_key_for_group(group_id), self.encode({"result": result.as_tuple()}), states.SUCCESS
        )
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        value = self.get(self.get_key_for_group(group_id))
        if not value:
            return None
        from celeriac.result import result_from_tuple

        meta: dict[str, Any] = self.decode(value)
        meta["result"] = result_from_tuple(meta["result"], self.app)
        return meta

    def _delete_group(self, group_id: str) -> None:
        self.delete(self.get_key_for_group(group_id))


class DisabledBackend(Backend):
    """No results are kept, and asking for one is an error."""

    persistent = False

    def store_result(self, *args: Any, **kwargs: Any) -> Any:
        """Keeps nothing."""

    def forget(self, task_id: str) -> None:
        """Nothing to forget."""

    def ensure_chords_allowed(self) -> None:
        """A chord needs its members' results."""
        raise NotImplementedError(_NO_CHORDS)

    def apply_chord(self, header_args: Any, body: Any, **kwargs: Any) -> None:
        """A chord needs its members' results."""
        raise NotImplementedError(_NO_CHORDS)

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            "no result backend is configured, so there are no results to read; "
            "hint: set result_backend, for example to 'sqlite:///celeriac.db'"
        )

    get_state = get_status = get_result = get_traceback = get_children = _refuse
    get_task_meta = get_task_metas = get_task_meta_for = wait_for = get_many = iter_native = _refuse
    task_result_exists = save_group = restore_group = get_group_meta = delete_group = _refuse

    def as_uri(self, include_password: bool = False) -> str:
        """`disabled://`."""
        return "disabled://"


_NO_CHORDS = (
    "chords need a result backend that keeps results; none is configured. "
    "A group that is chained with another task becomes a chord, too."
)


class _Cache:
    """The last results read, least recently used first. Any thread may use it."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit or 0  # 0 or None: no limit; below 0: keeps nothing
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, Any] | None:
        if not self._kept:
            return None
        with self._lock:
            meta = self._kept.get(key)
            if meta is not None:
                self._kept.move_to_end(key)
            return meta

    def put(self, key: str, meta: dict[str, Any]) -> None:
        if self._limit < 0:
            return
        with self._lock:
            self._kept[key] = meta
            while self._limit and len(self._kept) > self._limit:
                self._kept.popitem(last=False)

    def pop(self, key: str) -> None:
        with self._lock:
            self._kept.pop(key, None)


def _seconds(value: Any) -> float | None:
    if isinstance(value, dt.timedelta):
        value = value.total_seconds()
    elif isinstance(value, str):  # of the environment or a file
        try:
            value = float(value)
        except ValueError:
            raise ImproperlyConfigured(f"{value!r} is no time to keep a result: give seconds or a timedelta") from None
    return value or None


def _reopen(cls: type[Backend], app: Any, url: str | None, serializer: str) -> Backend:
    return cls(app, url=url, serializer=serializer)
