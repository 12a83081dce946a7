"""`celeriac dead`: messages that could not be run, kept with their bytes and the reason."""

from __future__ import annotations

import base64
from datetime import datetime, timezone
from typing import Any

import click

from celeriac.bin.base import CeleryCommand, CeleryOption, json_option
from celeriac.platforms import EX_FAILURE

_Letter = tuple[int, str, str, str, int, bytes]


@click.group()
def dead() -> None:
    """Messages that could not be run: list, show, replay, purge."""


def _task_of(envelope: bytes) -> tuple[str, str]:
    """`(task name, task id)`, as far as the bytes can be read."""
    from celeriac._bridge.codec import Message
    from celeriac.exceptions import DecodeError

    try:
        message = Message.scan(envelope)
    except DecodeError:
        return "?", "?"
    return message.task, message.id


def _as_dict(letter: _Letter, *, whole: bool) -> dict[str, Any]:
    number, queue, reason, detail, died_ms, envelope = letter
    task, task_id = _task_of(envelope)
    row: dict[str, Any] = {
        "id": number,
        "queue": queue,
        "reason": reason,
        "detail": detail,
        "died": datetime.fromtimestamp(died_ms / 1000, timezone.utc).isoformat(timespec="milliseconds"),
        "task": task,
        "task_id": task_id,
        "bytes": len(envelope),
    }
    if whole:
        try:
            row["envelope"] = envelope.decode()
        except UnicodeDecodeError:
            row["envelope_base64"] = base64.b64encode(envelope).decode()
    return row


@dead.command(name="list", cls=CeleryCommand)
@click.option("-n", "--limit", cls=CeleryOption, type=click.IntRange(1), default=50, show_default=True,
              help="Show at most so many, the newest first.")  # fmt: skip
@click.option("--before", cls=CeleryOption, type=int, help="Only those with an id below this one.")
@json_option
@click.pass_context
def list_(ctx: click.Context, limit: int, before: int | None, as_json: bool) -> None:
    """List dead letters, the newest first."""
    rows = [_as_dict(letter, whole=False) for letter in ctx.obj.app.broker.dead_list(limit, before)]
    if as_json:
        ctx.obj.json(rows)
        return
    for row in rows:
        ctx.obj.echo(
            f"{row['id']:>6}  {row['died']}  {row['queue']}  {row['reason']}  {row['task']}[{row['task_id']}]"
            f"  {row['detail']}"
        )
    if not rows:
        ctx.obj.echo("- empty -")


@dead.command(cls=CeleryCommand)
@click.argument("number", type=int)
@json_option
@click.pass_context
def show(ctx: click.Context, number: int, as_json: bool) -> None:
    """Show the dead letter NUMBER with the bytes of its message."""
    letter = ctx.obj.app.broker.dead_get(number)
    if letter is None:
        ctx.obj.error(f"Error: no dead letter has the id {number}; see `celeriac dead list`")
        ctx.exit(EX_FAILURE)
    row = _as_dict(letter, whole=True)
    if as_json:
        ctx.obj.json(row)
        return
    for name, value in row.items():
        ctx.obj.echo(f"{name:>16}: {value}")


def _chosen(ctx: click.Context, numbers: tuple[int, ...], every: bool) -> list[int] | None:
    if bool(numbers) == every:
        raise click.UsageError("name the ids of dead letters, or say --all", ctx=ctx)
    return None if every else list(numbers)


@dead.command(cls=CeleryCommand)
@click.argument("numbers", type=int, nargs=-1)
@click.option("--all", "every", cls=CeleryOption, is_flag=True, help="All of them.")
@json_option
@click.pass_context
def replay(ctx: click.Context, numbers: tuple[int, ...], every: bool, as_json: bool) -> None:
    """Put dead letters back into their queues, their crash count reset."""
    count = ctx.obj.app.broker.dead_replay(_chosen(ctx, numbers, every))
    ctx.obj.json({"replayed": count}) if as_json else ctx.obj.echo(f"Replayed {count}.")


@dead.command(cls=CeleryCommand)
@click.argument("numbers", type=int, nargs=-1)
@click.option("--all", "every", cls=CeleryOption, is_flag=True, help="All of them.")
@click.option("-f", "--force", cls=CeleryOption, is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def purge(ctx: click.Context, numbers: tuple[int, ...], every: bool, force: bool, as_json: bool) -> None:
    """Delete dead letters. There is no way back."""
    chosen = _chosen(ctx, numbers, every)
    if not force:
        which = "every dead letter" if chosen is None else f"{len(chosen)} dead letter(s)"
        click.confirm(f"This deletes {which}, for good. Go on?", abort=True, err=True)
    count = ctx.obj.app.broker.dead_purge(chosen)
    ctx.obj.json({"deleted": count}) if as_json else ctx.obj.echo(f"Deleted {count}.")
