"""Checks the arguments of a call against a task's signature, with Python's own errors.

A function with the same parameters and no body is compiled once a task; calling it costs 0.1 µs and raises the very
`TypeError` that the task would raise. `inspect.signature(...).bind` costs 5 to 10 µs a call.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FunctionType, MethodType
from typing import Any

__all__ = ["Checker", "make_checker"]

Checker = Callable[..., object]

_VARARGS = 0x04  # inspect.CO_VARARGS, inspect.CO_VARKEYWORDS; importing inspect costs 8 ms
_VARKEYWORDS = 0x08


def make_checker(fun: Callable[..., Any], bound: bool = False) -> Checker:
    """A function with the parameters of `fun`, without the first one when `bound`, that does nothing.

    A callable whose signature is unknown gets a checker that lets everything pass.
    """
    skip = 1 if bound else 0
    if isinstance(fun, MethodType):
        skip += 1
        fun = fun.__func__
    if isinstance(fun, FunctionType):
        return _compile(fun.__name__, *_of_code(fun.__code__, fun.__defaults__ or (), fun.__kwdefaults__ or {}, skip))
    return _of_signature(fun, skip)


Parameters = tuple[list[str], int, "str | None", list[str], "str | None", frozenset[str]]
"""Positional names, how many of them are positional only, ``*name``, keyword-only names, ``**name``, optional ones."""


def _of_code(code: CodeType, defaults: tuple[Any, ...], kwdefaults: dict[str, Any], skip: int) -> Parameters:
    count, kwonly = code.co_argcount, code.co_kwonlyargcount
    names = list(code.co_varnames[:count])
    optional = set(names[count - len(defaults) :]) | set(kwdefaults)
    at = count + kwonly
    varargs = varkw = None
    if code.co_flags & _VARARGS:
        varargs = code.co_varnames[at]
        at += 1
    if code.co_flags & _VARKEYWORDS:
        varkw = code.co_varnames[at]
    only = max(code.co_posonlyargcount - skip, 0)
    return names[skip:], only, varargs, list(code.co_varnames[count : count + kwonly]), varkw, frozenset(optional)


def _of_signature(fun: Callable[..., Any], skip: int) -> Checker:
    import inspect

    try:
        parameters = list(inspect.signature(fun, follow_wrapped=False).parameters.values())[skip:]
    except (TypeError, ValueError):
        return lambda *args, **kwargs: None
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    only = sum(p.kind is p.POSITIONAL_ONLY for p in parameters)
    varargs = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    varkw = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
    kwonly = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    optional = frozenset(p.name for p in parameters if p.default is not p.empty)
    name = getattr(fun, "__name__", type(fun).__name__)
    return _compile(name, positional, only, varargs, kwonly, varkw, optional)


def _compile(
    name: str,
    positional: list[str],
    only: int,
    varargs: str | None,
    kwonly: list[str],
    varkw: str | None,
    optional: frozenset[str],
) -> Checker:
    parts = [f"{each}=None" if each in optional else each for each in positional]
    if only:
        parts.insert(only, "/")
    if varargs:
        parts.append(f"*{varargs}")
    elif kwonly:
        parts.append("*")
    parts += [f"{each}=None" if each in optional else each for each in kwonly]
    if varkw:
        parts.append(f"**{varkw}")
    name = name if name.isidentifier() else "task"
    scope: dict[str, Any] = {}
    # The text holds identifiers of the task's own code object only.
    exec(f"def checked({', '.join(parts)}): pass", scope)  # noqa: S102
    checker: FunctionType = scope["checked"]
    checker.__name__ = checker.__qualname__ = name
    checker.__code__ = checker.__code__.replace(co_name=name)
    if hasattr(checker.__code__, "co_qualname"):
        checker.__code__ = checker.__code__.replace(co_qualname=name)  # type: ignore[call-arg]  # 3.11
    return checker
