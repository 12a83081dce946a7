"""``task_annotations``: changes to the attributes of tasks, from the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celeriac.utils.imports import instantiate

__all__ = ["MapAnnotation", "prepare", "resolve_all"]


class MapAnnotation(dict[str, Any]):
    """Task name, or ``*`` for all -> attribute -> value."""

    def annotate_any(self) -> dict[str, Any] | None:
        """For every task."""
        found = self.get("*")
        return None if found is None else dict(found)

    def annotate(self, task: Any) -> dict[str, Any] | None:
        """For `task`."""
        found = self.get(task.name)
        return None if found is None else dict(found)


def prepare(annotations: Any) -> tuple[Any, ...]:
    """Annotations from the setting: one or several dicts, objects or dotted paths."""

    def one(annotation: Any) -> Any:
        if isinstance(annotation, Mapping):
            return MapAnnotation(annotation)
        return instantiate(annotation) if isinstance(annotation, str) else annotation

    if annotations is None:
        return ()
    if not isinstance(annotations, (list, tuple)):
        annotations = (annotations,)
    return tuple(one(each) for each in annotations)


def resolve_all(annotations: Any, task: Any) -> Iterator[dict[str, Any]]:
    """The first that speaks of `task`, then the first that speaks of all tasks."""
    for found in (
        next(filter(None, (_ask(each, "annotate", task) for each in annotations)), None),
        next(filter(None, (_ask(each, "annotate_any") for each in annotations)), None),
    ):
        if found:
            yield found


def _ask(annotation: Any, method: str, *args: Any) -> Any:
    asked = getattr(annotation, method, None)
    return None if asked is None else asked(*args)
