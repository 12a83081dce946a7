"""Finds the app that `-A` names, with three ways to fail: no such module, an error in it, no app in it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from celeriac.app.base import Celery


class AppNotFound(Exception):
    """No app under this name. `trace` is the traceback of an error inside the module, if that was the reason."""

    def __init__(self, text: str, trace: str | None = None) -> None:
        super().__init__(text)
        self.trace = trace


def find_app(name: str) -> Celery:
    """The app that `name` stands for: `pkg.mod:attr`, `pkg.mod.attr` or `pkg.mod`.

    In a module without an explicit attribute: its `app`, else its `celery`, else for a package its module `celery`
    (or `celeriac`), else the first app among its variables.

    Raises:
        AppNotFound
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    module_name, explicit, attribute = name.partition(":")
    if explicit:
        found = _attribute(_import(module_name, name), attribute, name)
    else:
        found = _by_dots(name)
    return _app_in(found, name) if isinstance(found, ModuleType) and not explicit else _checked(found, name)


def _import(module_name: str, asked: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not (module_name == exc.name or module_name.startswith(exc.name + ".")):
            raise _broken(asked, exc) from exc
        raise AppNotFound(
            f"cannot load the app {asked!r}: no module named {exc.name!r} here ({os.getcwd()}) or on the Python path"
        ) from exc
    except Exception as exc:
        raise _broken(asked, exc) from exc


def _broken(asked: str, exc: BaseException) -> AppNotFound:
    import traceback

    return AppNotFound(
        f"cannot load the app {asked!r}: its module failed with {type(exc).__name__}: {exc}",
        "".join(traceback.format_exception(type(exc), exc, exc.__traceback__)),
    )


def _by_dots(name: str) -> Any:
    """The whole as a module; failing that, its last part as an attribute of the rest."""
    head, dot, tail = name.rpartition(".")
    if not dot or name in sys.modules or _is_module(name):
        return _import(name, name)
    return _attribute(_import(head, name), tail, name)


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False  # a parent is missing, or is no package; the import says which
    except Exception as exc:
        raise _broken(name, exc) from exc


def _attribute(module: Any, path: str, asked: str) -> Any:
    found = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise AppNotFound(f"cannot load the app {asked!r}: {found.__name__!r} has no attribute {part!r}") from None
    return found


def _app_in(module: ModuleType, asked: str) -> Celery:
    from celeriac.app.base import Celery

    for attribute in ("app", "celery", "celeriac"):
        found = getattr(module, attribute, None)
        if found is not None and not isinstance(found, ModuleType):
            return _checked(found, asked)
    if hasattr(module, "__path__"):
        inner = {entry.name for entry in pkgutil.iter_modules(module.__path__)}
        for sub in ("celery", "celeriac"):
            if sub in inner:
                return _app_in(_import(f"{module.__name__}.{sub}", asked), asked)
    for value in vars(module).values():
        if isinstance(value, Celery):
            return value
    raise AppNotFound(
        f"cannot load the app {asked!r}: module {module.__name__!r} has neither `app` nor `celery`, nor any other app"
    )


def _checked(found: Any, asked: str) -> Celery:
    if not (hasattr(found, "conf") and hasattr(found, "send_task")):
        raise AppNotFound(f"cannot load the app {asked!r}: it is a {type(found).__name__}, not a celeriac app")
    return cast("Celery", found)
