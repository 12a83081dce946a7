"""The program `celeriac`: global options, the app, and which module has which command."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click
from click import Context

from celeriac.bin.base import ENV_PREFIX, CeleryCommand, CeleryOption, CLIContext
from celeriac.platforms import EX_FAILURE, EX_OK

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "call": "celeriac.bin.call:call",
    "completion": "celeriac.bin.completion:completion",
    "dead": "celeriac.bin.dead:dead",
    "purge": "celeriac.bin.purge:purge",
    "queues": "celeriac.bin.queues:queues",
    "report": "celeriac.bin.report:report",
    "result": "celeriac.bin.result:result",
    "shell": "celeriac.bin.shell:shell",
    "worker": "celeriac.bin.worker:worker",
}
PLUGIN_GROUPS = ("celeriac.commands", "celery.commands")

# Celery's commands that this version lacks: named, so that nobody looks for a typing error.
_NOT_YET = {
    "amqp", "beat", "control", "events", "graph", "inspect", "list", "logtool", "migrate", "multi", "status", "upgrade",
}  # fmt: skip


def _plugins() -> dict[str, Any]:
    """Entry points by command name; ours win over Celery's. Read only when a name is not built in: it takes ms."""
    from importlib.metadata import entry_points

    return {point.name: point for group in reversed(PLUGIN_GROUPS) for point in entry_points(group=group)}


def _broken_plugin(name: str, exc: Exception) -> click.Command:
    @click.command(name, help=f"Cannot be loaded: {exc}", context_settings={"ignore_unknown_options": True})
    @click.argument("args", nargs=-1)
    def stub(args: tuple[str, ...]) -> None:
        raise click.ClickException(f"the plug-in command {name!r} cannot be loaded: {type(exc).__name__}: {exc}")

    return stub


class CommandGroup(click.Group):
    """Imports a command when it is asked for, knows plug-ins, and suggests names."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Names of all commands."""
        return sorted({*COMMANDS, *self.commands, *_plugins()})

    def get_command(self, ctx: Context, cmd_name: str) -> click.Command | None:
        """The command, or None."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name].partition(":")
            found: click.Command = getattr(importlib.import_module(module), attribute)
            return found
        point = _plugins().get(cmd_name)
        if point is None:
            return None
        try:
            loaded: click.Command = point.load()
        except Exception as exc:  # a plug-in that cannot be imported must not take the others along
            loaded = _broken_plugin(cmd_name, exc)
        return loaded

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begins with; an unknown one is a usage error with the nearest names."""
        name = args[0]
        if not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            import difflib  # here and not above: a worker starts a millisecond sooner without it

            near = difflib.get_close_matches(name, self.list_commands(ctx), n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            if name in _NOT_YET:
                hint = f" It is a command of Celery that this version of celeriac does not have yet.{hint}"
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx=ctx)
        return super().resolve_command(ctx, args)


def _chdir(ctx: Context, param: click.Parameter, value: str | None) -> str | None:
    if value:
        try:
            os.chdir(value)
        except OSError as exc:
            raise click.BadParameter(f"cannot change to {value!r}: {exc.strerror}", ctx=ctx, param=param) from exc
    return value


def _version(ctx: Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from celeriac import __version__

        click.echo(f"celeriac {__version__}")
        ctx.exit()


def _load_app(ctx: Context, name: Any) -> Any:
    if not isinstance(name, str):
        return name
    from celeriac.app._find import AppNotFound, find_app

    try:
        return find_app(name)
    except AppNotFound as exc:
        if exc.trace:
            click.echo(exc.trace, err=True)
        raise click.UsageError(str(exc), ctx=ctx) from exc


@click.group(cls=CommandGroup, invoke_without_command=True, context_settings={"auto_envvar_prefix": ENV_PREFIX})
@click.option("-A", "--app", envvar="APP", cls=CeleryOption, type=click.UNPROCESSED, metavar="APPLICATION",
              help="The app: pkg.mod, pkg.mod:attribute or pkg.mod.attribute.")  # fmt: skip
@click.option("-b", "--broker", envvar="BROKER_URL", cls=CeleryOption, help="URL of the broker.")
@click.option("--result-backend", envvar="RESULT_BACKEND", cls=CeleryOption, help="URL of the result backend.")
@click.option("--loader", envvar="LOADER", cls=CeleryOption, help="Loader class of the app.")
@click.option("--config", envvar="CONFIG_MODULE", cls=CeleryOption, help="Module with the settings.")
@click.option("--workdir", cls=CeleryOption, is_eager=True, callback=_chdir, help="Folder to change to first.")
@click.option("-C", "--no-color", envvar="NO_COLOR", cls=CeleryOption, is_flag=True, help="No colours.")
@click.option("-q", "--quiet", cls=CeleryOption, is_flag=True, help="Print less.")
@click.option("--traceback", cls=CeleryOption, is_flag=True, help="Show the traceback of an error.")
@click.option("--version", cls=CeleryOption, is_flag=True, is_eager=True, expose_value=False, callback=_version,
              allow_from_autoenv=False, help="Show the version.")  # fmt: skip
@click.option("--skip-checks", envvar="SKIP_CHECKS", cls=CeleryOption, is_flag=True, help="Skip Django's checks.")
@click.pass_context
def celery(
    ctx: Context,
    app: Any,
    broker: str | None,
    result_backend: str | None,
    loader: str | None,
    config: str | None,
    workdir: str | None,
    no_color: bool,
    quiet: bool,
    traceback: bool,
    skip_checks: bool,
) -> None:
    """celeriac: a distributed task queue. Global options come before the command."""
    if ctx.invoked_subcommand is None and app is None:
        click.echo(ctx.get_help())
        ctx.exit()
    # The app reads these when it is made, so they must be there before its module is imported.
    given = {
        "CELERY_BROKER_URL": broker,
        "CELERY_RESULT_BACKEND": result_backend,
        "CELERY_LOADER": loader,
        "CELERY_CONFIG_MODULE": config,
        "CELERY_SKIP_CHECKS": "true" if skip_checks else None,
    }
    os.environ.update({name: value for name, value in given.items() if value})
    if traceback:
        os.environ["CELERIAC_TRACEBACK"] = "1"
    ctx.obj = CLIContext(app=_load_app(ctx, app), no_color=no_color, workdir=workdir, quiet=quiet)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(argv: Sequence[str] | None = None, app: Any = None) -> int:
    """Runs the command line; returns an exit code of docs/reference/cli.md.

    Args:
        argv: arguments without the program's name; default: those of the process.
        app: an app in place of `-A`.

    Raises:
        Exception: one that needs its traceback: a bug, or any if a traceback was asked for.
    """
    from celeriac.bin._errors import explain

    args = list(sys.argv[1:] if argv is None else argv)
    try:
        if app is None:
            celery.main(args=args, prog_name="celeriac")
        else:
            with _app_given(app):
                celery.main(args=args, prog_name="celeriac")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EX_FAILURE if end.code else EX_OK
    except Exception as exc:  # the border of the program: one line, unless a traceback is asked for
        code = explain(exc)
        if code is None:
            raise
        return code
    return EX_OK


class _app_given:  # noqa: N801 - a context manager
    """Makes `app` the default of `-A` for a while."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.option = next(param for param in celery.params if param.name == "app")

    def __enter__(self) -> None:
        self.before = self.option.default
        self.option.default = self.app

    def __exit__(self, *_: object) -> None:
        self.option.default = self.before


__all__ = ["CeleryCommand", "CommandGroup", "celery", "main"]
