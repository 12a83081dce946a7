"""How an attempt of a task ended, until the hub is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac._bridge import hub

if TYPE_CHECKING:
    from celeriac.app._einfo import ExceptionInfo
    from celeriac.backends.base import Write

__all__ = ["End"]


class End:
    """How an attempt ended, and what is to be stored with it."""

    __slots__ = ("decided", "detail", "einfo", "linked", "outcome", "retval", "sent_from", "state", "writes")

    def __init__(self) -> None:
        self.decided = False
        """The end stands: a handler that fails after this cannot change it."""
        self.linked = False
        """Something follows on it: callbacks, errbacks, a chain, a chord."""
        self.sent_from: int | None = None
        """Where in the outbox the continuations of a success begin."""
        self.state = states.SUCCESS
        self.retval: Any = None
        self.einfo: ExceptionInfo | None = None
        self.outcome = hub.OUTCOME_SUCCESS
        self.detail: str | None = None
        self.writes: list[Write] = []
