"""Several results as one. `celeriac.result` is where to import these classes from."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac._joining import assert_will_not_block
from celeriac._promise import Promise
from celeriac._state import app_or_default
from celeriac.exceptions import ImproperlyConfigured, TimeoutError
from celeriac.result import AsyncResult, ResultBase, _control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["GroupResult", "ResultSet"]

_SUCCESSFUL = frozenset({states.SUCCESS})
_FAILED = frozenset({states.FAILURE})


class ResultSet(ResultBase):
    """Results in an order, each once.

    Args:
        results: the members.
        app: default: that of the first member.
        ready_barrier: accepted for Celery's sake.
    """

    __module__ = "celeriac.result"  # where pickles look for it

    _app: Any = None
    results: list[Any]

    def __init__(self, results: Iterable[Any], app: Any = None, ready_barrier: Any = None, **kwargs: Any) -> None:
        del ready_barrier, kwargs
        self.results = list(results)
        self._app = app
        self._on_full: Promise | None = None

    # --- members -----------------------------------------------------------------------------------------------

    def add(self, result: Any) -> None:
        """Adds a member, unless it is one."""
        if result not in self.results:
            self.results.append(result)

    def _find(self, result: Any) -> Any:
        return self.app.AsyncResult(result) if isinstance(result, str) else result

    def remove(self, result: Any) -> None:
        """Removes a member, given as result or id. Raises KeyError."""
        try:
            self.results.remove(self._find(result))
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Removes a member if it is one."""
        try:
            self.remove(result)
        except KeyError:
            pass

    def update(self, results: Iterable[Any]) -> None:
        """Adds several."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """Removes all."""
        self.results[:] = []

    # --- states ------------------------------------------------------------------------------------------------

    def _ask(self, question: str, states_that_are: frozenset[str]) -> Iterator[bool]:
        """What each member answers to `question`; those not known to be final are asked for in one go."""
        asked: dict[str, Any] = {}
        for result in self.results:
            if isinstance(result, AsyncResult) and result._cache is None and result.backend is self.backend:
                asked[result.id] = result
        metas = self.backend.get_task_metas(list(asked)) if len(asked) > 1 else {}
        for result in self.results:
            if getattr(result, "id", None) in asked and result.id in metas:
                yield result._maybe_set_cache(metas[result.id])["status"] in states_that_are
            else:
                yield getattr(result, question)()

    def successful(self) -> bool:
        """True if all have succeeded."""
        return all(self._ask("successful", _SUCCESSFUL))

    def failed(self) -> bool:
        """True if any has failed."""
        return any(self._ask("failed", _FAILED))

    def waiting(self) -> bool:
        """True if any is not ready."""
        return not self.ready()

    def ready(self) -> bool:
        """True if all are ready."""
        return all(self._ask("ready", states.READY_STATES))

    def completed_count(self) -> int:
        """How many have succeeded."""
        return sum(self._ask("successful", _SUCCESSFUL))

    def maybe_throw(self, callback: Callable[[str, Any], Any] | None = None, propagate: bool = True) -> None:
        """Raises what the first failed member raised."""
        for result in self.results:
            result.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    # --- waiting -----------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> Any:
        """Values of all members, in order; `join_native` where the backend has it, else `join`."""
        join = self.join_native if self.supports_native_join else self.join
        return join(
            timeout=timeout,
            propagate=propagate,
            interval=interval,
            callback=callback,
            no_ack=no_ack,
            on_message=on_message,
            disable_sync_subtasks=disable_sync_subtasks,
            on_interval=on_interval,
        )

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """Waits for one member after the other.

        Returns:
            The values in order; `[]` with `callback`, which then got each as `callback(id, value)`.

        Raises:
            celeriac.exceptions.TimeoutError: not all were ready in time.
            Exception: what a member raised.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        if on_message is not None:
            raise ImproperlyConfigured("Backend does not support on_message callback")
        deadline = None if timeout is None else time.monotonic() + timeout
        values: list[Any] = []
        for result in self.results:
            left = None
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0 and not result.ready():
                    raise TimeoutError("join operation timed out")
                left = max(left, 0.0)
            value = result.get(
                timeout=left,
                propagate=propagate,
                interval=interval,
                no_ack=no_ack,
                on_interval=on_interval,
                disable_sync_subtasks=disable_sync_subtasks,
            )
            if callback is not None:
                callback(result.id, value)
            else:
                values.append(value)
        return values

    def join_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> list[Any] | None:
        """Waits for all members at once; a failure is raised as soon as it is seen.

        Returns:
            The values in order; None with `callback`, which got each as `callback(id, value)` when it came.

        Raises:
            celeriac.exceptions.TimeoutError, Exception: as `join`.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        places: dict[str, list[int]] = {}
        if callback is None:
            for index, result in enumerate(self.results):
                places.setdefault(result.id, []).append(index)
        values: list[Any] = [None] * len(self.results)
        for task_id, meta in self.iter_native(timeout, interval, no_ack, on_message, on_interval):
            value = meta.get("children") if isinstance(meta, list) else meta["result"]
            if propagate and meta["status"] in states.PROPAGATE_STATES:
                raise value
            if callback is not None:
                callback(task_id, value)
            else:
                for index in places.get(task_id, ()):
                    values[index] = value
        return None if callback is not None else values

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """`(id, meta)` of each member as it becomes ready."""
        if not self.results:
            return iter(())
        found: Iterator[tuple[str, dict[str, Any]]] = self.backend.iter_native(
            self, timeout=timeout, interval=interval, no_ack=no_ack, on_message=on_message, on_interval=on_interval
        )
        return found

    def then(
        self, callback: Callable[[Any], Any], on_error: Callable[[Any], Any] | None = None, weak: bool = False
    ) -> Promise:
        """Calls `callback(self)` when all members are ready, in a helper thread."""
        promise = self._on_full
        if promise is None:
            promise = self._on_full = Promise()
            self._tell_when_full(promise)
        return promise.then(callback, on_error, weak=weak)

    def _tell_when_full(self, promise: Promise) -> None:
        left = [len(self.results)]
        if not left[0]:
            promise(self)

        def one_more(_: Any) -> None:
            left[0] -= 1
            if left[0] <= 0:
                promise(self)

        for result in list(self.results):
            result.then(one_more, promise.throw)

    # --- all of them -------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Deletes the stored results."""
        for result in self.results:
            result.forget()

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Tells all workers not to run any of them. Raises as `AsyncResult.revoke`."""
        return _control(self.app).revoke(
            [result.id for result in self.results],
            connection=connection,
            terminate=terminate,
            signal=signal,
            reply=wait,
            timeout=timeout,
        )

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ResultSet):
            return other.results == self.results
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(result.id) for result in self.results)}]>"

    @property
    def supports_native_join(self) -> bool:
        """True if the members' backend can wait for many at once."""
        return bool(self.results) and all(result.supports_native_join for result in self.results)

    @property
    def app(self) -> Any:
        """The members' app."""
        if self._app is None:
            self._app = self.results[0].app if self.results else app_or_default()
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def backend(self) -> Any:
        """The members' backend."""
        return self.results[0].backend if self.results else self.app.backend


