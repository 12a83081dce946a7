"""What the commands share: the context object, options with help groups and two environment prefixes, JSON output."""

from __future__ import annotations

import functools
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click import Context, ParameterSource

from celeriac.bin._types import (
    AUTOSCALE,
    COMMA_SEPARATED_LIST,
    HOSTNAME,
    ISO8601,
    ISO8601_OR_FLOAT,
    JSON_ARRAY,
    JSON_OBJECT,
    LOG_LEVEL,
    WORKERS_POOL,
)

if TYPE_CHECKING:
    from celeriac.app.base import Celery

__all__ = [
    "AUTOSCALE",
    "COMMA_SEPARATED_LIST",
    "HOSTNAME",
    "ISO8601",
    "ISO8601_OR_FLOAT",
    "JSON_ARRAY",
    "JSON_OBJECT",
    "LOG_LEVEL",
    "WORKERS_POOL",
    "CLIContext",
    "CeleryCommand",
    "CeleryDaemonCommand",
    "CeleryOption",
    "DaemonOption",
    "handle_preload_options",
    "json_option",
    "queues_option",
]

_F = TypeVar("_F", bound=Callable[..., Any])

ENV_PREFIX = "CELERY"
OWN_ENV_PREFIX = "CELERIAC"


class CLIContext:
    """What a command gets from the options before it: the app, and how to print."""

    def __init__(self, app: Celery | None, no_color: bool, workdir: str | None, quiet: bool = False) -> None:
        self._app = app
        self.no_color = no_color
        self.quiet = quiet
        self.workdir = workdir

    @functools.cached_property
    def app(self) -> Celery:
        """The app that `-A` names, else the current one (whose settings are in the module `celeryconfig`)."""
        if self._app is not None:
            return self._app
        from celeriac._state import get_current_app

        return get_current_app()

    @property
    def chosen_app(self) -> Celery | None:
        """The app that `-A` names; None without `-A`."""
        return self._app

    @functools.cached_property
    def OK(self) -> str:  # noqa: N802 - Celery's name
        """`OK` in green."""
        return self.style("OK", fg="green", bold=True)

    @functools.cached_property
    def ERROR(self) -> str:  # noqa: N802 - Celery's name
        """`ERROR` in red."""
        return self.style("ERROR", fg="red", bold=True)

    def style(self, message: str | None = None, **kwargs: Any) -> str:
        """`message` with colours, unless they are off."""
        return str(message) if self.no_color else click.style(str(message), **kwargs)

    def secho(self, message: str | None = None, **kwargs: Any) -> None:
        """Prints with colours, unless they are off."""
        kwargs["color"] = False if self.no_color else kwargs.get("color")
        click.secho(message, **kwargs)

    def echo(self, message: str | None = None, **kwargs: Any) -> None:
        """Prints."""
        kwargs["color"] = False if self.no_color else kwargs.get("color")
        click.echo(message, **kwargs)

    def error(self, message: str | None = None, **kwargs: Any) -> None:
        """Prints to standard error."""
        self.secho(message, err=True, **kwargs)

    def json(self, value: object) -> None:
        """Prints `value` as one JSON text on a line; what JSON lacks is shown as its `repr`."""
        click.echo(json.dumps(value, default=repr, ensure_ascii=False))

    def pretty(self, value: object) -> tuple[str, str]:
        """`(label, text)` of a reply."""
        if isinstance(value, dict):
            if "ok" in value:
                return self.OK, self.pretty(value["ok"])[1]
            if "error" in value:
                return self.ERROR, self.pretty(value["error"])[1]
            return self.OK, json.dumps(value, default=repr, sort_keys=True, indent=4)
        if isinstance(value, list):
            return self.OK, "\n".join(f"* {item}" for item in value) or "- empty -"
        return self.OK, value if isinstance(value, str) else repr(value)

    def say_chat(self, direction: str, title: str, body: str = "", show_body: bool = False) -> None:
        """One line of a dialogue with workers; silent arrows when quiet."""
        if direction == "<-" and self.quiet:
            return
        self.echo(f"{'' if self.quiet else direction} {title}".strip())
        if body and show_body:
            self.echo(body)


class CeleryOption(click.Option):
    """An option with a help group, a default from the context object, and `CELERIAC_` beside `CELERY_` variables."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.help_group: str | None = kwargs.pop("help_group", None)
        self.default_value_from_context: str | None = kwargs.pop("default_value_from_context", None)
        super().__init__(*args, **kwargs)

    def get_default(self, ctx: Context, call: bool = True) -> Any:
        """The named attribute of the context object if there is one, else the option's own default."""
        if self.default_value_from_context and ctx.obj is not None:
            return getattr(ctx.obj, self.default_value_from_context)
        return super().get_default(ctx, call=call)

    def resolve_envvar_value(self, ctx: Context) -> str | None:
        """Explicit variables, then `CELERIAC_<COMMAND>_<OPTION>`, then `CELERY_<COMMAND>_<OPTION>`."""
        explicit = click.Parameter.resolve_envvar_value(self, ctx)
        if explicit is not None:
            return explicit
        prefix = ctx.auto_envvar_prefix
        if self.allow_from_autoenv and prefix and self.name:
            own = prefix.replace(ENV_PREFIX, OWN_ENV_PREFIX, 1) if prefix.startswith(ENV_PREFIX) else prefix
            found = os.environ.get(f"{own}_{self.name.upper()}")
            if found:
                return found
        return super().resolve_envvar_value(ctx)


