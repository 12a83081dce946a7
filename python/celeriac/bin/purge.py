"""`celeriac purge`: deletes what waits in queues."""

from __future__ import annotations

import click

from celeriac.bin.base import CeleryCommand, CeleryOption, handle_preload_options, json_option, queues_option


@click.command(cls=CeleryCommand)
@click.option("-f", "--force", cls=CeleryOption, is_flag=True, help="Do not ask.")
@queues_option("Only these queues (comma list).", "-Q", "--queues")
@queues_option("Not these queues (comma list).", "-X", "--exclude-queues")
@json_option
@click.pass_context
@handle_preload_options
def purge(
    ctx: click.Context, force: bool, queues: list[str] | None, exclude_queues: list[str] | None, as_json: bool
) -> None:
    """Delete all messages that wait in the queues. There is no way back.

    Messages that workers hold stay.
    """
    app = ctx.obj.app
    names = sorted(set(queues or app.amqp.queues) - set(exclude_queues or ()))
    if not names:
        raise click.UsageError("no queues are left to purge", ctx=ctx)
    if not force:
        listed = ", ".join(names)
        click.confirm(f"This deletes every message that waits in {listed}, for good. Go on?", abort=True, err=True)
    counts = {name: app.broker.purge(name) for name in names}
    total = sum(counts.values())
    if as_json:
        ctx.obj.json({"purged": total, "queues": counts})
        return
    plural = "" if total == 1 else "s"
    ctx.obj.echo(f"Purged {total} message{plural} from {len(names)} queue{'' if len(names) == 1 else 's'}.")
