"""The settings as Celery's modules show them: `NAMESPACES`, `DEFAULTS`, `SETTING_KEYS`, `find`, `flatten`, casts."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.app._names import declare
from celeriac.app._settings import OLD_TO_NEW, SETTINGS, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DEFAULTS",
    "NAMESPACES",
    "SETTING_KEYS",
    "Namespace",
    "Option",
    "cast",
    "declare",
    "find",
    "flatten",
    "settings_markdown",
]

DEFAULT_POOL = "prefork"
DEFAULT_PROCESS_LOG_FMT = SETTINGS["worker_log_format"].default
DEFAULT_TASK_LOG_FMT = SETTINGS["worker_task_log_format"].default


def _bool(text: Any) -> bool:
    """True or False for true/false, yes/no, on/off, 1/0.

    Raises:
        TypeError: any other text.
    """
    if not isinstance(text, str):
        return bool(text)
    try:
        return {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }[text.lower()]
    except KeyError:
        raise TypeError(f"cannot read {text!r} as a bool: expected true/false, yes/no, on/off or 1/0") from None


def _json(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text


def _sequence(text: Any) -> Any:
    """A JSON array, or values separated by commas."""
    if isinstance(text, str):
        return json.loads(text) if text.lstrip().startswith("[") else [part for part in text.split(",") if part]
    return text


_CASTS: dict[str, Any] = {
    "any": lambda value: value,
    "bool": _bool,
    "dict": lambda value: dict(_json(value)),
    "float": float,
    "int": int,
    "json": _json,
    "list": lambda value: list(_sequence(value)),
    "seconds": lambda value: float(value) if isinstance(value, str) else value,  # a timedelta and None stay
    "string": str,
    "tuple": lambda value: tuple(_sequence(value)),
}


def cast(kind: str, value: Any) -> Any:
    """`value`, mostly text from a command line, as `kind`.

    Raises:
        TypeError, ValueError: it does not read as such.
    """
    try:
        convert = _CASTS[kind]
    except KeyError:
        raise ValueError(f"unknown type {kind!r}: expected one of {', '.join(sorted(_CASTS))}") from None
    return convert(value)


class Option:
    """One setting."""

    typemap = _CASTS

    def __init__(self, default: Any = None, type: str = "string", **extra: Any) -> None:
        self.default = default
        self.type = type
        self.old: frozenset[str] = frozenset(extra.pop("old", ()))
        for name, value in extra.items():
            setattr(self, name, value)

    def to_python(self, value: Any) -> Any:
        """`value` as this option's type."""
        return cast(self.type, value)

    def __repr__(self) -> str:
        return f"<Option: type->{self.type} default->{self.default!r}>"


class Namespace(dict[str, Any]):
    """Options, or namespaces of them, by name."""


class searchresult(NamedTuple):  # noqa: N801 - Celery's name
    """What `find` found."""

    namespace: str
    key: str
    type: Any


def _option(row: Setting) -> Option:
    return Option(row.default, row.type, old={name.lower() for name in row.old}, meaning=row.meaning, ours=row.ours)


_GROUPS = [
    "arangodb",
    "azureblockblob",
    "beat",
    "broker",
    "cache",
    "cassandra",
    "control",
    "cosmosdbsql",
    "couchbase",
    "database",
    "dynamodb",
    "elasticsearch",
    "event",
    "events",
    "gcs",
    "mongodb",
    "redis",
    "result",
    "s3",
    "security",
    "task",
    "worker",
]


def _namespaces() -> Namespace:
    spaces = Namespace()
    for row in SETTINGS.values():
        prefix, _, rest = row.name.partition("_")
        if rest and prefix in _GROUPS:
            spaces.setdefault(prefix, Namespace())[rest] = _option(row)
        else:
            spaces[row.name] = _option(row)
    return spaces


def flatten(d: Any, root: str = "", keyfilter: Any = "_".join) -> Iterator[tuple[str, Option]]:
    """``(whole name, option)`` of every option below `d`."""
    stack = deque([(root, d)])
    while stack:
        name, options = stack.popleft()
        for key, option in options.items():
            whole = keyfilter([name, key] if name else [key])
            if isinstance(option, dict):
                stack.append((whole, option))
            else:
                yield whole, option


NAMESPACES = _namespaces()
DEFAULTS: dict[str, Any] = {name: row.default for name, row in SETTINGS.items()}
SETTING_KEYS: set[str] = set(SETTINGS)
_OLD_SETTING_KEYS: set[str] = set(OLD_TO_NEW)
_TO_NEW_KEY: dict[str, str] = dict(OLD_TO_NEW)
_TO_OLD_KEY: dict[str, str] = {row.name: row.old[0] for row in SETTINGS.values() if row.old}


def find(name: str, namespace: str = "celery") -> searchresult:
    """The option called `name`, in `namespace` first, then without one, then in all others.

    Raises:
        KeyError: there is none.
    """
    space = NAMESPACES.get(namespace.lower())
    if isinstance(space, Namespace) and name.lower() in space:
        return searchresult(namespace, name.lower(), space[name.lower()])
    for space_name, options in NAMESPACES.items():
        if space_name == name.lower():
            return searchresult("", space_name, options)
        if isinstance(options, Namespace) and name.lower() in options:
            return searchresult(space_name, name.lower(), options[name.lower()])
    prefix, _, rest = name.lower().partition("_")
    space = NAMESPACES.get(prefix)
    if isinstance(space, Namespace) and rest in space:
        return searchresult(prefix, rest, space[rest])
    raise KeyError(name)


def settings_markdown() -> str:
    """docs/reference/settings.md: the table, a section a group."""
    lines = [
        "# Settings",
        "",
        "Made from the table in `celeriac/app/_settings.py` by `python -m celeriac.app.defaults`; do not edit.",
        "Every setting may be given as a keyword of the app, on `app.conf`, or in a module, object or dict. The old",
        "upper-case names of Celery 3 are understood. **ours** marks those that Celery does not have.",
    ]
    section = ""
    for row in SETTINGS.values():
        if row.section != section:
            section = row.section
            lines += [
                "",
                f"## {section}",
                "",
                "| setting | type | default | meaning | old name |",
                "|---|---|---|---|---|",
            ]
        ours = " **ours**" if row.ours else ""
        default = "1 day" if row.name == "result_expires" else f"`{row.default!r}`"
        old = ", ".join(f"`{name}`" for name in row.old)
        meaning = row.meaning.replace("|", "\\|")
        lines.append(f"| `{row.name}`{ours} | {row.type} | {default} | {meaning} | {old} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(settings_markdown())
