"""How an app finds its configuration and its tasks' modules."""

from __future__ import annotations

from typing import Any

from celeriac.utils.imports import import_from_cwd, symbol_by_name

__all__ = ["get_loader_cls"]

LOADER_ALIASES = {
    "app": "celeriac.loaders.app:AppLoader",
    "default": "celeriac.loaders.default:Loader",
}


def get_loader_cls(loader: Any) -> Any:
    """The loader class called `loader`: alias, dotted path or the class itself."""
    return symbol_by_name(loader, LOADER_ALIASES, imp=import_from_cwd)
