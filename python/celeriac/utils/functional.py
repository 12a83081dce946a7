"""Small tools for functions and sequences."""

from __future__ import annotations

import itertools
from collections import UserDict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from celeriac.app._checker import make_checker

__all__ = [
    "LRUCache",
    "chunks",
    "dictfilter",
    "first",
    "firstmethod",
    "fun_accepts_kwargs",
    "fun_takes_argument",
    "head_from_fun",
    "is_list",
    "lookahead",
    "mattrgetter",
    "maybe",
    "maybe_list",
    "memoize",
    "mlazy",
    "noop",
    "padlist",
    "regen",
    "reprcall",
    "reprkwargs",
    "seq_concat_item",
    "seq_concat_seq",
    "uniq",
]

T = TypeVar("T")


def noop(*args: Any, **kwargs: Any) -> None:
    """Takes anything, does nothing."""


def is_list(obj: Any, scalars: Any = (Mapping, str), iters: Any = (Iterable,)) -> bool:
    """True for iterables other than mappings and text."""
    return isinstance(obj, iters) and not isinstance(obj, scalars or ())


def maybe_list(obj: Any, scalars: Any = (Mapping, str)) -> Any:
    """None as it is, an iterable as it is, else a list of the one value."""
    return obj if obj is None or is_list(obj, scalars) else [obj]


def dictfilter(d: Mapping[str, Any] | None = None, **kw: Any) -> dict[str, Any]:
    """The entries that are not None."""
    found = kw if d is None else {**d, **kw}
    return {key: value for key, value in found.items() if value is not None}


def chunks(it: Iterator[T], n: int) -> Generator[list[T], None, None]:
    """Lists of `n` items of the iterator `it`; the last may be shorter."""
    for item in it:
        yield [item, *itertools.islice(it, n - 1)]


def first(predicate: Callable[[Any], Any] | None, it: Iterable[Any]) -> Any:
    """The first item that `predicate` accepts (None: that is not None), else None."""
    return next((item for item in it if (predicate(item) if predicate else item is not None)), None)


