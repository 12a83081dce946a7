"""`celeriac call`: sends a task by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from celeriac.bin.base import (
    ISO8601,
    ISO8601_OR_FLOAT,
    JSON_ARRAY,
    JSON_OBJECT,
    CeleryCommand,
    CeleryOption,
    handle_preload_options,
    json_option,
)

if TYPE_CHECKING:
    from datetime import datetime

_CALL = "Calling Options"
_ROUTE = "Routing Options"


@click.command(cls=CeleryCommand)
@click.argument("name")
@click.option("-a", "--args", cls=CeleryOption, type=JSON_ARRAY, default="[]", help_group=_CALL,
              help="Positional arguments, a JSON array.")  # fmt: skip
@click.option("-k", "--kwargs", cls=CeleryOption, type=JSON_OBJECT, default="{}", help_group=_CALL,
              help="Keyword arguments, a JSON object.")  # fmt: skip
@click.option("--eta", cls=CeleryOption, type=ISO8601, help_group=_CALL, help="Not before this moment (ISO 8601).")
@click.option("--countdown", cls=CeleryOption, type=float, help_group=_CALL, help="Not before so many seconds.")
@click.option("--expires", cls=CeleryOption, type=ISO8601_OR_FLOAT, help_group=_CALL,
              help="Not after so many seconds, or this moment (ISO 8601).")  # fmt: skip
@click.option("--serializer", cls=CeleryOption, default="json", help_group=_CALL, help="Serializer of the body.")
@click.option("--queue", cls=CeleryOption, help_group=_ROUTE, help="Name of the queue.")
@click.option("--exchange", cls=CeleryOption, help_group=_ROUTE, help="Name of the exchange.")
@click.option("--routing-key", cls=CeleryOption, help_group=_ROUTE, help="Routing key.")
@json_option
@click.pass_context
@handle_preload_options
def call(
    ctx: click.Context,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    eta: datetime | None,
    countdown: float | None,
    expires: datetime | float | None,
    serializer: str,
    queue: str | None,
    exchange: str | None,
    routing_key: str | None,
    as_json: bool,
) -> None:
    """Send the task NAME and print its id."""
    sent = ctx.obj.app.send_task(
        name,
        args=args,
        kwargs=kwargs,
        countdown=countdown,
        serializer=serializer,
        queue=queue,
        exchange=exchange,
        routing_key=routing_key,
        eta=eta,
        expires=expires,
    )
    if as_json:
        ctx.obj.json({"id": sent.id, "task": name})
    else:
        ctx.obj.echo(sent.id)