class CeleryCommand(click.Command):
    """A command that takes the app's own options, shows help by groups, and explains a misplaced `-A`."""

    user_options_key: str | None = None  # of `app.user_options`

    def get_params(self, ctx: Context) -> list[click.Parameter]:
        """Its options, and those that the app adds: for this command, and for every command (`preload`)."""
        params = super().get_params(ctx)
        return [*params[:-1], *self.app_options(ctx), *params[-1:]] if ctx.obj is not None else params

    def app_options(self, ctx: Context, *, preload_only: bool = False) -> list[click.Parameter]:
        """The app's own options for this command."""
        app = getattr(ctx.obj, "chosen_app", None)
        options = getattr(app, "user_options", None)
        if not options:
            return []
        keys = ["preload"] if preload_only or not self.name else ["preload", self.name]
        return [option for key in keys for option in sorted(options.get(key, ()), key=lambda item: item.name or "")]

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """As Click, but `-A` after the command gets its own words."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as exc:
            if exc.option_name in ("-A", "--app"):
                raise click.UsageError(
                    f"{exc.option_name} belongs before the command, as all global options do:\n"
                    f"    {ctx.find_root().info_name} {exc.option_name} <app> {ctx.info_name} ...",
                    ctx=ctx,
                ) from None
            raise

    def format_options(self, ctx: Context, formatter: click.HelpFormatter) -> None:
        """Options under the headings of their groups."""
        groups: OrderedDict[str, list[tuple[str, str]]] = OrderedDict()
        for param in self.get_params(ctx):
            row = param.get_help_record(ctx)
            if row is not None:
                groups.setdefault(getattr(param, "help_group", None) or "Options", []).append(row)
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)


class DaemonOption(CeleryOption):
    """An option of a daemon; without a value it takes the setting `<program>_<option>`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("help_group", "Daemonization Options")
        kwargs.setdefault("callback", kwargs.pop("callback", self._setting))
        super().__init__(*args, **kwargs)

    def _setting(self, ctx: Context, param: click.Parameter, value: Any) -> Any:
        if value is not None or ctx.obj is None or ctx.resilient_parsing:
            return value
        return getattr(ctx.obj.app.conf, f"{ctx.command.name}_{param.name}", None)


class CeleryDaemonCommand(CeleryCommand):
    """A command that can run as a daemon."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(
            (
                DaemonOption(("--logfile", "-f"), help="Log file; standard error if not given. Codes: %n %h %p %i %I."),
                DaemonOption(
                    ("--pidfile",), help="File for the process id; refuses to start if a live process has it."
                ),
                DaemonOption(("--uid",), help="User to become, by name or number (when started as root)."),
                DaemonOption(("--gid",), help="Group to become, by name or number (when started as root)."),
                DaemonOption(("--umask",), help="File mode mask; octal if it starts with 0."),
                DaemonOption(("--executable",), help="Python interpreter of the detached process."),
            )
        )


def given(ctx: Context, name: str) -> bool:
    """Whether a parameter was given, on the command line or by a variable."""
    return ctx.get_parameter_source(name) not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP, None)


def handle_preload_options(command: _F) -> _F:
    """Sends `user_preload_options` with the values of the app's `preload` options before the command's body."""

    @functools.wraps(command)
    def with_preload(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        names: Sequence[click.Parameter] = ()
        if isinstance(ctx.command, CeleryCommand):
            names = ctx.command.app_options(ctx, preload_only=True)
        values = {option.name: kwargs.pop(option.name) for option in names if option.name in kwargs}
        if values:
            from celeriac import signals

            signals.user_preload_options.send(sender=with_preload, app=ctx.obj.app, options=values)
        return command(ctx, *args, **kwargs)

    return with_preload  # type: ignore[return-value]


def json_option(command: _F) -> _F:
    """`--json`: the output is data, for programs."""
    return click.option("--json", "as_json", cls=CeleryOption, is_flag=True, help="Print JSON.")(command)


def queues_option(help: str, *names: str) -> Callable[[_F], _F]:
    """`--queues` or its counterpart."""
    return click.option(*names, cls=CeleryOption, type=COMMA_SEPARATED_LIST, help=help)