def firstmethod(method: str, on_call: Any = None) -> Callable[..., Any]:
    """A function that calls `method` of each object of a list until one returns something."""

    def match(it: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        for obj in it:
            try:
                bound = getattr(obj.__maybe_evaluate__() if hasattr(obj, "__maybe_evaluate__") else obj, method)
            except AttributeError:
                continue
            found = on_call(bound, *args, **kwargs) if on_call else bound(*args, **kwargs)
            if found is not None:
                return found
        return None

    return match


def mattrgetter(*attrs: str) -> Callable[[Any], dict[str, Any]]:
    """A function that returns these attributes of an object as a dict, None where there is none."""
    return lambda obj: {attr: getattr(obj, attr, None) for attr in attrs}


def maybe(typ: Callable[[Any], Any], val: Any) -> Any:
    """``typ(val)``; None as it is."""
    return typ(val) if val is not None else val


def padlist(container: Iterable[Any], size: int, default: Any = None) -> list[Any]:
    """The first `size` items, filled up with `default`."""
    found = list(container)[:size]
    return found + [default] * (size - len(found))


def uniq(it: Iterable[T]) -> Generator[T, None, None]:
    """The items without those that came before, in order."""
    seen: set[Any] = set()
    for item in it:
        if item not in seen:
            seen.add(item)
            yield item


def lookahead(it: Iterable[T]) -> Generator[tuple[T, T | None], None, None]:
    """Pairs of each item with the next one; None follows the last."""
    items = iter(it)
    try:
        current = next(items)
    except StopIteration:
        return
    for following in items:
        yield current, following
        current = following
    yield current, None


class _Regen(list[Any]):
    """A list of an iterable that is read when first needed, and only once."""

    def __init__(self, it: Iterable[Any]) -> None:
        super().__init__()
        self._rest: Iterator[Any] | None = iter(it)

    def _read(self) -> None:
        rest, self._rest = self._rest, None
        if rest is not None:
            super().extend(rest)

    @property
    def fully_consumed(self) -> bool:
        """True once all was read."""
        return self._rest is None

    def __iter__(self) -> Iterator[Any]:
        self._read()
        return super().__iter__()

    def __len__(self) -> int:
        self._read()
        return super().__len__()

    def __bool__(self) -> bool:
        return len(self) > 0

    def __getitem__(self, index: Any) -> Any:
        self._read()
        return super().__getitem__(index)

    def __contains__(self, item: object) -> bool:
        self._read()
        return super().__contains__(item)

    def __eq__(self, other: object) -> bool:
        self._read()
        return super().__eq__(other)

    __hash__ = None

    def __repr__(self) -> str:
        return super().__repr__() if self.fully_consumed else f"<{type(self).__name__}: [...]>"

    def __reduce__(self) -> Any:
        return list, (list(self),)


def regen(it: Any) -> Any:
    """A list or tuple as it is; another iterable as a list that is read when first needed."""
    return it if isinstance(it, (list, tuple)) else _Regen(it)


class mlazy:  # noqa: N801 - Celery's name
    """A function that is called once; its value is kept."""

    evaluated = False
    _value: Any = None

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._fun, self._args, self._kwargs = fun, args, kwargs

    def __call__(self) -> Any:
        return self.evaluate()

    def evaluate(self) -> Any:
        """The value."""
        if not self.evaluated:
            self._value = self._fun(*self._args, **self._kwargs)
            self.evaluated = True
        return self._value


class LRUCache(UserDict[Any, Any]):
    """A dict that forgets what was not used for longest when it has more than `limit` entries."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        super().__init__()

    def __getitem__(self, key: Any) -> Any:
        value = self.data.pop(key)
        self.data[key] = value
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        self.data.pop(key, None)
        self.data[key] = value
        while self.limit and len(self.data) > self.limit:
            self.data.pop(next(iter(self.data)))


def memoize(maxsize: int | None = None, keyfun: Any = None, Cache: Any = LRUCache) -> Any:  # noqa: N803 - Celery's name
    """Decorator: keeps values by arguments; the function gets ``clear()``."""

    def decorate(fun: Callable[..., Any]) -> Any:
        cache = Cache(limit=maxsize)

        def cached(*args: Any, **kwargs: Any) -> Any:
            key = keyfun(args, kwargs) if keyfun else (args, tuple(sorted(kwargs.items())))
            try:
                return cache[key]
            except KeyError:
                value = cache[key] = fun(*args, **kwargs)
                return value

        cached.clear = cache.clear  # type: ignore[attr-defined]  # a function with an attribute
        cached.original_func = fun  # type: ignore[attr-defined]
        return cached

    return decorate


def reprkwargs(kwargs: Mapping[str, Any], sep: str = ", ", fmt: str = "{0}={1}") -> str:
    """``a=1, b=2``."""
    return sep.join(fmt.format(key, _short(value)) for key, value in kwargs.items())


def reprcall(name: str, args: Any = (), kwargs: Mapping[str, Any] | None = None, sep: str = ", ") -> str:
    """``name(1, b=2)``."""
    kwargs = kwargs or {}
    parts = [_short(arg) for arg in args or ()]
    inside = sep.join([*parts, *([reprkwargs(kwargs, sep)] if kwargs else [])])
    return f"{name}({inside})"


def _short(value: Any) -> str:
    from celeriac.utils.saferepr import saferepr

    return saferepr(value)


def head_from_fun(fun: Callable[..., Any], bound: bool = False) -> Callable[..., object]:
    """A function with the parameters of `fun` that does nothing (`celeriac.app._checker`)."""
    return make_checker(fun, bound)


def fun_takes_argument(name: str, fun: Callable[..., Any], position: int | None = None) -> bool:
    """True if `fun` has a parameter `name` or ``**kwargs``, or so many positional ones."""
    import inspect

    spec = inspect.getfullargspec(fun)
    return bool(spec.varkw or spec.varargs or (len(spec.args) >= position if position else name in spec.args))


def fun_accepts_kwargs(fun: Callable[..., Any]) -> bool:
    """True if `fun` has ``**kwargs``."""
    import inspect

    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(fun).parameters.values())


def seq_concat_item(seq: Any, item: Any) -> Any:
    """`seq` with `item` at its end, of the same type."""
    return (*seq, item) if isinstance(seq, tuple) else [*seq, item]


def seq_concat_seq(a: Any, b: Any) -> Any:
    """Both, of the type of the longer one."""
    kind = type(max((a, b), key=len))
    return kind([*a, *b])
