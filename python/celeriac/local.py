"""Objects that stand for others: `Proxy` looks its target up at each use, `PromiseProxy` computes it once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PromiseProxy", "Proxy", "maybe_evaluate", "try_import"]

_set = object.__setattr__
_get = object.__getattribute__


class Proxy:
    """Forwards everything to ``local(*args, **kwargs)``, called at each use.

    Args:
        local: returns the target.
        args, kwargs: passed to it.
        name: ``__name__`` before there is a target.
    """

    __slots__ = ("__args", "__dict__", "__doc", "__kwargs", "__local", "__proxy_name", "__weakref__")

    def __init__(
        self,
        local: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
        __doc__: str | None = None,
    ) -> None:
        _set(self, "_Proxy__local", local)
        _set(self, "_Proxy__args", args or ())
        _set(self, "_Proxy__kwargs", kwargs or {})
        _set(self, "_Proxy__proxy_name", name)
        _set(self, "_Proxy__doc", __doc__)

    def _get_current_object(self) -> Any:
        """The target."""
        return _get(self, "_Proxy__local")(*_get(self, "_Proxy__args"), **_get(self, "_Proxy__kwargs"))

    @property
    def __name__(self) -> str:
        name = _get(self, "_Proxy__proxy_name")
        return str(name if name is not None else self._get_current_object().__name__)

    @__name__.setter
    def __name__(self, value: str) -> None:
        _set(self, "_Proxy__proxy_name", value)

    @property
    def __module__(self) -> str:  # type: ignore[override]  # the class attribute of the same name is a str
        return str(self._get_current_object().__module__)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]  # as above
        doc = _get(self, "_Proxy__doc")
        return str(doc) if doc is not None else self._get_current_object().__doc__

    @property  # type: ignore[misc]  # the target's, to read only
    def __class__(self) -> Any:
        return self._get_current_object().__class__

    @property
    def __dict__(self) -> Any:  # type: ignore[override]  # the target's
        return self._get_current_object().__dict__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    def __repr__(self) -> str:
        try:
            target = self._get_current_object()
        except RuntimeError:  # not bound yet
            return f"<{_get(self, '__class__').__name__} unbound>"
        return repr(target)

    def __str__(self) -> str:
        return str(self._get_current_object())

    def __bool__(self) -> bool:
        try:
            return bool(self._get_current_object())
        except RuntimeError:
            return False

    def __dir__(self) -> list[str]:
        return dir(self._get_current_object())

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __eq__(self, other: object) -> bool:
        return bool(self._get_current_object() == other)

    def __ne__(self, other: object) -> bool:
        return bool(self._get_current_object() != other)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._get_current_object()(*args, **kwargs)

    def __reduce__(self) -> Any:
        return self._get_current_object().__reduce__()

    def __len__(self) -> int:
        return len(self._get_current_object())

    def __iter__(self) -> Any:
        return iter(self._get_current_object())

    def __contains__(self, item: object) -> bool:
        return item in self._get_current_object()

    def __getitem__(self, key: Any) -> Any:
        return self._get_current_object()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._get_current_object()[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._get_current_object()[key]

    def __enter__(self) -> Any:
        return self._get_current_object().__enter__()

    def __exit__(self, *exc: object) -> Any:
        return self._get_current_object().__exit__(*exc)

    def __or__(self, other: Any) -> Any:
        return self._get_current_object() | other

    def __lt__(self, other: Any) -> Any:
        return self._get_current_object() < other

    def __gt__(self, other: Any) -> Any:
        return self._get_current_object() > other

    def __int__(self) -> int:
        return int(self._get_current_object())

    def __float__(self) -> float:
        return float(self._get_current_object())


class PromiseProxy(Proxy):
    # A proxy that computes its target at first use, then keeps it. Python gives each class these two; without taking
    # those of `Proxy` over they would hide the target's.
    __doc__ = vars(Proxy)["__doc__"]
    __module__ = vars(Proxy)["__module__"]
    __slots__ = ("__pending", "__thing")

    def _get_current_object(self) -> Any:
        try:
            return _get(self, "_PromiseProxy__thing")
        except AttributeError:
            return self.__evaluate__()

    def __then__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls `fun` once there is a target: now if there is one already."""
        if self.__evaluated__():
            return fun(*args, **kwargs)
        try:
            pending = _get(self, "_PromiseProxy__pending")
        except AttributeError:
            pending = []
            _set(self, "_PromiseProxy__pending", pending)
        pending.append((fun, args, kwargs))
        return None

    def __evaluated__(self) -> bool:
        """True once the target was computed."""
        try:
            _get(self, "_PromiseProxy__thing")
        except AttributeError:
            return False
        return True

    def __maybe_evaluate__(self) -> Any:
        """The target; computes it if need be."""
        return self._get_current_object()

    def __evaluate__(self) -> Any:
        thing = Proxy._get_current_object(self)
        _set(self, "_PromiseProxy__thing", thing)
        try:
            pending = _get(self, "_PromiseProxy__pending")
        except AttributeError:
            return thing
        object.__delattr__(self, "_PromiseProxy__pending")
        while pending:
            fun, args, kwargs = pending.pop(0)
            fun(*args, **kwargs)
        return thing


def maybe_evaluate(obj: Any) -> Any:
    """The target if `obj` is a `PromiseProxy`, else `obj`."""
    evaluate = getattr(type(obj), "__maybe_evaluate__", None)
    return obj if evaluate is None else evaluate(obj)


def try_import(module: str, default: Any = None) -> Any:
    """The module called `module`, `default` if it is not there."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError:
        return default
