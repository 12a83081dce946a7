"""`WorkController`: starts hub and pool, turns notices into signals, and stops both in order.

It can be embedded: `start` blocks the thread that calls it, `stop` and `terminate` may be called from any other. The
program around it (banner, process signals, pidfile) is `celeriac.apps.worker`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac._bridge.hub import Hub
from celeriac.concurrency import get_implementation, get_start_method, refuse_in_a_starting_child
from celeriac.exceptions import CeleryError, ImproperlyConfigured, KombuError, WorkerShutdown, WorkerTerminate
from celeriac.platforms import EX_FAILURE, EX_OK, check_privileges
from celeriac.utils import worker_direct
from celeriac.utils.log import mlevel
from celeriac.utils.nodenames import default_nodename
from celeriac.worker import _hub_config, state
from celeriac.worker._notices import Notices, wanted
from celeriac.worker._options import effective
from celeriac.worker._shutdown import Plan, Stage
from celeriac.worker._stoppable import COLD_LIMIT_S, Stoppable
from celeriac.worker.consumer import Consumer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from celeriac.app.base import Celery

__all__ = ["WorkController"]

logger = logging.getLogger("celeriac.worker")

_LOOK_UP_MS = 500
"""The loop looks up from waiting this often, for the flags of `worker.state`; notices and signals wake it at once."""
_SOLO_LOOK_UP_MS = 200


class WorkController(Stoppable):
    """A worker without a process around it."""

    app: Celery = None  # type: ignore[assignment]  # set by `app.WorkController`, or by the constructor

    pidfile: str | None = None
    pidlock: Any = None

    def __init__(self, app: Celery | None = None, hostname: str | None = None, **kwargs: Any) -> None:
        super().__init__()
        refuse_in_a_starting_child()
        self.app = app or self.app
        self.hostname = default_nodename(hostname)
        self.startup_time = datetime.now(timezone.utc)
        self._was_ready = False
        self.app.loader.init_worker()
        self.on_before_init(**kwargs)
        self.options = kwargs
        self.setup_defaults(**kwargs)
        self.on_after_init(**kwargs)
        self.setup_instance(**self.prepare_args(**kwargs))

    # --- hooks, called in this order

    def on_before_init(self, quiet: bool = False, **kwargs: Any) -> None:
        """First: receivers of `celeryd_init` may change the settings of this one worker."""
        self.app.set_current()
        self.app.set_default()
        signals.celeryd_init.send(sender=self.hostname, instance=self, conf=self.app.conf, options=kwargs)
        self.check_privileges()

    def check_privileges(self) -> None:
        """Refuses root with pickle, warns of root without."""
        check_privileges(self.app.conf.accept_content)

    def on_after_init(self, **kwargs: Any) -> None: ...
    def on_init_blueprint(self) -> None: ...
    def on_start(self) -> None: ...
    def on_stopped(self) -> None: ...

    def on_ready(self) -> None:
        """The hub consumes."""
        if not self._was_ready:
            self._was_ready = True
            logger.info("%s ready.", self.hostname)
            signals.worker_ready.send(sender=self.consumer)
            if self.ready_callback is not None:
                self.ready_callback(self.consumer)
        self.is_ready.set()

    def prepare_args(self, **kwargs: Any) -> dict[str, Any]:
        return kwargs

    # --- setting up

    def setup_defaults(self, **kwargs: Any) -> None:
        """Options that were not given are taken from the settings."""
        for name, value in effective(self.app.conf, kwargs).items():
            setattr(self, name, value)
        self.loglevel = mlevel(self.loglevel)
        self.pool_cls = get_implementation(self.pool_cls)
        if self.pool_cls.has_processes:
            self.pool_start_method = get_start_method(self.pool_start_method)

    loglevel: Any
    logfile: Any
    pool_cls: Any
    pool_start_method: str | None
    concurrency: int
    prefetch_multiplier: int | None
    disable_prefetch: bool
    time_limit: float | None
    soft_time_limit: float | None
    purge: bool

    def setup_instance(
        self,
        queues: str | Iterable[str] | None = None,
        ready_callback: Callable[[Consumer], Any] | None = None,
        pidfile: str | None = None,
        include: str | Iterable[str] | None = None,
        exclude_queues: str | Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Imports tasks, selects queues, makes the pool; `worker_init` is sent when all is known."""
        self.pidfile = pidfile
        self.ready_callback = ready_callback
        self.setup_queues(_listed(queues), _listed(exclude_queues))
        self.setup_includes(_listed(include))
        self.app.finalize()
        signals.worker_init.send(sender=self)
        self.on_init_blueprint()
        self.consumer = Consumer(self)
        self.notices = Notices(self)
        self.plan = Plan(
            soft_timeout=float(self.app.conf.worker_soft_shutdown_timeout or 0),
            soft_on_idle=bool(self.app.conf.worker_enable_soft_shutdown_on_idle),
            term_is_quit=os.environ.get("REMAP_SIGTERM") == "SIGQUIT",
        )

    def setup_queues(self, include: list[str], exclude: list[str]) -> None:
        """Restricts consuming to `include`, without `exclude`; adds the node's own queue if `worker_direct` is set.

        Raises:
            ImproperlyConfigured: a queue is not configured, and may not be made up.
        """
        queues = self.app.amqp.queues
        try:
            if include:
                queues.select(include)
            if exclude:
                queues.deselect(exclude)
        except KeyError as exc:
            raise ImproperlyConfigured(
                f"no queue is named {exc.args[0]!r} in task_queues, and task_create_missing_queues is off"
            ) from exc
        if self.app.conf.worker_direct:
            queues.select_add(worker_direct(self.hostname))

    def setup_includes(self, includes: list[str]) -> None:
        """Imports what `-I` names, like the setting `include`."""
        if includes:
            self.app.conf.include = (*(self.app.conf.include or ()), *includes)
            for module in includes:
                self.app.loader.import_task_module(module)

    @property
    def broker_url(self) -> str:
        """The broker's URL without its password."""
        return _hub_config.shown_broker_url(self.app)

    # --- running

    def start(self) -> None:
        """Runs until it is stopped. Sets `exitcode`; raises nothing but what hooks of sub-classes raise."""
        self._thread = threading.current_thread()
        state._workers.add(self)
        try:
            self.on_start()
            self._run()
        except WorkerTerminate as exc:
            self._to(Stage.COLD, _code(exc, EX_FAILURE))
        except (WorkerShutdown, KeyboardInterrupt) as exc:
            self._to(Stage.WARM, _code(exc, EX_OK if isinstance(exc, WorkerShutdown) else EX_FAILURE))
            self._drain()
        except Exception as exc:
            # An error of ours says in its text what is wrong and what to do; others need to show where they come from.
            ours = isinstance(exc, (CeleryError, KombuError)) and not os.environ.get("CELERIAC_TRACEBACK")
            logger.critical("Unrecoverable error: %s: %s", type(exc).__name__, exc, exc_info=not ours)
            self.failure = exc
            self._to(Stage.COLD, EX_FAILURE)
        finally:
            self._finish()

    failure: Exception | None = None
    """What ended the worker, if it was an error."""

    def _run(self) -> None:
        """Boots and loops; once more after each `reload`."""
        self._boot()
        self._loop()
        while self._reload.is_set() and self.stage is Stage.RUNNING:
            if self.pool is not None and self.hub is not None:
                self.pool.stop()
                self.hub.join(int(COLD_LIMIT_S * 1000))
            self._hub_stopped = False
            self._reload.clear()
            self._boot()
            self._loop()

    def _boot(self) -> None:
        from celeriac.app.trace import Tracer

        if self.pool_cls.has_processes and _hub_config.is_of_one_process(self.app):
            raise ImproperlyConfigured(
                "the broker memory:// is of one process, and the pool prefork runs tasks in others: use -P threads or "
                "-P solo, or a broker that processes share"
            )
        pool = self.pool_cls(self.concurrency, app=self.app, **self._pool_options())
        self.concurrency = pool.limit
        if self.purge:
            self._purge()
        notify = wanted()
        tracer = Tracer(self.app, hostname=self.hostname)
        here = not pool.has_processes
        execute = self.notices.reception.before(tracer.execute) if here and "received" in notify else tracer.execute
        pool.prepare(execute, tracer.close)
        try:
            hub = Hub(_hub_config.build(self, children=pool.limit, notify=notify, processes=pool.hub_options()))
        except BaseException:
            pool.terminate()
            raise
        pool.attach(hub)
        if here:
            pool.connect([hub.port(child) for child in range(pool.limit)], execute, tracer.close)
        hub.start()
        pool.start()
        self.pool, self.hub = pool, hub
        if self.stage > Stage.RUNNING:  # told to stop while it started
            hub.stop(self.stage >= Stage.COLD)

    def _pool_options(self) -> dict[str, Any]:
        names = ("hostname", "loglevel", "logfile", "max_tasks_per_child", "max_memory_per_child", "time_limit",
                 "soft_time_limit")  # fmt: skip
        options = {name: getattr(self, name) for name in names}
        patience = self.app.conf.value_set_for("worker_proc_alive_timeout")
        return {**options, "start_method": self.pool_start_method, "proc_alive_timeout": patience}

    def _purge(self) -> None:
        names = list(self.app.amqp.queues.consume_from)
        count = sum(self.app.broker.purge(name) for name in names)
        if count:
            logger.warning("purge: erased %d message(s) from %s", count, ", ".join(names))

    def _loop(self) -> None:
        hub, pool = self.hub, self.pool
        assert hub is not None
        assert pool is not None
        runs_here = pool.runs_in_main_thread
        while not self._hub_stopped:
            if runs_here and self.is_ready.is_set():
                runs_here = pool.run_once(_SOLO_LOOK_UP_MS)
                self.notices.handle(hub.notices(0))
            else:
                self.notices.handle(hub.notices(self._patience_ms()))
            state.maybe_shutdown()
            if self._cold_at is not None and time.monotonic() >= self._cold_at:
                if self.stage >= Stage.COLD:
                    return
                self.on_soft_timeout()

    def _patience_ms(self) -> int:
        if self._cold_at is None:
            return _LOOK_UP_MS
        return max(1, min(_LOOK_UP_MS, int((self._cold_at - time.monotonic()) * 1000)))

    def _drain(self) -> None:
        """After a warm stop that came as an exception: lets running tasks end."""
        if self.hub is not None:
            try:
                state.should_stop = None
                self._loop()
            except (WorkerTerminate, KeyboardInterrupt):
                self._to(Stage.COLD, EX_FAILURE)

    def _finish(self) -> None:
        if self.pool is not None:
            if self.stage >= Stage.COLD:
                self.pool.terminate()
            else:
                self.pool.stop()
        if self.hub is not None:
            self.hub.stop(self.stage >= Stage.COLD)
            self.hub.join(int(COLD_LIMIT_S * 1000))
            self.notices.handle(self.hub.notices(0))
        signals.worker_shutdown.send(sender=self)
        self.app.loader.shutdown_worker()
        state._workers.discard(self)
        if self.exitcode is None:
            self.exitcode = EX_OK
        self.on_stopped()
        self._ended.set()

    # --- views

    def info(self) -> dict[str, Any]:
        uptime = datetime.now(timezone.utc) - self.startup_time
        return {"total": dict(state.total_count), "pid": os.getpid(), "uptime": round(uptime.total_seconds())}

    def rusage(self) -> dict[str, Any]:
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        return {name[3:]: getattr(used, name) for name in dir(used) if name.startswith("ru_")}

    def stats(self) -> dict[str, Any]:
        return {
            **self.info(),
            "pool": self.pool.info if self.pool is not None else {},
            "hub": self.hub.stats() if self.hub is not None else {},
            "rusage": self.rusage(),
        }

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.stage.name.lower()})>"


def _listed(value: str | Iterable[str] | None) -> list[str]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value or ())


def _code(exc: BaseException, default: int) -> int:
    code = getattr(exc, "code", None)
    return code if isinstance(code, int) and not isinstance(code, bool) else default
