"""Exceptions that cannot be pickled, and small conversions."""

from __future__ import annotations

import datetime as dt
import pickle
import sys
from base64 import b64decode as base64decode
from base64 import b64encode as base64encode
from typing import Any, NoReturn

__all__ = [
    "UnpickleableExceptionWrapper",
    "b64decode",
    "b64encode",
    "create_exception_cls",
    "ensure_serializable",
    "find_pickleable_exception",
    "get_pickleable_etype",
    "get_pickleable_exception",
    "get_pickled_exception",
    "itermro",
    "jsonify",
    "raise_with_context",
    "strtobool",
    "subclass_exception",
]

unwanted_base_classes = (Exception, BaseException, object)


def subclass_exception(name: str, parent: Any, module: str) -> Any:
    """A new exception class."""
    return type(name, (parent,), {"__module__": module})


def create_exception_cls(name: str, module: str, parent: Any = None) -> Any:
    """A new exception class; `parent` defaults to Exception."""
    return subclass_exception(name, parent or Exception, module)


def itermro(cls: type, stop: Any) -> Any:
    """The classes of the method resolution order that are not in `stop`."""
    return (each for each in cls.mro() if each not in stop)


def find_pickleable_exception(exc: BaseException, loads: Any = pickle.loads, dumps: Any = pickle.dumps) -> Any:
    """`exc` as its first base class that can be pickled with its arguments; None if there is none."""
    args = getattr(exc, "args", ())
    for base in itermro(type(exc), unwanted_base_classes):
        try:
            copy = base(*args)
            loads(dumps(copy))
        except Exception:
            continue
        return copy
    return None


class UnpickleableExceptionWrapper(Exception):
    """Stands for an exception that cannot be pickled.

    Args:
        exc_module: module of the exception's class.
        exc_cls_name: name of the class.
        exc_args: its arguments.
        text: its text.
    """

    exc_module: str | None = None
    exc_cls_name: str | None = None
    exc_args: Any = None

    def __init__(self, exc_module: str, exc_cls_name: str, exc_args: Any, text: str | None = None) -> None:
        safe = ensure_serializable(exc_args, pickle.dumps)
        self.exc_module, self.exc_cls_name, self.exc_args, self.text = exc_module, exc_cls_name, safe, text
        super().__init__(exc_module, exc_cls_name, safe, text)

    def restore(self) -> BaseException:
        """An exception of a class of the same name."""
        cls = create_exception_cls(str(self.exc_cls_name), str(self.exc_module))
        made: BaseException = cls(*self.exc_args)
        return made

    def __str__(self) -> str:
        return str(self.text)

    @classmethod
    def from_exception(cls, exc: BaseException) -> UnpickleableExceptionWrapper:
        """Of `exc`."""
        from celeriac.utils.saferepr import saferepr

        kind = type(exc)
        return cls(kind.__module__, kind.__name__, getattr(exc, "args", []), saferepr(exc))


def get_pickleable_exception(exc: BaseException) -> BaseException:
    """`exc` if it can be pickled, else the nearest thing that can."""
    try:
        pickle.loads(pickle.dumps(exc))  # noqa: S301 - our own bytes
    except Exception:  # whatever its class does
        found = find_pickleable_exception(exc)
        return found if found is not None else UnpickleableExceptionWrapper.from_exception(exc)
    return exc


def get_pickleable_etype(cls: Any, loads: Any = pickle.loads, dumps: Any = pickle.dumps) -> Any:
    """`cls` if it can be pickled, else Exception."""
    try:
        loads(dumps(cls))
    except Exception:
        return Exception
    return cls


def get_pickled_exception(exc: Any) -> Any:
    """The original of a wrapper; another exception as it is."""
    return exc.restore() if isinstance(exc, UnpickleableExceptionWrapper) else exc


def ensure_serializable(items: Any, encoder: Any) -> tuple[Any, ...]:
    """`items`, those that `encoder` refuses as their repr."""
    from celeriac.utils.saferepr import saferepr

    safe = []
    for item in items:
        try:
            encoder(item)
        except Exception:
            safe.append(saferepr(item))
        else:
            safe.append(item)
    return tuple(safe)


def b64encode(s: str | bytes) -> str:
    """Base64 as text."""
    return base64encode(s.encode() if isinstance(s, str) else s).decode()


def b64decode(s: str | bytes) -> bytes:
    """The bytes of base64."""
    return base64decode(s)


def strtobool(term: Any, table: dict[str, bool] | None = None) -> Any:
    """True or False for the words that mean them; what is no text as it is.

    Raises:
        TypeError: another word.
    """
    from celeriac.app.defaults import cast

    if not isinstance(term, str):
        return term
    return table[term.lower()] if table is not None else cast("bool", term)


def jsonify(
    obj: Any,
    builtin_types: Any = (int, float, str),
    key: Any = None,
    keyfilter: Any = None,
    unknown_type_filter: Any = None,
) -> Any:
    """`obj` of what JSON has; dates as text.

    Raises:
        ValueError: a value of another type.
    """

    def again(value: Any, name: Any = None) -> Any:
        return jsonify(value, builtin_types, name, keyfilter, unknown_type_filter)

    if hasattr(obj, "__json__"):
        return obj.__json__()
    if obj is None or isinstance(obj, builtin_types):
        return obj
    if isinstance(obj, (tuple, list)):
        return [again(item) for item in obj]
    if isinstance(obj, dict):
        return {name: again(value, name) for name, value in obj.items() if keyfilter is None or keyfilter(name)}
    if isinstance(obj, (dt.datetime, dt.date, dt.time)):
        text = obj.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text
    if isinstance(obj, dt.timedelta):
        return str(obj)
    if unknown_type_filter is None:
        raise ValueError(f"Unsupported type: {type(obj)!r} {obj!r} (parent: {key})")
    return unknown_type_filter(obj)


def raise_with_context(exc: BaseException) -> NoReturn:
    """Raises `exc`, chained to the exception that is being handled."""
    active = sys.exc_info()[1]
    if active is None or active is exc:
        raise exc
    raise exc from active
