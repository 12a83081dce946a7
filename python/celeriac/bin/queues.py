"""`celeriac queues`: how much waits where."""

from __future__ import annotations

import click

from celeriac.bin.base import CeleryCommand, handle_preload_options, json_option

_COLUMNS = ("queue", "ready", "delayed", "held")


@click.command(cls=CeleryCommand)
@json_option
@click.pass_context
@handle_preload_options
def queues(ctx: click.Context, as_json: bool) -> None:
    """Show the queues: messages that are ready, that wait for their time, and that workers hold."""
    rows = sorted(ctx.obj.app.broker.depths())
    if as_json:
        ctx.obj.json([dict(zip(_COLUMNS, row, strict=True)) for row in rows])
        return
    width = max([len(row[0]) for row in rows] + [5])
    ctx.obj.echo(f"{'QUEUE':<{width}} {'READY':>9} {'DELAYED':>9} {'HELD':>9}")
    for name, ready, delayed, held in rows:
        ctx.obj.echo(f"{name:<{width}} {ready:>9} {delayed:>9} {held:>9}")
