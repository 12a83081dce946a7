"""Names of settings: from old to new, and an unknown one refused with a suggestion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.app._settings import OLD_TO_NEW, SETTINGS
from celeriac.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["canonical", "canonical_dict", "declare", "is_known", "suggestion"]

_TOLERATED = ("redbeat_", "flower_", "django_celery_", "sqlalchemy_", "once", "_")
"""Prefixes of settings that other packages read from ``app.conf``."""

DECLARE = "say celeriac.app.defaults.declare({!r}) before the settings are read"
"""How to keep a name that is no setting; for error texts."""

_declared: set[str] = set()


def declare(*names: str) -> None:
    """Makes `names` settings that ``app.conf`` accepts, for packages and applications that keep their own there.

    A name that ends with ``*`` stands for all that begin so.
    """
    _declared.update(name.lower() for name in names)


def is_known(name: str) -> bool:
    """True for settings under new or old names, declared ones, and those of packages known to keep theirs there."""
    if name in SETTINGS or name in OLD_TO_NEW:
        return True
    lower = name.lower()
    if lower in _declared or lower.startswith(_TOLERATED):
        return True
    return any(known.endswith("*") and lower.startswith(known[:-1]) for known in _declared)


def canonical(name: str, *, check: bool = False) -> str:
    """The new name of `name`; other names as they are.

    Raises:
        ImproperlyConfigured: with `check`, for a name that is no setting.
    """
    if name in SETTINGS:
        return name
    new = OLD_TO_NEW.get(name)
    if new is not None:
        return new
    lower = name.lower()
    if name.isupper() and lower in SETTINGS:  # TASK_SERIALIZER: a new name in capitals
        return lower
    if check and not is_known(name):
        raise ImproperlyConfigured(unknown_text(name))
    return name


def canonical_dict(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` under new names.

    Raises:
        ImproperlyConfigured: for names that are no settings; all of them are told at once.
    """
    unknown = [name for name in values if canonical(name) not in SETTINGS and not is_known(name)]
    if unknown:
        raise ImproperlyConfigured("\n".join(unknown_text(name) for name in unknown))
    return {canonical(name): value for name, value in values.items()}


def unknown_text(name: str) -> str:
    """The error for `name`."""
    near = suggestion(name)
    hint = f"did you mean {near!r}?" if near else f"if it is your own, {DECLARE.format(name)}"
    return f"unknown setting {name!r}\nhint: {hint}"


def suggestion(name: str, cutoff: float = 0.75) -> str | None:
    """The setting whose name is nearest to `name`, in the same style."""
    import difflib

    names = list(OLD_TO_NEW) if name.isupper() else list(SETTINGS)
    near = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    if not near and name.isupper():
        near = difflib.get_close_matches(name.lower(), list(SETTINGS), n=1, cutoff=cutoff)
    return near[0] if near else None
