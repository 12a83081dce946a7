"""The worker's view of a message that it received; what signals and the log get to see."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celeriac._bridge.codec import Message
    from celeriac.app.base import Celery
    from celeriac.app.task import Task
    from celeriac.concurrency.base import RunningJob

_FROM_HEADERS = {
    "argsrepr": None,
    "kwargsrepr": None,
    "eta": None,
    "expires": None,
    "root_id": None,
    "parent_id": None,
    "group": None,
    "group_index": None,
    "shadow": None,
    "origin": None,
    "stamps": None,
    "stamped_headers": None,
    "replaced_task_nesting": 0,
}
_FROM_PROPERTIES = ("reply_to", "correlation_id", "delivery_info")


class Request:
    """A received message. Headers are decoded when one is asked for, the body when `args` or `kwargs` are."""

    def __init__(
        self, message: Message, app: Celery, hostname: str | None = None, job: RunningJob | None = None
    ) -> None:
        self.message = message
        self.app = app
        self.hostname = hostname
        self._job = job
        self.id = message.id
        self.name = self.type = self.task_name = message.task

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.humaninfo()}>"

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and other.id == self.id

    def humaninfo(self) -> str:
        """`name[id]`."""
        return f"{self.name}[{self.id}]"

    @cached_property
    def request_dict(self) -> dict[str, Any]:
        """All headers."""
        return dict(self.message.headers())

    @cached_property
    def properties(self) -> dict[str, Any]:
        """All properties."""
        return dict(self.message.properties())

    @cached_property
    def _payload(self) -> tuple[Any, Any, Any]:
        from celeriac._bridge import codec

        return codec.payload(self.message, codec.accept_types(self.app.conf.accept_content))

    @property
    def args(self) -> Any:
        return self._payload[0]

    @property
    def kwargs(self) -> Any:
        return self._payload[1]

    @property
    def body(self) -> bytes:
        return self.message.body()

    @property
    def task(self) -> Task[..., Any]:
        """The task; NotRegistered if this worker does not have it."""
        return self.app.tasks[self.name]

    @property
    def time_limits(self) -> Any:
        return self.request_dict.get("timelimit") or (None, None)

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What `inspect active` shows."""
        return {
            "id": self.id,
            "name": self.name,
            "args": self.argsrepr if safe else self.args,
            "kwargs": self.kwargsrepr if safe else self.kwargs,
            "type": self.name,
            "hostname": self.hostname,
            "delivery_info": self.delivery_info,
        }

    def __getattr__(self, name: str) -> Any:
        if name in _FROM_HEADERS:
            return self.request_dict.get(name, _FROM_HEADERS[name])
        if name in _FROM_PROPERTIES:
            return self.properties.get(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
