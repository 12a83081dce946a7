"""Texts for people: indentation, wrapping, cutting, plurals."""

from __future__ import annotations

import re
from pprint import pformat
from textwrap import fill
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "abbr",
    "abbrtask",
    "dedent",
    "dedent_initial",
    "ensure_newlines",
    "ensure_sep",
    "fill_paragraphs",
    "indent",
    "join",
    "pluralize",
    "pretty",
    "remove_repeating_from_task",
    "simple_format",
    "str_to_list",
    "truncate",
]

RE_FORMAT = re.compile(r"%(\w|%)")
UNKNOWN_SIMPLE_FORMAT_KEY = "unknown code %{0} in {1!r}: write %% for a percent sign"


def str_to_list(s: Any) -> Any:
    """Text with commas as a list; anything else as it is."""
    return [part.strip() for part in s.split(",")] if isinstance(s, str) else s


def dedent_initial(s: str, n: int = 4) -> str:
    """`s` without its first `n` blanks."""
    return s[n:] if s[:n] == " " * n else s


def dedent(s: str, sep: str = "\n") -> str:
    """`dedent_initial` of each line."""
    return sep.join(dedent_initial(line) for line in s.splitlines())


def fill_paragraphs(s: str, width: int, sep: str = "\n") -> str:
    """Paragraphs wrapped at `width` characters."""
    return sep.join(fill(part, width) for part in s.split(sep))


def join(lines: Iterable[str], sep: str = "\n") -> str:
    """Lines that are not empty, joined."""
    return sep.join(line for line in lines if line)


def ensure_sep(sep: str, s: str, n: int = 2) -> str:
    """`s` ending with `sep` at least `n` times."""
    return s + sep * (n - s.count(sep))


def ensure_newlines(s: str, n: int = 2) -> str:
    """`s` with at least `n` newlines."""
    return ensure_sep("\n", s, n)


def abbr(s: str, max: int, ellipsis: str | bool = "...") -> str:
    """`s` cut to `max` characters, the dots included."""
    if len(s) <= max:
        return s
    return s[: max - len(ellipsis)] + ellipsis if isinstance(ellipsis, str) and ellipsis else s[:max]


def abbrtask(s: str, max: int) -> str:
    """A task name cut to `max` characters: the module gives way first."""
    if len(s) <= max:
        return s
    module, _, name = s.rpartition(".")
    return f"{abbr(module, max - len(name), False)}[.]{name}"


def indent(t: str, indent: int = 0, sep: str = "\n") -> str:
    """Each line moved `indent` blanks to the right."""
    return sep.join(" " * indent + line for line in t.split(sep))


def truncate(s: str, maxlen: int = 128, suffix: str = "...") -> str:
    """`s` cut to `maxlen` characters, at a blank if there is one."""
    if maxlen and len(s) >= maxlen:
        return s[:maxlen].rsplit(" ", 1)[0] + suffix
    return s


def pluralize(n: float, text: str, suffix: str = "s") -> str:
    """`text`, with `suffix` unless there is one of it."""
    return text + suffix if n != 1 else text


def pretty(value: Any, width: int = 80, nl_width: int = 80, sep: str = "\n", **kw: Any) -> str:
    """A value for people; a dict in several lines."""
    if isinstance(value, dict):
        return f"{{{sep} {pformat(value, 4, nl_width)[1:]}"
    if isinstance(value, tuple):
        return f"{sep}{' ' * 4}{pformat(value, width=nl_width, **kw)}"
    return pformat(value, width=width, **kw)


def match_case(s: str, other: str) -> str:
    """`s` in capitals if `other` is."""
    return s.upper() if other.isupper() else s.lower()


def simple_format(s: str, keys: Any, pattern: re.Pattern[str] = RE_FORMAT, expand: str = r"\1") -> str:
    """`s` with ``%x`` replaced by ``keys["x"]``; ``%%`` is a percent sign.

    Raises:
        ValueError: a key that is not there.
    """
    if not s:
        return s
    keys.setdefault("%", "%")

    def resolve(match: re.Match[str]) -> str:
        key = match.expand(expand)
        try:
            found = keys[key]
        except KeyError:
            raise ValueError(UNKNOWN_SIMPLE_FORMAT_KEY.format(key, s)) from None
        return str(found() if callable(found) else found)

    return pattern.sub(resolve, s)


def remove_repeating_from_task(task_name: str, s: str) -> str:
    """`s` without the module of `task_name` in front of its names."""
    module = str(task_name).rpartition(".")[0] + "."
    return remove_repeating(module, s)


def remove_repeating(substr: str, s: str) -> str:
    """`s` with `substr` where it comes first only."""
    index = s.find(substr)
    if index < 0:
        return s
    end = index + len(substr)
    return s[:end] + s[end:].replace(substr, "")
