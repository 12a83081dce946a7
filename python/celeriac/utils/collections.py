"""Mappings, sets and buffers that user code imports from Celery."""

from __future__ import annotations

import time
from collections import OrderedDict as _OrderedDict
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from heapq import heapify, heappop, heappush
from typing import Any

__all__ = [
    "AttributeDict",
    "AttributeDictMixin",
    "BufferMap",
    "ChainMap",
    "ConfigurationView",
    "DictAttribute",
    "Evictable",
    "LimitedSet",
    "Messagebuffer",
    "OrderedDict",
    "force_mapping",
    "lpmerge",
]

OrderedDict = _OrderedDict


class AttributeDictMixin:
    """Items as attributes."""

    def __getattr__(self, k: str) -> Any:
        try:
            return self[k]  # type: ignore[index]  # mixed into mappings
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {k!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value


class AttributeDict(dict[str, Any], AttributeDictMixin):
    """A dict with its items as attributes."""


class DictAttribute(MutableMapping[str, Any]):
    """Attributes of an object as items."""

    obj: Any

    def __init__(self, obj: Any) -> None:
        object.__setattr__(self, "obj", obj)

    def __getattr__(self, key: str) -> Any:
        return getattr(self.obj, key)

    def __setattr__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __getitem__(self, key: str) -> Any:
        try:
            return getattr(self.obj, key)
        except AttributeError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __delitem__(self, key: str) -> None:
        delattr(self.obj, key)

    def __contains__(self, key: object) -> bool:
        return hasattr(self.obj, str(key))

    def __iter__(self) -> Iterator[str]:
        return iter(dir(self.obj))

    def __len__(self) -> int:
        return len(dir(self.obj))


def force_mapping(m: Any) -> Any:
    """A mapping as it is, another object as one of its attributes."""
    return m if isinstance(m, Mapping) else DictAttribute(m)


def lpmerge(left: dict[Any, Any], right: Mapping[Any, Any]) -> dict[Any, Any]:
    """`left`, changed, with the entries of `right` that are not None."""
    left.update((key, value) for key, value in right.items() if value is not None)
    return left


class ChainMap(MutableMapping[Any, Any]):
    """Mappings asked in turn; writes go to the first."""

    maps: list[Any]
    changes: Any
    defaults: list[Any]

    def __init__(self, *maps: Any, **kwargs: Any) -> None:
        key_t: Callable[[Any], Any] | None = kwargs.get("key_t")
        observers = list(kwargs.get("observers") or ())
        self.__dict__.update(key_t=key_t, maps=list(maps or [{}]), _observers=observers)
        self.__dict__.update(changes=self.maps[0], defaults=self.maps[1:])

    def _key(self, key: Any) -> Any:
        return self.__dict__["key_t"](key) if self.__dict__["key_t"] else key

    def add_defaults(self, d: Any) -> None:
        """Adds a mapping right after the first."""
        d = force_mapping(d)
        self.defaults.insert(0, d)
        self.maps.insert(1, d)

    def __getitem__(self, key: Any) -> Any:
        wanted = self._key(key)
        for each in self.maps:
            try:
                return each[wanted]
            except KeyError:
                pass
        raise KeyError(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.changes[self._key(key)] = value

    def __delitem__(self, key: Any) -> None:
        del self.changes[self._key(key)]

    def __contains__(self, key: Any) -> bool:
        wanted = self._key(key)
        return any(wanted in each for each in self.maps)

    def __iter__(self) -> Iterator[Any]:
        seen: dict[Any, None] = {}
        for each in reversed(self.maps):
            seen.update(dict.fromkeys(each))
        return iter(seen)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return any(self.maps)

    def clear(self) -> None:
        """Empties the first mapping."""
        self.changes.clear()

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Changes the first mapping and tells the observers."""
        found = self.changes.update(*args, **kwargs)
        for callback in self.__dict__["_observers"]:
            callback(*args, **kwargs)
        return found

    def bind_to(self, callback: Callable[..., Any]) -> None:
        """Calls `callback` with what `update` gets."""
        self.__dict__["_observers"].append(callback)


class ConfigurationView(ChainMap, AttributeDictMixin):
    """A `ChainMap` with attributes: changes before defaults."""

    def __init__(self, changes: Any, defaults: Any = None, keys: Any = None, prefix: str | None = None) -> None:
        del keys
        super().__init__(changes, *(defaults or []))
        self.__dict__["prefix"] = prefix

    def first(self, *keys: Any) -> Any:
        """The first of `keys` that has a value."""
        return next((value for value in map(self.get, keys) if value is not None), None)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value, or `default`."""
        try:
            return self[key]
        except KeyError:
            return default


class LimitedSet:
    """A set that forgets what is too old or too much, oldest first.

    Args:
        maxlen: most items; 0 for no bound.
        expires: seconds an item is kept; 0 for ever.
        data: items to begin with; a dict's values are their times.
        minlen: so many are kept even when they have expired.
    """

    max_heap_percent_overload = 15

    def __init__(self, maxlen: int = 0, expires: float = 0, data: Any = None, minlen: int = 0) -> None:
        if maxlen < 0 or minlen < 0 or expires < 0 or (maxlen and minlen > maxlen):
            raise ValueError(f"LimitedSet: cannot keep {minlen=} to {maxlen=} items for {expires=} seconds")
        self.maxlen, self.minlen, self.expires = maxlen, minlen, expires
        self._data: dict[Any, tuple[float, Any]] = {}
        self._heap: list[tuple[float, Any]] = []
        if data:
            self.update(data)

    def add(self, item: Any, now: float | None = None) -> None:
        """Adds `item`, or makes it new again; `now` in seconds of `time.monotonic`."""
        entry = (now or time.monotonic(), item)
        self._data[item] = entry
        heappush(self._heap, entry)
        if len(self._heap) > len(self._data) * (100 + self.max_heap_percent_overload) // 100 + 1:
            self._refresh_heap()
        self.purge()

    def update(self, other: Any) -> None:
        """Adds items: of another set, a dict of times, or an iterable."""
        if not other:
            return
        if isinstance(other, LimitedSet):
            for item, entry in other._data.items():
                self._data[item] = max(self._data.get(item, entry), entry)
            self._refresh_heap()
            self.purge()
        elif isinstance(other, Mapping):
            for item, inserted in other.items():
                self.add(item, inserted[0] if isinstance(inserted, (tuple, list)) else inserted)
        else:
            for item in other:
                self.add(item)

    def discard(self, item: Any) -> None:
        """Takes `item` out if it is there."""
        self._data.pop(item, None)

    pop_value = discard

    def purge(self, now: float | None = None) -> None:
        """Forgets what is too much or too old."""
        now = now or time.monotonic()
        while self.maxlen and len(self._data) > self.maxlen:
            self.pop()
        while self.expires and len(self._data) > max(self.minlen, 0) and self._oldest() + self.expires < now:
            self.pop()

    def pop(self, default: Any = None) -> Any:
        """Takes the oldest item out."""
        while self._heap:
            entry = heappop(self._heap)
            if self._data.get(entry[1]) == entry:
                del self._data[entry[1]]
                return entry[1]
        return default

    def as_dict(self) -> dict[Any, float]:
        """Item -> time."""
        return {item: inserted for item, (inserted, _) in self._data.items()}

    def clear(self) -> None:
        """Forgets all."""
        self._data.clear()
        self._heap.clear()

    def _oldest(self) -> float:
        while self._heap and self._data.get(self._heap[0][1]) != self._heap[0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")

    def _refresh_heap(self) -> None:
        self._heap = list(self._data.values())
        heapify(self._heap)

    def __contains__(self, item: object) -> bool:
        return item in self._data

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Any]:
        return (item for _, item in sorted(self._data.values(), key=lambda entry: entry[0]))

    def __bool__(self) -> bool:
        return bool(self._data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LimitedSet) and self._data == other._data

    __hash__ = None  # type: ignore[assignment]  # as a set

    def __reduce__(self) -> Any:
        return type(self), (self.maxlen, self.expires, self.as_dict(), self.minlen)

    def __repr__(self) -> str:
        return f"LimitedSet(maxlen={self.maxlen}, expires={self.expires}, {len(self)} items)"


class Evictable:
    """Takes items out until there is room."""

    Empty: type[Exception] = IndexError

    def evict(self) -> None:
        """Takes out what is too much."""
        while self._has_too_many():
            try:
                self._evict_one()
            except self.Empty:
                return

    def _has_too_many(self) -> bool:
        raise NotImplementedError

    def _evict_one(self) -> Any:
        raise NotImplementedError


class Messagebuffer(Evictable):
    """A queue of at most `maxsize` items; the oldest give way."""

    def __init__(self, maxsize: int | None, iterable: Iterable[Any] | None = None, deque: Any = deque) -> None:
        self.maxsize = maxsize
        self.data: Any = deque(iterable or ())

    def put(self, item: Any) -> None:
        """Adds at the end."""
        self.data.append(item)
        self.evict()

    def extend(self, it: Iterable[Any]) -> None:
        """Adds several at the end."""
        self.data.extend(it)
        self.evict()

    def take(self, *default: Any) -> Any:
        """Takes from the front; `default`, or IndexError, if there is nothing."""
        try:
            return self.data.popleft()
        except IndexError:
            if default:
                return default[0]
            raise

    def _has_too_many(self) -> bool:
        return self.maxsize is not None and len(self.data) > self.maxsize

    def _evict_one(self) -> Any:
        return self.take()

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, item: object) -> bool:
        return item in self.data

    def __iter__(self) -> Iterator[Any]:
        while self.data:
            yield self.data.popleft()


class BufferMap(_OrderedDict[Any, Any], Evictable):
    """A `Messagebuffer` for each key, with one bound for all of them."""

    Buffer = Messagebuffer
    bufmaxsize = 1000

    def __init__(self, maxsize: int, iterable: Any = None, bufmaxsize: int = 1000) -> None:
        super().__init__()
        self.maxsize, self.bufmaxsize, self.total = maxsize, bufmaxsize, 0
        for key, value in iterable or ():
            self.put(key, value)

    def put(self, key: Any, item: Any) -> None:
        """Adds to the buffer of `key`."""
        self._get_or_create_buffer(key).put(item)
        self.total = sum(len(buffer) for buffer in self.values())
        self.move_to_end(key)
        self.evict()

    def extend(self, key: Any, it: Iterable[Any]) -> None:
        """Adds several to the buffer of `key`."""
        for item in it:
            self.put(key, item)

    def take(self, key: Any, *default: Any) -> Any:
        """Takes from the buffer of `key`; `default`, or Empty, if there is nothing."""
        try:
            item = self[key].take()
        except (KeyError, IndexError):
            if default:
                return default[0]
            raise self.Empty from None
        self.total -= 1
        return item

    def _get_or_create_buffer(self, key: Any) -> Messagebuffer:
        if key not in self:
            self[key] = self.Buffer(self.bufmaxsize)
        buffer: Messagebuffer = self[key]
        return buffer

    def _has_too_many(self) -> bool:
        return self.total > self.maxsize

    def _evict_one(self) -> Any:
        for key in list(self):
            if len(self[key]):
                return self.take(key)
        raise self.Empty