class GroupResult(ResultSet):
    """The results of a group; can be saved under the group's id and restored.

    Args:
        id: the group's id.
        results: the members.
        parent: the result that the group continues.
    """

    __module__ = "celeriac.result"  # where pickles look for it

    id: str | None = None

    def __init__(
        self, id: str | None = None, results: Iterable[Any] | None = None, parent: Any = None, **kwargs: Any
    ) -> None:
        self.id = id
        self.parent = parent
        super().__init__(results or [], **kwargs)

    def save(self, backend: Any = None) -> Any:
        """Stores the members' ids, for `restore`."""
        return (backend or self.app.backend).save_group(self.id, self)

    def delete(self, backend: Any = None) -> None:
        """Removes what `save` stored."""
        (backend or self.app.backend).delete_group(self.id)

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: Any = None) -> GroupResult | None:
        """What was saved under the id, or None."""
        app = app_or_default(app if app is not None else cls._app if not isinstance(cls._app, property) else None)
        found: GroupResult | None = (backend or app.backend).restore_group(id)
        return found

    @property
    def children(self) -> list[Any]:
        """The members."""
        return self.results

    def as_tuple(self) -> tuple[Any, Any]:
        """`((id, parent), members)`, as it is stored."""
        parent = self.parent.as_tuple() if self.parent is not None else None
        return (self.id, parent), [result.as_tuple() for result in self.results]

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return other.id == self.id and other.results == self.results and other.parent == self.parent
        if isinstance(other, str):
            return other == self.id
        return NotImplemented

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id} [{', '.join(str(result.id) for result in self.results)}]>"

    def __reduce__(self) -> tuple[Any, ...]:
        return GroupResult, (self.id, self.results, self.parent)
