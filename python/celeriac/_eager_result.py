"""The result of a task that ran in its caller's process. `celeriac.result` is where to import it from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from celeriac import states
from celeriac._joining import assert_will_not_block
from celeriac._promise import Promise
from celeriac.result import AsyncResult

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EagerResult"]

R = TypeVar("R")


class EagerResult(AsyncResult[R]):
    """The result of a task that has run already, in its caller's process."""

    __module__ = "celeriac.result"  # where pickles look for it

    def __init__(
        self, id: str | None, ret_value: Any, state: str, traceback: str | None = None, name: str | None = None
    ) -> None:
        # Needs neither app nor backend: everything is known.
        self.id = cast("str", id)
        self._result = ret_value
        self._state = state
        self._traceback = traceback
        self._name = name
        self.parent = None
        self._ignored = False
        self._on_ready = Promise()
        self._on_ready(self)

    @property
    def _cache(self) -> dict[str, Any]:  # type: ignore[override]
        return {
            "task_id": self.id,
            "result": self._result,
            "status": self._state,
            "traceback": self._traceback,
            "name": self._name,
        }

    def _get_task_meta(self) -> dict[str, Any]:
        return self._cache

    def get(  # type: ignore[override]
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> R:
        """What the task returned; raises (or, without `propagate`, returns) what it raised; None in other states."""
        if disable_sync_subtasks:
            assert_will_not_block()
        if self._state == states.SUCCESS:
            return cast("R", self._result)
        if self._state in states.PROPAGATE_STATES:
            if propagate:
                raise self._result if isinstance(self._result, Exception) else Exception(self._result)
            return cast("R", self._result)
        return cast("R", None)

    def wait(self, *args: Any, **kwargs: Any) -> R:
        """`get`."""
        return self.get(*args, **kwargs)

    async def _wait(self) -> R:
        return self.get(disable_sync_subtasks=False)

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """As `AsyncResult.maybe_throw`."""
        if propagate and self._state in states.PROPAGATE_STATES:
            raise self._result if isinstance(self._result, Exception) else Exception(self._result)
        if callback is not None:
            callback(self.id, self._result)
        return self._result

    maybe_reraise = maybe_throw

    def ready(self) -> bool:
        """True."""
        return True

    def exists(self) -> bool:
        """True."""
        return True

    def forget(self) -> None:
        """Nothing is stored."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """It has run already: only the state kept here changes."""
        self._state = states.REVOKED

    @property
    def supports_native_join(self) -> bool:
        """False."""
        return False

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"

    def __copy__(self) -> EagerResult[R]:
        return EagerResult(self.id, self._result, self._state, self._traceback, self._name)

    def __reduce__(self) -> tuple[Any, ...]:
        return EagerResult, (self.id, self._result, self._state, self._traceback, self._name)
