"""The parts of the app that are needed once: configuration, discovery, class factories, command line, odd helpers."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from celeriac.app.config import Settings

__all__ = ["Setup"]

_UNKNOWN: Any = object()

_LATER = {"celeriac.app.control": "remote control (app.control)", "celeriac.app.events": "monitoring (app.events)"}


class Setup:
    """Base of `Celery`; not for use by itself."""

    if TYPE_CHECKING:
        amqp: Any
        autofinalize: bool
        conf: Any
        configured: bool
        finalized: bool
        fixups: set[str]
        loader: Any
        loader_cls: Any
        main: str | None
        namespace: str | None
        on_after_configure: Any
        backend: Any
        backend_cls: Any
        _conf: Settings
        _config_source: Any
        _fixups: list[Any]
        _given: dict[str, Any]
        _pending_defaults: list[Any]
        _pending_periodic_tasks: list[Any]

    # --- configuration

    def _default_loader(self) -> Any:
        named = os.environ.get("CELERIAC_LOADER") or os.environ.get("CELERY_LOADER")
        return named or self.loader_cls or "celeriac.loaders.app:AppLoader"

    def _load_config(self, settings: Settings) -> None:
        """Fills the layers of `settings`; called at the first read."""
        on_configure: Any = getattr(self, "on_configure", None)
        if hasattr(on_configure, "send"):
            on_configure.send(sender=self)
        elif callable(on_configure):  # the old form: a method of a sub-class
            on_configure()
        if self._config_source is not None:
            self.loader.config_from_object(self._config_source)
        self.configured = True
        try:
            source = self.prepare_config(self.loader.conf)
        except AttributeError as exc:
            # Settings.__getattr__ would swallow it, and Python would then ask for an attribute that is not there.
            raise ModuleNotFoundError(f"cannot read the configuration: {exc}") from exc
        settings.set_source(source)
        settings.__dict__["deprecated_settings"] = set(getattr(self.loader, "old_names", ()))
        while self._pending_defaults:
            found = self._pending_defaults.pop(0)
            settings.add_defaults(found() if callable(found) else found)
        while self._pending_periodic_tasks:
            self._add_periodic_task(*self._pending_periodic_tasks.pop(0))
        self.on_after_configure.send(sender=self, source=settings)

    def prepare_config(self, c: Mapping[str, Any]) -> Mapping[str, Any]:
        """For sub-classes: may change the configuration source's settings before they count."""
        return c

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> Any:
        """Takes settings from a module, object, dict, or the dotted name of one.

        Args:
            obj: what to read.
            silent: return False instead of raising when it is not there.
            force: read it now, not when a setting is needed.
            namespace: prefix of the settings' names in `obj`.

        Raises:
            ImportError: it is not there.
            ImproperlyConfigured: it has a name that is no setting.
        """
        self._config_source = obj
        self.namespace = namespace or self.namespace
        if not force and not self.configured:
            return None
        self.loader.__dict__.pop("conf", None)
        if not self.loader.config_from_object(obj, silent=silent):
            return False
        source = self.loader.conf
        if self.configured:
            self._conf.set_source(source)
        else:
            self._conf.finalize()
        return True

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> Any:
        """Takes settings from the module that an environment variable names.

        Raises:
            ImproperlyConfigured: the variable is not set, unless `silent`.
        """
        module_name = os.environ.get(variable_name)
        if not module_name:
            if silent:
                return False
            raise ImproperlyConfigured(
                f"the environment variable {variable_name!r} is not set: it must name the module with the settings"
            )
        return self.config_from_object(module_name, silent=silent, force=force)

    def config_from_cmdline(self, argv: Iterable[str], namespace: str = "celery") -> None:
        """Takes settings from ``key=value`` texts."""
        self._conf.update(self.loader.cmdline_config_parser(argv, namespace))

    def add_defaults(self, fun: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Adds settings that count when nothing else says otherwise; a callable is called when they are needed."""
        if self.configured:
            self._conf.add_defaults(fun() if callable(fun) else fun)
        else:
            self._pending_defaults.append(fun)

    def either(self, default_key: str, *values: Any) -> Any:
        """The first of `values` that is not None, else the setting."""
        given = next((value for value in values if value is not None), None)
        return self.conf.get(default_key) if given is None else given

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = (), name: str | None = None, **opts: Any
    ) -> str:
        """Adds an entry to ``beat_schedule``; returns its key: `name`, or the signature's text."""
        dict_signature = isinstance(sig, dict)
        if dict_signature:
            sig = sig.clone(args, kwargs)
        elif not hasattr(sig, "name"):
            raise TypeError(f"add_periodic_task: expected a signature or a task, got {sig!r}")
        entry = {
            "schedule": schedule,
            "task": sig.name,
            "args": sig.args if dict_signature else args,
            "kwargs": sig.kwargs if dict_signature else dict(kwargs),
            "options": {**(sig.options if dict_signature else {}), **opts},
        }
        key = name or repr(sig)
        if self.configured:
            self._add_periodic_task(key, entry, name)
        else:
            self._pending_periodic_tasks.append((key, entry, name))
        return key

    def _add_periodic_task(self, key: str, entry: dict[str, Any], name: str | None = None) -> None:
        schedule = self._conf.beat_schedule
        if not schedule:
            schedule = {}
            self._conf.beat_schedule = schedule
        if name is None and key in schedule:
            import logging

            logging.getLogger("celeriac.app.base").warning(
                "Periodic task key=%r shadowed a previous unnamed periodic task; give each a name", key
            )
        schedule[key] = entry

    # --- discovery and extensions

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> Any:
        """Imports ``<package>.<related_name>`` of each package when a worker imports its modules.

        Args:
            packages: names, or a callable that returns them; None asks the fixups (Django: installed apps).
            related_name: None imports the packages only.
            force: now.
        """
        if force:
            return self._autodiscover_tasks(packages, related_name)
        from celeriac import signals

        def discover(**kwargs: Any) -> None:
            self._autodiscover_tasks(packages, related_name)

        signals.import_modules.connect(discover, weak=False, sender=self)
        return None

    def _autodiscover_tasks(self, packages: Any, related_name: str | None) -> None:
        if not packages:
            for fixup in self._fixups:
                if hasattr(fixup, "autodiscover_tasks"):
                    self.loader.autodiscover_tasks(fixup.autodiscover_tasks(), related_name=related_name)
            return
        self.loader.autodiscover_tasks(packages() if callable(packages) else packages, related_name=related_name)

    def _apply_fixups(self) -> list[Any]:
        from celeriac.utils.imports import symbol_by_name

        return [found for found in (symbol_by_name(path)(self) for path in sorted(self.fixups)) if found is not None]

    def select_queues(self, queues: Any = None) -> Any:
        """Consume only these queues."""
        return self.amqp.queues.select(queues)

    def setup_security(self, *args: Any, **kwargs: Any) -> Any:
        """Comes with a later version."""
        raise ImproperlyConfigured("signed messages (the serializer 'auth') are not supported yet")

    # --- connections

    def _open_broker(self, url: Any) -> Any:
        from celeriac._bridge.broker import open_broker
        from celeriac.app._broker_tls import with_tls
        from celeriac.app._connection import first_url
        from celeriac.app._transport import transport_options

        conf, first = self.conf, first_url(url)
        place, options = with_tls(first, conf.broker_use_ssl, transport_options(conf, first))
        return open_broker(place, options, conf.publish_timeout)

    def connection_for_read(self, url: Any = None, **kwargs: Any) -> Any:
        """The consumers' broker, as a light object (`celeriac.app._connection`)."""
        return self._connection(url or self.conf.broker_read_url, **kwargs)

    def connection_for_write(self, url: Any = None, **kwargs: Any) -> Any:
        """The producers' broker, as a light object."""
        return self._connection(url or self.conf.broker_write_url, **kwargs)

    def connection(self, hostname: Any = None, **kwargs: Any) -> Any:
        """The producers' broker, as a light object."""
        return self.connection_for_write(hostname, **kwargs)

    broker_connection = connection

    def _connection(self, url: Any, **kwargs: Any) -> Any:
        from celeriac.app._connection import Connection

        app: Any = self
        return Connection(app, url, **kwargs)

    @contextmanager
    def connection_or_acquire(self, connection: Any = None, pool: bool = True) -> Any:
        """`connection`, or one of the app's."""
        yield connection or self.connection_for_write()

    default_connection = connection_or_acquire

    @contextmanager
    def producer_or_acquire(self, producer: Any = None) -> Any:
        """`producer`, or one of the app's."""
        from celeriac.app._connection import Producer

        app: Any = self
        yield producer or Producer(app)

    default_producer = producer_or_acquire

    def _get_backend(self) -> Any:
        from celeriac.app import backends

        found, url = backends.by_url(self.backend_cls or self.conf.result_backend, self.loader)
        return found(app=self, url=url)

    def _on_task_call(self, task_id: str) -> None:
        """Lets a result backend subscribe before the message leaves; most have nothing to do."""
        subscribe = self.__dict__.get("_subscribe", _UNKNOWN)
        if subscribe is _UNKNOWN:
            backend = self.backend
            method = getattr(type(backend), "on_task_call", None)
            inherited = any(
                method is vars(cls).get("on_task_call") for cls in type(backend).__mro__ if cls.__name__ == "Backend"
            )
            subscribe = self.__dict__["_subscribe"] = None if method is None or inherited else True
        if subscribe:
            self.backend.on_task_call(None, task_id)

    # --- class factories

    def _instantiate(self, cls: Any, *args: Any, **kwargs: Any) -> Any:
        from celeriac.utils.imports import instantiate

        try:
            return instantiate(cls, *args, **kwargs)
        except ModuleNotFoundError as exc:
            if exc.name in _LATER:
                raise NotImplementedError(f"{_LATER[exc.name]} comes with a later version") from exc
            raise

    def subclass_with_self(
        self,
        Class: Any,  # noqa: N803 - Celery's name
        name: str | None = None,
        attribute: str = "app",
        reverse: str | None = None,
        keep_reduce: bool = False,
        **kw: Any,
    ) -> Any:
        """A sub-class of `Class` with this app as attribute `attribute`."""
        from celeriac.utils.imports import symbol_by_name

        base = symbol_by_name(Class)
        attributes: dict[str, Any] = {
            attribute: self,
            "__module__": base.__module__,
            "__doc__": base.__doc__,
            **kw,
        }
        if not keep_reduce:
            reverse = reverse or base.__name__

            def reduce(instance: Any) -> Any:
                from celeriac.app._pickle import unpickle_through_app

                state = base.__reduce__(instance)
                return unpickle_through_app, (self, reverse, state)

            attributes["__reduce__"] = reduce
        return type(name or base.__name__, (base,), attributes)

    # --- command line

    def start(self, argv: Iterable[str] | None = None) -> Any:
        """Runs the command line with this app; returns its exit code."""
        from celeriac.utils.imports import symbol_by_name

        main = symbol_by_name("celeriac.bin.celery:main")
        return main(list(argv) if argv is not None else None, app=self)

    def worker_main(self, argv: Iterable[str] | None = None) -> Any:
        """`start` for a worker.

        Raises:
            ValueError: the arguments do not say ``worker``.
        """
        import sys

        arguments = list(argv) if argv is not None else sys.argv
        if "worker" not in arguments:
            raise ValueError("worker_main: the command 'worker' is missing in the arguments")
        return self.start(arguments)

    def bugreport(self) -> str:
        """A text for bug reports."""
        from celeriac.app._report import facts

        app: Any = self
        found = facts(app)
        settings = found.pop("settings")
        lines = [f"{name}: {value}" for name, value in found.items()]
        return "\n".join(lines + [f"{name}: {value!r}" for name, value in sorted(settings.items())])
