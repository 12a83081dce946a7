"""The loader: configuration sources, imports of task modules, hooks of the worker's life."""

from __future__ import annotations

import datetime as dt
import importlib
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celeriac.app._source import read_source
from celeriac.utils.imports import NotAPackage, find_module, import_from_cwd, symbol_by_name

if TYPE_CHECKING:
    from types import ModuleType

    from celeriac.app.base import Celery
    from celeriac.app.task import Task

__all__ = ["BaseLoader", "autodiscover_tasks", "find_related_module"]

unconfigured: Any = object()


class BaseLoader:
    """Override the hooks to act at the points that their names say."""

    builtin_modules: frozenset[str] = frozenset()
    configured = False
    override_backends: Mapping[str, str] = {}
    worker_initialized = False

    _conf: Any = unconfigured

    def __init__(self, app: Celery, **kwargs: Any) -> None:
        del kwargs
        self.app = app
        self.task_modules: set[str] = set()
        self.old_names: list[str] = []

    # --- hooks

    def now(self, utc: bool = True) -> dt.datetime:
        """The time now, naive."""
        now = dt.datetime.now(dt.timezone.utc if utc else None)
        return now.replace(tzinfo=None)

    def on_task_init(self, task_id: str, task: Task[..., Any]) -> None:
        """Before a task runs."""

    def on_process_cleanup(self) -> None:
        """After a task has run."""

    def on_worker_init(self) -> None:
        """When the worker starts."""

    def on_worker_shutdown(self) -> None:
        """When the worker stops."""

    def on_worker_process_init(self) -> None:
        """When a process of the pool starts."""

    # --- imports

    def import_task_module(self, module: str) -> Any:
        """Imports `module` and remembers its name."""
        self.task_modules.add(module)
        return self.import_from_cwd(module)

    def import_module(self, module: str, package: str | None = None) -> ModuleType:
        """`importlib.import_module`."""
        return importlib.import_module(module, package=package)

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> ModuleType:
        """Imports `module`, with the working directory first on the path."""
        return import_from_cwd(module, self.import_module if imp is None else imp, package=package)

    def import_default_modules(self) -> list[Any]:
        """Imports all modules with tasks. What a receiver of `import_modules` raises is raised here."""
        from celeriac import signals

        for _, response in signals.import_modules.send(sender=self.app):
            if isinstance(response, Exception):
                raise response
        return [self.import_task_module(module) for module in self.default_modules]

    @property
    def default_modules(self) -> tuple[str, ...]:
        """Built-in ones, ``imports``, ``include``."""
        conf = self.app.conf
        return (*self.builtin_modules, *_names(conf.imports), *_names(conf.include))

    def init_worker(self) -> None:
        """Once a worker: imports the tasks."""
        if not self.worker_initialized:
            self.worker_initialized = True
            self.import_default_modules()
            self.on_worker_init()

    def shutdown_worker(self) -> None:
        """At the end of a worker."""
        self.on_worker_shutdown()

    def init_worker_process(self) -> None:
        """At the start of a process of the pool."""
        self.on_worker_process_init()

    def autodiscover_tasks(self, packages: Iterable[str], related_name: str | None = "tasks") -> None:
        """Imports ``<package>.<related_name>`` of each package that has one."""
        self.task_modules.update(
            module.__name__ for module in autodiscover_tasks(packages or (), related_name) if module
        )

    # --- configuration

    def config_from_object(self, obj: Any, silent: bool = False) -> bool:
        """Takes `obj`, an object or its dotted name, as configuration.

        Raises:
            ImportError, AttributeError: it is not there, unless `silent`.
        """
        if isinstance(obj, str):
            try:
                obj = self._smart_import(obj)
            except (ImportError, AttributeError):
                if silent:
                    return False
                raise
        self._conf = obj
        return True

    def _smart_import(self, path: str) -> Any:
        """A module, or an attribute of one given with a colon or a dot."""
        if ":" in path:
            return symbol_by_name(path, imp=self.import_from_cwd)
        try:
            return find_module(path, imp=self.import_from_cwd)
        except NotAPackage:
            return symbol_by_name(path, imp=self.import_from_cwd)
        except ModuleNotFoundError as exc:
            if exc.name != path and not path.startswith(f"{exc.name}."):
                raise
            # Not a module; perhaps an attribute of one.
            head, dot, _ = path.rpartition(".")
            if not dot or exc.name != path:
                raise
            self.import_from_cwd(head)
            try:
                return symbol_by_name(path, imp=self.import_from_cwd)
            except AttributeError:
                raise exc from None

    def _import_config_module(self, name: str) -> dict[str, Any]:
        try:
            module = self.import_from_cwd(name)
        except NotAPackage:
            if name.endswith(".py"):
                raise NotAPackage(f"{name!r} is a file name; name the module: {name[:-3]!r}") from None
            raise
        return self._read(module)

    def _read(self, source: Any, namespace: str | None = None) -> dict[str, Any]:
        values, old = read_source(source, namespace)
        self.old_names = old
        return values

    def config_module_name(self) -> str | None:
        """The environment's configuration module."""
        return os.environ.get("CELERIAC_CONFIG_MODULE") or os.environ.get("CELERY_CONFIG_MODULE") or None

    def read_configuration(self, env: str | None = None) -> Mapping[str, Any]:
        """The configuration module named by the environment, else nothing."""
        named = os.environ.get(env) if env else self.config_module_name()
        return self._import_config_module(named) if named else {}

    def configuration(self, namespace: str | None = None) -> dict[str, Any]:
        """Settings of the source under new names.

        Raises:
            ImproperlyConfigured: see `read_source`.
        """
        if self._conf is unconfigured:
            return dict(self.read_configuration())
        if isinstance(self._conf, dict) or not isinstance(self._conf, Mapping):
            return self._read(self._conf, namespace)
        return self._read(dict(self._conf), namespace)

    @cached_property
    def conf(self) -> Mapping[str, Any]:
        """Settings of the source."""
        return self.configuration(self.app.namespace)

    def cmdline_config_parser(
        self,
        args: Iterable[str],
        namespace: str = "celery",
        override_types: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Settings from ``key=value`` texts.

        The key's parts are joined by dots or underscores, in any case; a leading ``.`` or ``_`` stands for `namespace`.
        The value is cast to the setting's type, or to the type in front of it: ``(json){"a": 1}``.

        Raises:
            ValueError: a text is not of this form, a setting is unknown, a value does not read as its type.
        """
        overrides = {"tuple": "json", "list": "json", "dict": "json", **(override_types or {})}
        return dict(_parse(text, namespace, overrides) for text in args)


def _names(value: str | Iterable[str] | None) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value or ()


def _parse(text: str, namespace: str, overrides: Mapping[str, str]) -> tuple[str, Any]:
    from celeriac.app._names import canonical, suggestion
    from celeriac.app._settings import SETTINGS
    from celeriac.app.defaults import cast

    key, found, value = text.partition("=")
    if not found:
        raise ValueError(f"cannot read {text!r}: expected key=value")
    key = key.strip().replace(".", "_").lower()
    if key.startswith("_"):
        key = key[1:] if namespace == "celery" else namespace + key
    name = canonical(key)
    if name not in SETTINGS:
        # Celery takes the first part for the namespace and looks the rest up there.
        name = key.removeprefix("celery_")
    if name not in SETTINGS:
        near = suggestion(key)
        raise ValueError(f"unknown setting {key!r}" + (f": did you mean {near!r}?" if near else ""))
    value = value.strip()
    kind = SETTINGS[name].type
    if value.startswith("(") and ")" in value:
        kind, _, value = value[1:].partition(")")
        kind = overrides.get(kind, kind)
    if kind == "any" or (value.lower() in ("none", "null") and kind != "string"):
        return name, None if value.lower() in ("none", "null") else value
    try:
        return name, cast(kind, value)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"cannot read {name}={value!r} as {kind}: {exc}") from exc


def autodiscover_tasks(packages: Iterable[str], related_name: str | None = "tasks") -> list[ModuleType | None]:
    """Imports ``<package>.<related_name>`` of each package; None for those that have none."""
    return [find_related_module(package, related_name) for package in packages]


def find_related_module(package: str, related_name: str | None) -> ModuleType | None:
    """The module ``<package>.<related_name>``, None if there is no such module.

    `package` may be the dotted path of a class in it (Django's app configurations): its last part is then dropped.

    Raises:
        ImportError: the module is there but fails, or imports what is not there.
    """
    try:
        module = importlib.import_module(package)
        if not related_name:
            return module
    except ModuleNotFoundError:
        package, _, _ = package.rpartition(".")
        if not package:
            raise
        module = importlib.import_module(package)
        if not related_name:
            return module
    wanted = f"{package}.{related_name}"
    try:
        return importlib.import_module(wanted)
    except ModuleNotFoundError as exc:
        if exc.name == wanted or (exc.name and wanted.startswith(f"{exc.name}.")):
            return None
        raise
