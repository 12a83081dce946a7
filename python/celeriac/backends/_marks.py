"""What a backend does when a task starts, ends, fails, is revoked or will run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac.exceptions import TaskRevokedError

if TYPE_CHECKING:
    from celeriac.app.context import Context


class Marks:
    """States by name. A worker's tracer stores through the hub instead; these are for everybody else."""

    app: Any

    if TYPE_CHECKING:

        def store_result(
            self,
            task_id: str,
            result: Any,
            state: str,
            traceback: Any = None,
            request: Context | None = None,
            **kwargs: Any,
        ) -> Any: ...

        def on_chord_part_return(self, request: Context, state: str, result: Any, **kwargs: Any) -> None: ...

    def mark_as_started(self, task_id: str, **meta: Any) -> Any:
        """STARTED, with `meta` as its result."""
        return self.store_result(task_id, meta, states.STARTED)

    def mark_as_done(
        self,
        task_id: str,
        result: Any,
        request: Context | None = None,
        store_result: bool = True,
        state: str = states.SUCCESS,
    ) -> None:
        """Stores the result, unless the request ignores results, then tells the chord."""
        if store_result and not (request is not None and request.ignore_result):
            self.store_result(task_id, result, state, request=request)
        if request is not None and request.chord:
            self.on_chord_part_return(request, state, result)

    def mark_as_failure(
        self,
        task_id: str,
        exc: BaseException,
        traceback: Any = None,
        request: Context | None = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        """Stores the failure, tells the chord, fails the rest of the chain, then calls the errbacks."""
        if store_result:
            self.store_result(task_id, exc, state, traceback=traceback, request=request)
        if request is None:
            return
        from celeriac.app import _links

        if request.chord:
            self.on_chord_part_return(request, state, exc)
        for step in _links.chain_steps(request):
            if step.id and store_result:
                self.store_result(step.id, exc, state, traceback=traceback, request=step)
            if step.chord:
                self.on_chord_part_return(step, state, exc)
        if call_errbacks and request.errbacks:
            _links.call_errbacks(self.app, request, exc, traceback)

    def mark_as_revoked(
        self,
        task_id: str,
        reason: str = "",
        request: Context | None = None,
        store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:
        """Stores `TaskRevokedError(reason)`, then tells the chord."""
        exc = TaskRevokedError(reason)
        if store_result:
            self.store_result(task_id, exc, state, traceback=None, request=request)
        if request is not None and request.chord:
            self.on_chord_part_return(request, state, exc)

    def mark_as_retry(
        self,
        task_id: str,
        exc: BaseException | None,
        traceback: Any = None,
        request: Context | None = None,
        store_result: bool = True,
        state: str = states.RETRY,
    ) -> Any:
        """Stores RETRY with the exception that made it retry."""
        if not store_result:
            return None
        return self.store_result(task_id, exc, state, traceback=traceback, request=request)
