"""Reads a configuration source (module, class, object, dict) into new names.

Which names of a source are settings (docs/compatibility.md):

- a dict: every key; an unknown one is refused;
- with a namespace: every name with its prefix, and plain names that are settings;
- any other module or object: names that are settings, new or old. Another name that has a setting's prefix is refused
  when it is nearly a setting's name (``task_serialiser``), warned of otherwise; functions, classes and modules are
  ordinary globals and so are all other names.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from celeriac.app._names import DECLARE, canonical, is_known, suggestion, unknown_text
from celeriac.app._settings import OLD_TO_NEW, SETTINGS
from celeriac.exceptions import ImproperlyConfigured, UnknownSettingWarning

__all__ = ["read_source"]

_PREFIXES = ("task_", "worker_", "broker_", "result_", "beat_", "event_", "control_", "security_")
_OLD_PREFIXES = ("CELERY_", "CELERYD_", "CELERYBEAT_", "BROKER_")
_NEAR = 0.88


def read_source(source: Any, namespace: str | None = None) -> tuple[dict[str, Any], list[str]]:
    """``(settings under new names, old names that were used)``.

    Raises:
        ImproperlyConfigured: a name that is nearly a setting, or old and new names mixed.
    """
    names, get = _view(source)
    if namespace:
        return _namespaced(names, get, namespace), []
    found = [name for name in names if canonical(name) in SETTINGS]
    _refuse_unknown(names, get, strict=isinstance(source, Mapping))
    old = [name for name in found if name in OLD_TO_NEW]
    new = [name for name in found if name not in OLD_TO_NEW]
    _check_style(old, new)
    values = {canonical(name): get(name) for name in old}
    values.update((canonical(name), get(name)) for name in new)
    if isinstance(source, Mapping):  # declared names and those of other packages
        values.update((name, get(name)) for name in names if canonical(name) not in SETTINGS)
    return values, old


def _view(source: Any) -> tuple[list[str], Callable[[str], Any]]:
    if isinstance(source, Mapping):
        return [str(name) for name in source], source.__getitem__
    names = dir(source)
    return [name for name in names if not name.startswith("_")], lambda name: getattr(source, name)


def _namespaced(names: Iterable[str], get: Callable[[str], Any], namespace: str) -> dict[str, Any]:
    """With namespace ``CELERY`` the setting ``task_serializer`` is ``CELERY_TASK_SERIALIZER``."""
    prefix = namespace if namespace.endswith("_") else namespace + "_"
    values: dict[str, Any] = {}
    unknown = []
    for name in names:
        if name.startswith(prefix):
            continue
        if name in SETTINGS:  # without the prefix; the one with it wins
            values[name] = get(name)
    for name in names:
        if not name.startswith(prefix):
            continue
        key = name[len(prefix) :].lower()
        if key in SETTINGS:
            values[key] = get(name)
        elif not is_known(key) and not is_known(name) and not _is_code(get(name)):
            near = suggestion(key)
            shown = None if near is None else prefix + (near.upper() if prefix.isupper() else near)
            hint = f"did you mean {shown!r}?" if shown else f"if it is not celeriac's, {DECLARE.format(key)}"
            unknown.append(f"unknown setting {name!r}\nhint: {hint}")
    if unknown:
        raise ImproperlyConfigured("\n".join(unknown))
    return values


def _refuse_unknown(names: Iterable[str], get: Callable[[str], Any], *, strict: bool) -> None:
    refused = []
    for name in names:
        if canonical(name) in SETTINGS or is_known(name):
            continue
        if strict:
            refused.append(unknown_text(name))
        elif name.startswith(_PREFIXES if name.islower() else _OLD_PREFIXES) and not _is_code(get(name)):
            if suggestion(name, _NEAR) is not None:
                refused.append(unknown_text(name))
            else:
                warnings.warn(UnknownSettingWarning(unknown_text(name)), stacklevel=4)
    if refused:
        raise ImproperlyConfigured("\n".join(refused))


def _is_code(value: Any) -> bool:
    return isinstance(value, (type, ModuleType)) or callable(value)


def _check_style(old: list[str], new: list[str]) -> None:
    """Old and new names may meet only where each odd one is also given in the other style, as in Celery."""
    if not old or not new:
        return
    if len(new) >= len(old):
        wanted, odd = {canonical(name) for name in new}, {name: canonical(name) for name in old}
    else:
        wanted = {canonical(name) for name in old}
        odd = {name: next(iter(SETTINGS[canonical(name)].old), "") for name in new}
    wrong = {name: other for name, other in odd.items() if canonical(name) not in wanted}
    if not wrong:
        return
    which = "new" if len(new) >= len(old) else "old"
    lines = "\n".join(f"  {name} -> {other or '(no old name: use new names)'}" for name, other in sorted(wrong.items()))
    raise ImproperlyConfigured(f"old and new setting names are mixed; most are {which}. Rename:\n{lines}")
