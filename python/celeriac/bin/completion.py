"""`celeriac completion`: the script that teaches a shell to complete this program's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from celeriac.bin.base import CeleryCommand


@click.command(cls=CeleryCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    For bash: eval "$(celeriac completion bash)"
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"no completion for {shell}")
    program = ctx.find_root()
    name = program.info_name or "celeriac"
    click.echo(found(program.command, {}, name, f"_{name}_COMPLETE".upper()).source())
