"""Celery's place of `Settings` and some helpers of the app."""

from __future__ import annotations

from typing import Any

from celeriac.app import bugreport
from celeriac.app._censor import censor as filter_hidden_settings
from celeriac.app.config import Settings

__all__ = ["Settings", "appstr", "bugreport", "filter_hidden_settings", "find_app"]


def appstr(app: Any) -> str:
    """``main:0x7f…``: names an app in texts."""
    return f"{app.main or '__main__'} at {id(app):#x}"


def find_app(app: Any, symbol_by_name: Any = None, imp: Any = None) -> Any:
    """The app that ``-A`` names.

    Raises:
        AppNotFound: see `celeriac.app._find`.
    """
    from celeriac.app._find import find_app as find

    del symbol_by_name, imp
    return find(app) if isinstance(app, str) else app
