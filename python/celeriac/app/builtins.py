"""Tasks that every app has."""

from __future__ import annotations

from typing import Any

from celeriac._state import connect_on_app_finalize

__all__: list[str] = []


@connect_on_app_finalize
def add_backend_cleanup_task(app: Any) -> Any:
    """``celery.backend_cleanup``: forgets results that have expired."""

    @app.task(name="celery.backend_cleanup", shared=False, lazy=False)  # type: ignore[untyped-decorator]  # any app
    def backend_cleanup() -> None:
        app.backend.cleanup()

    return backend_cleanup


@connect_on_app_finalize
def add_accumulate_task(app: Any) -> Any:
    """``celery.accumulate``: its arguments, or the one at `index`."""

    @app.task(bind=True, name="celery.accumulate", shared=False, lazy=False)  # type: ignore[untyped-decorator]  # any app
    def accumulate(self: Any, *args: Any, **kwargs: Any) -> Any:
        index = kwargs.get("index")
        return args[index] if index is not None else args

    return accumulate


@connect_on_app_finalize
def add_map_task(app: Any) -> Any:
    """``celery.map``: calls a task with each item, one after the other."""

    @app.task(name="celery.map", shared=False, lazy=False)  # type: ignore[untyped-decorator]  # any app
    def xmap(task: Any, it: Any) -> list[Any]:
        from celeriac.canvas import signature

        run = signature(task, app=app).type
        return [run(item) for item in it]

    return xmap


@connect_on_app_finalize
def add_starmap_task(app: Any) -> Any:
    """``celery.starmap``: as ``celery.map``, items being lists of arguments."""

    @app.task(name="celery.starmap", shared=False, lazy=False)  # type: ignore[untyped-decorator]  # any app
    def xstarmap(task: Any, it: Any) -> list[Any]:
        from celeriac.canvas import signature

        run = signature(task, app=app).type
        return [run(*item) for item in it]

    return xstarmap
