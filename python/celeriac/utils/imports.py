"""Objects from dotted names, and imports from the working directory."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from types import ModuleType

    from celeriac.app.base import Celery

__all__ = [
    "NotAPackage",
    "cwd_in_path",
    "find_module",
    "gen_task_name",
    "import_from_cwd",
    "instantiate",
    "load_extension_class_names",
    "load_extension_classes",
    "module_file",
    "qualname",
    "reload_from_cwd",
    "symbol_by_name",
]


class NotAPackage(Exception):
    """A module was used as a package."""


def qualname(obj: Any) -> str:
    """``module.Qualified.name`` of a class, function or instance's class."""
    if not hasattr(obj, "__name__") and hasattr(obj, "__class__"):
        obj = obj.__class__
    name = getattr(obj, "__qualname__", None) or obj.__name__
    return f"{obj.__module__}.{name}"


def symbol_by_name(
    name: Any,
    aliases: Mapping[str, Any] | None = None,
    imp: Callable[..., Any] | None = None,
    package: str | None = None,
    sep: str = ".",
    default: Any = None,
    **kwargs: Any,
) -> Any:
    """The object called ``package.module:attribute`` (or with a dot for the colon).

    Anything but text is returned as it is. Text that names a module only gives the module. A path that begins with
    ``celery.`` means the module of the same place here, so that settings written for Celery keep working.

    Raises:
        ImportError, AttributeError: it is not there and `default` is None.
    """
    if not isinstance(name, str):
        return name
    target = (aliases or {}).get(name) or name
    if not isinstance(target, str):
        return target
    if target.startswith(("celery.", "celery:")):
        target = "celeriac" + target[len("celery") :]
    module_name, found, attribute = target.partition(":")
    if not found:
        module_name, _, attribute = target.rpartition(sep)
        if not module_name:
            module_name, attribute = target, ""
    try:
        try:
            module = (imp or importlib.import_module)(module_name or package or "", package=package, **kwargs)
        except ValueError as exc:
            raise ValueError(f"Couldn't import {name!r}: {exc}") from exc
        result: Any = module
        for part in attribute.split(".") if attribute else ():
            result = getattr(result, part)
        return result
    except (ImportError, AttributeError):
        if default is None:
            raise
        return default


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """An instance of the class called `name`."""
    return symbol_by_name(name)(*args, **kwargs)


@contextmanager
def cwd_in_path() -> Generator[str | None, None, None]:
    """The working directory is first on the module path inside the block."""
    try:
        cwd = os.getcwd()
    except FileNotFoundError:  # it was deleted
        yield None
        return
    if cwd in sys.path:
        yield None
        return
    sys.path.insert(0, cwd)
    try:
        yield cwd
    finally:
        try:
            sys.path.remove(cwd)
        except ValueError:  # somebody else took it out
            pass


def find_module(module: str, path: Any = None, imp: Callable[[str], ModuleType] | None = None) -> ModuleType:
    """Imports `module`, with the working directory first on the path.

    Raises:
        NotAPackage: a parent is a module, not a package.
    """
    del path
    importer = imp or importlib.import_module
    with cwd_in_path():
        try:
            return importer(module)
        except ImportError:
            parent, _, _ = module.rpartition(".")
            if parent and not hasattr(importer(parent), "__path__"):
                raise NotAPackage(parent) from None
            raise


def import_from_cwd(
    module: str, imp: Callable[..., ModuleType] | None = None, package: str | None = None
) -> ModuleType:
    """Imports `module`, with the working directory first on the path."""
    importer = imp or importlib.import_module
    with cwd_in_path():
        return importer(module, package=package)


def reload_from_cwd(module: ModuleType, reloader: Callable[[ModuleType], Any] | None = None) -> Any:
    """Reloads `module`, with the working directory first on the path."""
    with cwd_in_path():
        return (reloader or importlib.reload)(module)


def module_file(module: ModuleType) -> str:
    """Path of the source file of `module`."""
    name = module.__file__ or ""
    return name[:-1] if name.endswith((".pyc", ".pyo")) else name


def gen_task_name(app: Celery, name: str, module_name: str | None) -> str:
    """Name of a task without one: ``module.name``; ``__main__`` gives way to the app's ``main``."""
    module_name = module_name or "__main__"
    try:
        module = sys.modules[module_name]
    except KeyError:
        module = None
    if module is not None:
        module_name = module.__name__
    if module_name == "__mp_main__":  # the main module, run again in a process that multiprocessing, or a pool, spawned
        module_name = "__main__"
    if module_name == "__main__" and app.main:
        return f"{app.main}.{name}"
    return f"{module_name}.{name}" if module_name else name


def load_extension_class_names(namespace: str) -> Generator[tuple[str, str], None, None]:
    """``(name, class path)`` of the entry points of group `namespace`."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=namespace):
        yield entry.name, entry.value


def load_extension_classes(namespace: str) -> Generator[tuple[str, Any], None, None]:
    """``(name, class)`` of the entry points of group `namespace`; one that cannot be imported is warned of."""
    import warnings

    for name, path in load_extension_class_names(namespace):
        try:
            cls = symbol_by_name(path)
        except (ImportError, SyntaxError) as exc:
            warnings.warn(f"cannot load {namespace} extension {path!r}: {exc!r}", stacklevel=2)
        else:
            yield name, cls
