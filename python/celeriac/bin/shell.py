"""`celeriac shell`: a Python prompt with the app and its tasks."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from celeriac.bin.base import CeleryCommand, CeleryOption, handle_preload_options

if TYPE_CHECKING:
    from collections.abc import Callable


def _plain(names: dict[str, Any]) -> None:
    import code

    try:
        import readline
        import rlcompleter
    except ImportError:  # not on every platform
        pass
    else:
        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab:complete")
    code.interact(banner="celeriac: the app is `app`, its tasks go by their names", local=names, exitmsg="")


def _ipython(names: dict[str, Any]) -> None:
    from IPython import start_ipython  # type: ignore[import-not-found,unused-ignore]

    start_ipython(argv=[], user_ns=names)


def _bpython(names: dict[str, Any]) -> None:
    import bpython  # type: ignore[import-not-found,unused-ignore]

    bpython.embed(names)


def _best(names: dict[str, Any]) -> None:
    for run in (_ipython, _bpython):
        try:
            run(names)
        except ImportError:
            continue
        return
    _plain(names)


@click.command(cls=CeleryCommand, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@click.option("-I", "--ipython", cls=CeleryOption, is_flag=True, help_group="Shell Options", help="Use IPython.")
@click.option("-B", "--bpython", cls=CeleryOption, is_flag=True, help_group="Shell Options", help="Use bpython.")
@click.option("--python", cls=CeleryOption, is_flag=True, help_group="Shell Options", help="Use the plain prompt.")
@click.option("-T", "--without-tasks", cls=CeleryOption, is_flag=True, help_group="Shell Options",
              help="Do not put the tasks among the names.")  # fmt: skip
@click.pass_context
@handle_preload_options
def shell(ctx: click.Context, /, ipython: bool, bpython: bool, python: bool, without_tasks: bool, **_: Any) -> None:
    """Open a Python prompt with `app`, `celery`, `Task` and every task under its function's name."""
    sys.path.insert(0, os.getcwd())
    app = ctx.obj.app
    app.loader.import_default_modules()
    names: dict[str, Any] = {"app": app, "celery": app, "Task": app.Task}
    import celeriac

    for name in ("chord", "group", "chain", "chunks", "xmap", "xstarmap", "subtask", "signature"):
        found = getattr(celeriac, name, None)
        if found is not None:
            names[name] = found
    if not without_tasks:
        names.update({task.__name__: task for task in app.tasks.values() if not task.name.startswith("celery.")})
    run: Callable[[dict[str, Any]], None] = _best
    if ipython or bpython or python:
        run = _ipython if ipython else _bpython if bpython else _plain
    try:
        run(names)
    except ImportError as exc:
        raise click.ClickException(f"{exc.name} is not installed; use --python") from exc
