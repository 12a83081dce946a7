"""An app that records what commands ask of it."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any


class FakeBroker:
    def __init__(self) -> None:
        self.waiting = {"celery": 3, "other": 1}
        self.dead: dict[int, tuple[int, str, str, str, int, bytes]] = {
            7: (7, "celery", "unknown", "no such task", 1_893_553_445_000, b"not an envelope"),
            9: (9, "other", "crashed", "signal 9", 1_893_553_446_000, b"\xff\xfe"),
        }

    def purge(self, queue: str) -> int:
        return self.waiting.pop(queue, 0)

    def depths(self) -> list[tuple[str, int, int, int]]:
        return [(name, count, 0, 1) for name, count in self.waiting.items()]

    def dead_list(self, limit: int, before: int | None = None) -> list[Any]:
        found = [self.dead[key] for key in sorted(self.dead, reverse=True) if before is None or key < before]
        return found[:limit]

    def dead_get(self, number: int) -> Any:
        return self.dead.get(number)

    def dead_replay(self, numbers: list[int] | None) -> int:
        return self.dead_purge(numbers)

    def dead_purge(self, numbers: list[int] | None) -> int:
        chosen = list(self.dead) if numbers is None else numbers
        return sum(self.dead.pop(number, None) is not None for number in chosen)


class FakeApp:
    """Enough of an app for commands that send, read, purge."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.user_options: defaultdict[str, set[Any]] = defaultdict(set)
        self.broker = FakeBroker()
        self.amqp = SimpleNamespace(queues={"celery": None, "other": None})
        self.results: dict[str, Any] = {}
        self.conf = SimpleNamespace()

    def send_task(self, name: str, **options: Any) -> Any:
        self.sent.append((name, options))
        return SimpleNamespace(id="id-1")

    def AsyncResult(self, task_id: str) -> Any:
        value = self.results[task_id]

        def get(timeout: float | None = None, propagate: bool = True) -> Any:
            return maybe_throw() if propagate else value

        def maybe_throw() -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        state = "FAILURE" if isinstance(value, Exception) else "SUCCESS"
        return SimpleNamespace(get=get, maybe_throw=maybe_throw, state=state, traceback="Traceback ...")
