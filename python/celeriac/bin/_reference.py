"""docs/reference/cli.md, made from the commands themselves.

`python -m celeriac.bin._reference > docs/reference/cli.md` writes it anew.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from celeriac.bin.celery import COMMANDS, celery

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# Command line

Made by `python -m celeriac.bin._reference`; a test checks that it is current.

    celeriac [GLOBAL OPTIONS] COMMAND [COMMAND OPTIONS] [ARGUMENTS]

Global options come before the command. `python -m celeriac` is the same program.

## Finding the app

`-A` takes `pkg.mod:attribute`, `pkg.mod.attribute` or `pkg.mod`; the working directory can be imported. In a module
without an attribute named, the app is its `app`, else its `celery`, else for a package that of its module `celery` or
`celeriac`, else the first app among its variables. Without `-A` it is the current app, whose settings are in the module
`celeryconfig`.

There are three ways to fail, all with exit code 2: no module of that name, an error inside the module (shown with its
traceback), no app in it.

## Exit codes

| code | meaning |
|---|---|
| 0 | success; a worker that was stopped warm by SIGTERM |
| 1 | failure: a worker stopped by SIGINT, cold or hard; a task that failed, in `result`; "no" to a question; other |
| 2 | usage: an unknown command or option, a bad value, an app that cannot be loaded, a pool that does not exist |
| 64 | left free for init scripts, as in Celery |
| 69 | the broker or the result store cannot be used: away, full, damaged, refusing |
| 73 | the pidfile belongs to a live process |
| 78 | a setting or URL cannot be used |

An error is one line on standard error. `--traceback`, or the variable `CELERIAC_TRACEBACK`, shows where it came from;
an error that is a bug in celeriac or in the app shows it always.

## Environment

Every option can be given by a variable: `CELERIAC_<OPTION>` for global options, `CELERIAC_<COMMAND>_<OPTION>` for those
of a command (`CELERIAC_WORKER_CONCURRENCY=4`). The prefix `CELERY_` works as well; where both are set ours wins. Some
global options also read a variable without a prefix, as in Celery; it comes first.

| variable | meaning |
|---|---|
| `CELERY_BROKER_URL`, `CELERY_RESULT_BACKEND` | URLs that win over the settings (`-b`, `--result-backend` set them) |
| `CELERY_LOADER`, `CELERY_CONFIG_MODULE` | loader class, module with the settings |
| `CELERIAC_TRACEBACK` | show the traceback of errors |
| `CELERY_CUSTOM_WORKER_POOL` | path of the class for `-P custom` |
| `REMAP_SIGTERM` | `SIGQUIT`: SIGTERM stops a worker cold |
| `C_FORCE_ROOT` | run as root although pickle is accepted |
| `C_FAKEFORK` | `--detach` does not fork, so that errors can be seen |
| `NO_COLOR`, `NOSETPS` | no colours; no process titles |

## Signals of a worker

| signal | first time | again |
|---|---|---|
| SIGTERM | warm: running tasks end, the rest goes back to its queues; exit 0 | nothing |
| SIGINT | warm; exit 1 | cold (or soft, if `worker_soft_shutdown_timeout` is set), then hard |
| SIGQUIT | cold (or soft): running tasks are given up, late-acked ones go back to their queues; exit 1 | hard |
| SIGHUP | without a terminal: warm stop, then the same command again | |
| SIGUSR1 | the stacks of all threads to standard error | the same |

"""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    rows = []
    for param in command.get_params(context):
        if not isinstance(param, click.Option) or "--help" in param.opts:
            continue
        names = ", ".join(f"`{name}`" for name in sorted(param.opts, key=len))
        kind = "" if param.is_flag else param.type.name.upper() if not param.metavar else param.metavar
        if isinstance(param.type, click.Choice):
            kind = " \\| ".join(str(choice) for choice in param.type.choices)
        default = param.default
        shown = "" if param.is_flag or default is None or not isinstance(default, (str, int, float)) else f"`{default}`"
        rows.append(f"| {names} | {kind} | {shown} | {_cell(param.help or '')} |")
    if rows:
        yield "| option | value | default | meaning |\n|---|---|---|---|"
        yield from rows
        yield ""


def _section(command: click.Command, context: click.Context, path: str) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"## `{path}`\n"
    yield f"    {path} {usage}\n"
    yield f"{(command.help or '').strip()}\n".replace("\n    ", "\n")
    yield from _options(command, context)
    if isinstance(command, click.Group) and command is not celery:
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _section(inner, click.Context(inner, info_name=name, parent=context), f"{path} {name}")


def pages() -> str:
    """The whole page."""
    root = click.Context(celery, info_name="celeriac")
    lines = [_HEAD + "## Global options\n", *_options(celery, root)]
    for name in sorted(COMMANDS):  # the plug-ins of this machine are not ours to document
        command = celery.get_command(root, name)
        if command is not None:
            lines += _section(command, click.Context(command, info_name=name, parent=root), f"celeriac {name}")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(pages())
