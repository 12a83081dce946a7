"""`celeriac report`: what to attach to a bug report."""

from __future__ import annotations

import click

from celeriac.bin.base import CeleryCommand, handle_preload_options, json_option


@click.command(cls=CeleryCommand)
@json_option
@click.pass_context
@handle_preload_options
def report(ctx: click.Context, as_json: bool) -> None:
    """Show versions, platform, and settings that are not the defaults (secrets masked)."""
    from celeriac.app._report import facts

    app = ctx.obj.app
    app.loader.import_default_modules()
    if as_json:
        ctx.obj.json(facts(app))
    else:
        ctx.obj.echo(app.bugreport())
