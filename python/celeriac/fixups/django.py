"""Django: comes with a later version; until then this does nothing."""

from __future__ import annotations

from typing import Any

__all__ = ["fixup"]


def fixup(app: Any, env: str = "DJANGO_SETTINGS_MODULE") -> None:
    """Nothing yet: an app in a Django project works, but finds no tasks and settings by itself."""
    del app, env
