"""Where a task goes: the routers of ``task_routes``, and the queue or exchange that they name."""

from __future__ import annotations

import fnmatch
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import QueueNotFound
from celeriac.utils.imports import symbol_by_name

if TYPE_CHECKING:
    from celeriac.app.base import Celery

__all__ = ["MapRoute", "Router", "expand_router_string", "prepare"]

_REGEX = type(re.compile(""))


class MapRoute:
    """A router that is a table: exact names first, then patterns in order.

    Args:
        map: name or pattern -> queue name or publish options; or pairs of them. A text with ``*`` is a shell pattern,
            in which ``?`` and ``[...]`` count as well; a compiled expression is matched at the start of the name.
    """

    def __init__(self, map: Any) -> None:
        pairs: Iterable[tuple[Any, Any]] = map.items() if isinstance(map, Mapping) else map
        self.map: dict[str, Any] = {}
        self.patterns: OrderedDict[Any, Any] = OrderedDict()
        for key, route in pairs:
            if isinstance(key, _REGEX):
                self.patterns[key] = route
            elif "*" in key:
                self.patterns[re.compile(fnmatch.translate(key))] = route
            else:
                self.map[key] = route

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        try:
            return _as_options(self.map[name])
        except KeyError:
            pass
        for pattern, route in self.patterns.items():
            if pattern.match(name):
                return _as_options(route)
        return None


def _as_options(route: Any) -> dict[str, Any] | None:
    if route is None:
        return None
    if isinstance(route, str):
        return {"queue": route}
    return dict(route)


class Router:
    """Asks the routers in turn.

    Args:
        routes: prepared routers.
        queues: the app's queues.
        create_missing: queues that are not known are made.
        app: the app.
    """

    def __init__(
        self,
        routes: list[Callable[..., Any]] | None = None,
        queues: Any = None,
        create_missing: bool = False,
        app: Celery | None = None,
    ) -> None:
        self.app = app
        self.queues = {} if queues is None else queues
        self.routes = [] if routes is None else routes
        self.create_missing = create_missing

    def route(
        self,
        options: Mapping[str, Any],
        name: str,
        args: Any = (),
        kwargs: Any = None,
        task_type: Any = None,
    ) -> dict[str, Any]:
        """`options` completed by the route of the task; what the call says wins, unless it is None.

        Raises:
            QueueNotFound: a queue that is not known and is not made.
        """
        options = dict(options)
        if self.routes:
            found = self.lookup_route(name, args, kwargs or {}, options, task_type)
            if found:
                merged = self.expand_destination(found)
                merged.update((key, value) for key, value in options.items() if value is not None)
                options = merged
                if isinstance(options.get("queue"), str):
                    options["queue"] = self._queue(options["queue"])
                return options
        named = options.get("queue")
        if named:
            options.update(self.expand_destination({"queue": named}))
            return options
        assert self.app is not None
        default = self.expand_destination(self.app.conf.task_default_queue)
        options["queue"] = default["queue"]
        return options

    def expand_destination(self, route: Any) -> dict[str, Any]:
        """`route` with its queue's name replaced by the queue.

        Raises:
            QueueNotFound
        """
        expanded: dict[str, Any] = {"queue": route} if isinstance(route, str) else dict(route)
        queue = expanded.pop("queue", None)
        if queue:
            expanded["queue"] = self._queue(queue) if isinstance(queue, str) else queue
        return expanded

    def _queue(self, name: str) -> Any:
        try:
            return self.queues[name]
        except KeyError:
            raise QueueNotFound(
                f"queue {name!r} is not in task_queues, and task_create_missing_queues is off"
            ) from None

    def lookup_route(
        self, name: str, args: Any = None, kwargs: Any = None, options: Any = None, task: Any = None
    ) -> Any:
        """What the first router says that knows the task; None if none does."""
        for router in self.routes:
            found = self.query_router(router, name, args, kwargs, options, task)
            if found is not None:
                return _as_options(found)
        return None

    def query_router(self, router: Any, task: str, args: Any, kwargs: Any, options: Any, task_type: Any) -> Any:
        """Asks one router."""
        if hasattr(router, "__maybe_evaluate__"):
            router = router.__maybe_evaluate__()
        if hasattr(router, "route_for_task"):  # the old form
            return router.route_for_task(task, args, kwargs)
        return router(task, args, kwargs, options, task=task_type)


def expand_router_string(router: str) -> Any:
    """The router called `router`: a class is instantiated, an object with `route_for_task` is taken as it is."""
    found = symbol_by_name(router)
    return found() if isinstance(found, type) else found


def prepare(routes: Any) -> list[Any]:
    """Routers from the setting ``task_routes``: one or several, each in any of its forms."""

    def one(route: Any) -> Any:
        if isinstance(route, (Mapping, list, tuple)):
            return MapRoute(route)
        if isinstance(route, str):
            return expand_router_string(route)
        return route

    if routes is None:
        return []
    if not isinstance(routes, (list, tuple)) or (routes and all(_is_pair(route) for route in routes)):
        routes = (routes,)
    return [one(route) for route in routes]


def _is_pair(route: Any) -> bool:
    """``(pattern, route)``: a list of these is one router."""
    return (
        isinstance(route, (list, tuple))
        and len(route) == 2
        and isinstance(route[0], (str, _REGEX))
        and isinstance(route[1], (str, Mapping))
    )
