"""The tasks that an app knows, by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from celeriac.exceptions import InvalidTaskError, NotRegistered
from celeriac.local import maybe_evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celeriac.app.task import Task

__all__ = ["TaskRegistry"]


class TaskRegistry(dict[str, "Task[..., Any]"]):
    """Name -> task instance. A missing name is `NotRegistered`."""

    NotRegistered = NotRegistered

    def __missing__(self, key: str) -> NoReturn:
        raise self.NotRegistered(key)

    def register(self, task: Any) -> None:
        """Adds a task, or an instance of a task class.

        Raises:
            InvalidTaskError: it has no name.
        """
        if task.name is None:
            raise InvalidTaskError(
                f"a task needs a name to be registered: {getattr(task, '__name__', task)!r} has none"
            )
        instance = task() if isinstance(task, type) else task
        add_autoretry = _autoretry()
        add_autoretry(instance)
        self[instance.name] = instance

    def unregister(self, name: Any) -> None:
        """Removes a task, given itself or its name.

        Raises:
            NotRegistered
        """
        try:
            self.pop(getattr(name, "name", name))
        except KeyError:
            raise self.NotRegistered(name) from None

    def regular(self) -> Iterator[tuple[str, Task[..., Any]]]:
        """Tasks that are not periodic."""
        return self.filter_types("regular")

    def periodic(self) -> Iterator[tuple[str, Task[..., Any]]]:
        """Tasks of the type ``periodic``."""
        return self.filter_types("periodic")

    def filter_types(self, type: str) -> Iterator[tuple[str, Task[..., Any]]]:
        """``(name, task)`` of the tasks of `type`."""
        return ((name, task) for name, task in self.items() if getattr(task, "type", "regular") == type)


def _autoretry() -> Callable[[Any], None]:
    from celeriac.app.autoretry import add_autoretry_behaviour

    return add_autoretry_behaviour


def _unpickle_task(name: str, module: str | None = None) -> Any:
    """The task called `name` in the current app; imports `module` first."""
    from celeriac._state import get_current_app

    if module:
        import_module(module)
    return maybe_evaluate(get_current_app().tasks[name])


_unpickle_task_v2 = _unpickle_task
