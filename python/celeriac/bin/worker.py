"""`celeriac worker`: runs tasks."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from celeriac.bin.base import (
    AUTOSCALE,
    COMMA_SEPARATED_LIST,
    HOSTNAME,
    LOG_LEVEL,
    WORKERS_POOL,
    CeleryDaemonCommand,
    CeleryOption,
    handle_preload_options,
)
from celeriac.concurrency import START_METHODS
from celeriac.platforms import EX_FAILURE

_WORKER = "Worker Options"
_POOL = "Pool Options"
_QUEUE = "Queue Options"
_FEATURES = "Features"
_BEAT = "Embedded Beat Options"

# Words of a command line that the detached process must not see again; the number of values each takes. It inherits
# the working directory, so a relative one would be entered twice.
_OWN_OF_DETACH = {"-D": 0, "--detach": 0, "--uid": 1, "--gid": 1, "--workdir": 1}
_VARIABLES_OF_DETACH = [
    f"{prefix}_WORKER_{name}" for prefix in ("CELERIAC", "CELERY") for name in ("DETACH", "UID", "GID")
]


def _daemon_argv(argv: list[str]) -> list[str]:
    """The arguments without what asked for detaching, and without privileges, which are dropped by then."""
    kept: list[str] = []
    skip = 0
    for number, word in enumerate(argv):
        if word == "--":
            return kept + argv[number:]
        if skip:
            skip -= 1
            continue
        name, equals, _ = word.partition("=")
        if name in _OWN_OF_DETACH:
            skip = 0 if equals else _OWN_OF_DETACH[name]
            continue
        kept.append(word)
    return kept


def _detach(ctx: click.Context, options: dict[str, Any], hostname: str) -> None:
    """Starts the same command as a daemon."""
    from celeriac.platforms import detach
    from celeriac.utils.nodenames import node_format

    files = {name: node_format(options[name], hostname) if options[name] else None for name in ("logfile", "pidfile")}
    executable = options["executable"] or sys.executable
    for name in _VARIABLES_OF_DETACH:
        os.environ.pop(name, None)  # else the daemon would detach in its turn, for ever
    try:
        detach(
            [executable, "-m", "celeriac", *_daemon_argv(sys.argv[1:])],
            uid=options["uid"],
            gid=options["gid"],
            umask=options["umask"],
            fake="C_FAKEFORK" in os.environ,
            **files,
        )
    except (OSError, RuntimeError) as exc:
        ctx.obj.error(f"Error: cannot detach: {exc}")
        ctx.exit(EX_FAILURE)


def _configure(ctx: click.Context, assignments: list[str]) -> None:
    """`key=value` after `--` changes settings."""
    if not assignments:
        return
    app = ctx.obj.app
    try:
        app.config_from_cmdline(assignments, namespace="worker")
    except (KeyError, ValueError) as exc:
        text = exc.args[0] if exc.args else exc
        raise click.UsageError(f"cannot use the setting(s) {' '.join(assignments)}: {text}", ctx=ctx) from exc


@click.command(
    cls=CeleryDaemonCommand, context_settings={"allow_extra_args": True}, options_metavar="[OPTIONS] [-- key=value ...]"
)
@click.option("-n", "--hostname", cls=CeleryOption, type=HOSTNAME, help_group=_WORKER,
              help="Node name: name@host, name@%h. Codes: %h host, %n its first part, %d its domain.")  # fmt: skip
@click.option("-D", "--detach", cls=CeleryOption, is_flag=True, help_group=_WORKER, help="Run as a daemon.")
@click.option("-S", "--statedb", cls=CeleryOption, type=click.Path(), help_group=_WORKER,
              help="File that keeps revoked ids. No effect yet.")  # fmt: skip
@click.option("-l", "--loglevel", cls=CeleryOption, type=LOG_LEVEL, default="WARNING", show_default=True,
              help_group=_WORKER, help="Log level.")  # fmt: skip
@click.option("-O", "--optimization", cls=CeleryOption, type=click.Choice(("default", "fair")), default="default",
              help_group=_WORKER, help="Accepted for Celery's sake: scheduling is always fair.")  # fmt: skip
@click.option("--prefetch-multiplier", cls=CeleryOption, type=click.IntRange(0), help_group=_WORKER,
              help="Messages held for each task that can run at once. Without it the worker adapts.")  # fmt: skip
@click.option("--disable-prefetch", cls=CeleryOption, is_flag=True, default=None, help_group=_WORKER,
              help="Hold no more messages than tasks can run at once.")  # fmt: skip
@click.option("-c", "--concurrency", cls=CeleryOption, type=click.IntRange(0), help_group=_POOL,
              help="Tasks that run at once. Default: the number of CPUs.")  # fmt: skip
@click.option("-P", "--pool", cls=CeleryOption, type=WORKERS_POOL, help_group=_POOL,
              help="Pool. Default: prefork; threads where there is no Linux.")  # fmt: skip
@click.option("--pool-start-method", cls=CeleryOption, type=click.Choice(START_METHODS), help_group=_POOL,
              help="How processes come about. Default: fork; spawn where there is no Linux. prefork only.")  # fmt: skip
@click.option("-E", "--task-events", "--events", "task_events", cls=CeleryOption, is_flag=True, default=None,
              help_group=_POOL, help="Send events of tasks. No effect yet.")  # fmt: skip
@click.option("--time-limit", cls=CeleryOption, type=float, help_group=_POOL,
              help="Seconds after which the process of a task is killed. prefork only.")  # fmt: skip
@click.option("--soft-time-limit", cls=CeleryOption, type=float, help_group=_POOL,
              help="Seconds after which a task is interrupted. prefork only.")  # fmt: skip
@click.option("--max-tasks-per-child", cls=CeleryOption, type=int, help_group=_POOL,
              help="Tasks after which a process is replaced. prefork only.")  # fmt: skip
@click.option("--max-memory-per-child", cls=CeleryOption, type=int, help_group=_POOL,
              help="Memory in KiB above which a process is replaced. prefork only.")  # fmt: skip
@click.option("--purge", "--discard", "purge", cls=CeleryOption, is_flag=True, help_group=_QUEUE,
              help="Delete what waits in the chosen queues first. There is no way back.")  # fmt: skip
@click.option("-Q", "--queues", cls=CeleryOption, type=COMMA_SEPARATED_LIST, help_group=_QUEUE,
              help="Queues to consume (comma list).")  # fmt: skip
@click.option("-X", "--exclude-queues", cls=CeleryOption, type=COMMA_SEPARATED_LIST, help_group=_QUEUE,
              help="Queues not to consume (comma list).")  # fmt: skip
@click.option("-I", "--include", cls=CeleryOption, type=COMMA_SEPARATED_LIST, help_group=_QUEUE,
              help="More modules with tasks (comma list).")  # fmt: skip
@click.option("--without-gossip", cls=CeleryOption, is_flag=True, help_group=_FEATURES,
              help="Accepted: this version has no gossip.")  # fmt: skip
@click.option("--without-mingle", cls=CeleryOption, is_flag=True, help_group=_FEATURES,
              help="Accepted: this version does not mingle.")  # fmt: skip
@click.option("--without-heartbeat", cls=CeleryOption, is_flag=True, help_group=_FEATURES,
              help="Accepted: this version sends no heartbeat events.")  # fmt: skip
@click.option("--heartbeat-interval", cls=CeleryOption, type=int, help_group=_FEATURES,
              help="Seconds between heartbeat events. No effect yet.")  # fmt: skip
@click.option("--autoscale", cls=CeleryOption, type=AUTOSCALE, help_group=_FEATURES,
              help="Most and fewest tasks at once: max,min. No effect yet.")  # fmt: skip
@click.option("-B", "--beat", cls=CeleryOption, is_flag=True, help_group=_BEAT,
              help="Run the scheduler, too. No effect yet.")  # fmt: skip
@click.option("-s", "--schedule-filename", "--schedule", "schedule_filename", cls=CeleryOption, help_group=_BEAT,
              help="File of the schedule. No effect yet.")  # fmt: skip
@click.option("--scheduler", cls=CeleryOption, help_group=_BEAT, help="Class of the scheduler. No effect yet.")
@click.pass_context
@handle_preload_options
def worker(
    ctx: click.Context,
    /,
    hostname: str | None,
    pool: Any,
    loglevel: int,
    logfile: str | None,
    pidfile: str | None,
    statedb: str | None,
    detach: bool,
    uid: str | None,
    gid: str | None,
    umask: str | None,
    executable: str | None,
    **options: Any,
) -> None:
    """Run a worker.

    Arguments after -- change settings: celeriac -A proj worker -- worker_prefetch_multiplier=1
    """
    from celeriac.bin._errors import exit_code, explain
    from celeriac.exceptions import ImproperlyConfigured, SecurityError
    from celeriac.platforms import maybe_drop_privileges, parse_umask
    from celeriac.utils.nodenames import default_nodename, node_format

    _configure(ctx, ctx.args)
    app = ctx.obj.app
    hostname = hostname or default_nodename(None)
    daemon = {"logfile": logfile, "pidfile": pidfile, "uid": uid, "gid": gid, "umask": umask, "executable": executable}
    if detach:
        _detach(ctx, daemon, hostname)
        return
    maybe_drop_privileges(uid=uid, gid=gid)
    if umask is not None:
        os.umask(parse_umask(umask) or 0)
    pool = _chosen_pool(ctx, pool)
    try:
        running = app.Worker(
            hostname=hostname,
            pool_cls=pool,
            loglevel=loglevel,
            logfile=logfile,  # its codes are expanded where the log is set up
            pidfile=node_format(pidfile, hostname) if pidfile else None,
            statedb=node_format(statedb, hostname) if statedb else None,
            no_color=ctx.obj.no_color,
            quiet=ctx.obj.quiet,
            **options,
        )
        running.start()
    except (SecurityError, ImproperlyConfigured) as exc:
        code = explain(exc)
        if code is None:
            raise
        ctx.exit(code)
    failure = running.failure
    if failure is not None and not running.is_ready.is_set():
        ctx.exit(exit_code(failure))
    if running.restarting and not running.exitcode:
        running.restart()
    ctx.exit(running.exitcode or 0)


def _chosen_pool(ctx: click.Context, pool: Any) -> Any:
    """Explains the pools that are not there before anything is started."""
    if pool is None:
        return None
    from celeriac.concurrency import get_implementation
    from celeriac.exceptions import ImproperlyConfigured

    try:
        return get_implementation(pool)
    except ImproperlyConfigured as exc:
        raise click.BadParameter(str(exc), ctx=ctx, param_hint="'-P' / '--pool'") from exc
