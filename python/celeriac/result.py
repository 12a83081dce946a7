"""Handles of results: what `delay()` returns, and what to do with it.

`await result` waits without blocking the event loop; for a limit use `asyncio.wait_for(result, seconds)`.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from celeriac import states
from celeriac._joining import allow_join_result, assert_will_not_block, denied_join_result
from celeriac._promise import Promise
from celeriac._state import app_or_default
from celeriac.exceptions import ImproperlyConfigured, IncompleteStream, TimeoutError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator, Iterator

__all__ = [
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "ResultBase",
    "ResultSet",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
]

R = TypeVar("R")


class ResultBase:
    """Base of all results."""

    parent: Any = None
    """The result that this one continues, in a chain."""


class AsyncResult(ResultBase, Generic[R]):
    """The result of a task that runs somewhere else. `R` is what the task returns.

    Args:
        id: the task's id.
        backend: where the result will be; default: the app's.
        task_name: kept for Celery's sake.
        app: default: the current app.
        parent: the result that this one continues.
    """

    TimeoutError = TimeoutError
    _app: Any = None

    def __init__(
        self, id: str, backend: Any = None, task_name: str | None = None, app: Any = None, parent: Any = None
    ) -> None:
        if id is None:
            raise ValueError(f"AsyncResult requires valid id, not {type(id).__name__}")
        self.app = app_or_default(app if app is not None else self._app)
        self.id = id
        self.backend: Any = backend if backend is not None else self.app.backend
        self.parent = parent
        self.task_name = task_name
        self._cache: dict[str, Any] | None = None
        self._ignored = False
        self._on_ready: Promise | None = None

    # --- waiting -----------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
        EXCEPTION_STATES: frozenset[str] = states.EXCEPTION_STATES,  # noqa: N803 - Celery's name
        PROPAGATE_STATES: frozenset[str] = states.PROPAGATE_STATES,  # noqa: N803 - Celery's name
    ) -> R:
        """Waits until the task is ready; returns what it returned.

        Args:
            timeout: seconds; 0 looks once, None waits for ever.
            propagate: raise what the task raised; False returns the exception.
            interval: seconds between calls of `on_interval`, and between looks at a store that cannot wake us.
            no_ack: for the rpc backend.
            follow_parents: raise the failure of an earlier step of a chain.
            callback: called with id and value when it is there.
            on_message: called with each state; only on backends that deliver every one.
            on_interval: called while waiting.
            disable_sync_subtasks: refuse to wait inside a task.
            EXCEPTION_STATES: accepted for Celery's sake.
            PROPAGATE_STATES: accepted for Celery's sake.

        Raises:
            celeriac.exceptions.TimeoutError: not ready in time.
            RuntimeError: called inside a task.
            Exception: what the task raised.
        """
        del EXCEPTION_STATES, PROPAGATE_STATES
        if self._ignored:
            return cast("R", None)
        if disable_sync_subtasks:
            assert_will_not_block()
        on_turn = on_interval
        if follow_parents and propagate and self.parent is not None:
            on_turn = _both(self._maybe_reraise_parent_error, on_interval)
            self._maybe_reraise_parent_error()
        if self._cache is not None:
            return cast("R", self.maybe_throw(propagate=propagate, callback=callback))
        value = self.backend.wait_for_pending(
            self,
            timeout=timeout,
            interval=interval,
            no_ack=no_ack,
            on_message=on_message,
            on_interval=on_turn,
            callback=callback,
            propagate=propagate,
        )
        return cast("R", value)

    wait = get

    def __await__(self) -> Generator[Any, None, R]:
        return self._wait().__await__()

    async def _wait(self) -> R:
        if self._ignored:
            return cast("R", None)
        assert_will_not_block()
        import asyncio  # costs every producer and worker 16 ms and 3 MiB, and who gets here has it already

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def settle(told: Any) -> None:
            if future.done():
                return
            if isinstance(told, BaseException):
                future.set_exception(told)
            else:
                self._maybe_set_cache(told)
                future.set_result(None)

        def tell(told: Any) -> None:
            try:
                loop.call_soon_threadsafe(settle, told)
            except RuntimeError:
                pass  # the loop was closed: nobody waits any more

        self._maybe_reraise_parent_error()
        watcher = self.backend.watcher
        watcher.add(self.id, tell)
        try:
            if self._cache is None and (watcher.reads_first or not self.ready()):
                await future
        finally:
            watcher.remove(self.id, tell)
        self._maybe_reraise_parent_error()
        return cast("R", self.maybe_throw())

    def then(
        self,
        callback: Callable[[AsyncResult[R]], Any],
        on_error: Callable[[Any], Any] | None = None,
        weak: bool = False,
    ) -> Promise:
        """Calls `callback(result)` when the task is ready, in a helper thread (at once if it is ready already).

        `on_error(exception)` is called if the store cannot be read any more.
        """
        promise = self.on_ready
        promise.then(callback, on_error, weak=weak)
        if not promise.ready and not promise.failed:

            def tell(told: Any) -> None:
                if isinstance(told, BaseException):
                    promise.throw(told)
                else:
                    self._maybe_set_cache(told)
                    promise(self)

            self.backend.watcher.add(self.id, tell)
            if self.ready():
                self.backend.watcher.remove(self.id, tell)
                promise(self)
        return promise

    @property
    def on_ready(self) -> Promise:
        """Fulfilled with this result when the task is ready and somebody looks or waits."""
        if self._on_ready is None:
            self._on_ready = Promise()
        return self._on_ready

    def _maybe_reraise_parent_error(self) -> None:
        for node in reversed(list(self._parents())):
            node.maybe_throw()

    def _parents(self) -> Iterator[Any]:
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    # --- state -------------------------------------------------------------------------------------------------

    def _get_task_meta(self) -> dict[str, Any]:
        if self._cache is not None:
            return self._cache
        return self._maybe_set_cache(self.backend.get_task_meta(self.id))

    def _maybe_set_cache(self, meta: dict[str, Any]) -> dict[str, Any]:
        if meta["status"] in states.READY_STATES:
            self._cache = meta
            if self._on_ready is not None:
                self._on_ready(self)
        return meta

    @property
    def state(self) -> str:
        """The task's state; PENDING also for an id that was never heard of."""
        return str(self._get_task_meta()["status"])

    status = state

    @property
    def result(self) -> Any:
        """What the task returned, the exception it raised, or what it stored with `update_state`."""
        return self._get_task_meta()["result"]

    info = result

    @property
    def traceback(self) -> str | None:
        """Text of the traceback, if it failed."""
        return cast("str | None", self._get_task_meta().get("traceback"))

    @property
    def children(self) -> list[Any] | None:
        """Results of the tasks that this one sent."""
        return cast("list[Any] | None", self._get_task_meta().get("children"))

    @property
    def date_done(self) -> dt.datetime | None:
        """When it became ready."""
        done = self._get_task_meta().get("date_done")
        if isinstance(done, str):
            return dt.datetime.fromisoformat(f"{done[:-1]}+00:00" if done.endswith("Z") else done)
        return cast("dt.datetime | None", done)

    def _extended(self, key: str) -> Any:
        return self._get_task_meta().get(key)

    @property
    def name(self) -> str | None:
        """The task's name; like those below only with ``result_extended``."""
        return cast("str | None", self._extended("name"))

    @property
    def args(self) -> Any:
        """Positional arguments."""
        return self._extended("args")

    @property
    def kwargs(self) -> Any:
        """Keyword arguments."""
        return self._extended("kwargs")

    @property
    def worker(self) -> str | None:
        """Node name of the worker that ran it."""
        return cast("str | None", self._extended("worker"))

    @property
    def retries(self) -> int | None:
        """How often it had been retried."""
        return cast("int | None", self._extended("retries"))

    @property
    def queue(self) -> str | None:
        """Routing key it was delivered with."""
        return cast("str | None", self._extended("queue"))

    def ready(self) -> bool:
        """True if it has succeeded, failed or been revoked."""
        return self.state in states.READY_STATES

    def successful(self) -> bool:
        """True if it has succeeded."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """True if it has failed."""
        return self.state == states.FAILURE

    def exists(self) -> bool:
        """True if the backend has anything about it."""
        return bool(self.backend.task_result_exists(self.id))

    @property
    def ignored(self) -> bool:
        """True if no result will be stored; `get` then returns None at once."""
        return self._ignored

    @ignored.setter
    def ignored(self, value: bool) -> None:
        self._ignored = value

    @property
    def supports_native_join(self) -> bool:
        """True if the backend can wait for many at once."""
        return bool(self.backend.supports_native_join)

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raises what the task raised, if it is known to have failed; else returns its value as it is now."""
        meta = self._get_task_meta()
        value = meta["result"]
        if propagate and meta["status"] in states.PROPAGATE_STATES:
            _raise(value, self._remote_traceback(meta.get("traceback")))
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    def throw(self, *args: Any, **kwargs: Any) -> None:
        """Fails `on_ready` with an exception."""
        self.on_ready.throw(*args, **kwargs)

    def _remote_traceback(self, text: Any) -> Any:
        if not text or not self.app.conf.task_remote_tracebacks:
            return None
        try:
            from tblib import Traceback  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            return None
        return Traceback.from_string(text).as_traceback()

    # --- what belongs to it ------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Deletes the stored result, and those of its parents."""
        self._cache = None
        if self.parent is not None:
            self.parent.forget()
        self.backend.remove_pending_result(self)
        self.backend.forget(self.id)

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Tells all workers not to run it.

        Raises:
            ImproperlyConfigured: this version has no remote control yet.
        """
        return _control(self.app).revoke(
            self.id, connection=connection, terminate=terminate, signal=signal, reply=wait, timeout=timeout
        )

    def revoke_by_stamped_headers(
        self,
        headers: Any,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Tells all workers not to run tasks with these stamps. Raises as `revoke`."""
        return _control(self.app).revoke_by_stamped_headers(
            headers, connection=connection, terminate=terminate, signal=signal, reply=wait, timeout=timeout
        )

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """`(parent, result)` over the tree of sub-tasks, breadth first.

        Raises:
            IncompleteStream: one is not ready and `intermediate` is False.
        """
        waiting: deque[tuple[Any, Any]] = deque([(None, self)])
        while waiting:
            parent, node = waiting.popleft()
            yield parent, node
            if node.ready():
                waiting.extend((node, child) for child in node.children or ())
            elif not intermediate:
                raise IncompleteStream

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        """`(result, value)` over the tree of sub-tasks; `kwargs` go to `get`. Raises as `iterdeps`."""
        for _, node in self.iterdeps(intermediate=intermediate):
            yield node, node.get(**kwargs)

    def get_leaf(self) -> Any:
        """Value of the last result of `collect`."""
        value = None
        for _, value in self.collect():  # noqa: B007 - the last one is wanted
            pass
        return value

    @property
    def graph(self) -> Any:
        """The tree of sub-tasks that are known, as a `DependencyGraph`."""
        return self.build_graph()

    def build_graph(self, intermediate: bool = False, formatter: Any = None) -> Any:
        """The tree of sub-tasks as a `DependencyGraph`. Raises as `iterdeps`."""
        from celeriac.utils.graph import DependencyGraph

        graph: Any = DependencyGraph(formatter=formatter)
        for parent, node in self.iterdeps(intermediate=intermediate):
            graph.add_arc(node)
            if parent is not None:
                graph.add_edge(parent, node)
        return graph

    def as_tuple(self) -> tuple[Any, Any]:
        """`((id, parent), None)`, as it is stored."""
        return (self.id, self.parent.as_tuple() if self.parent is not None else None), None

    def as_list(self) -> list[str]:
        """Its id and those of its parents."""
        return [self.id, *(self.parent.as_list() if self.parent is not None else ())]

    @property
    def task_id(self) -> str:
        """The id."""
        return self.id

    @task_id.setter
    def task_id(self, id: str) -> None:
        self.id = id

    # --- identity ----------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return bool(other.id == self.id)
        if isinstance(other, str):
            return other == self.id
        return NotImplemented

    def __copy__(self) -> AsyncResult[R]:
        return type(self)(self.id, self.backend, self.task_name, self.app, self.parent)

    def __reduce__(self) -> tuple[Any, ...]:
        return AsyncResult, (self.id, None, self.task_name, None, self.parent)


def result_from_tuple(r: Any, app: Any = None) -> Any:
    """The result that `as_tuple` was called on."""
    if isinstance(r, ResultBase):
        return r
    app = app_or_default(app)
    head, members = r
    id, parent = head if isinstance(head, (list, tuple)) else (head, None)
    parent = result_from_tuple(parent, app) if parent else None
    if members is not None:
        return app.GroupResult(id, [result_from_tuple(member, app) for member in members], parent=parent)
    return app.AsyncResult(id, parent=parent)


def _raise(value: Any, traceback: Any = None) -> None:
    # The object is kept: raised twice, it must not show the way it went the first time.
    raise value.with_traceback(traceback)


def _both(first: Callable[[], Any], second: Callable[[], Any] | None) -> Callable[[], Any]:
    if second is None:
        return first

    def call() -> None:
        first()
        second()

    return call


def _control(app: Any) -> Any:
    try:
        return app.control
    except (AttributeError, ImportError, NotImplementedError):
        raise ImproperlyConfigured(
            "this version of celeriac has no remote control yet: a task cannot be revoked"
        ) from None


from celeriac._eager_result import EagerResult  # noqa: E402 - these need the classes above
from celeriac._resultset import GroupResult, ResultSet  # noqa: E402
