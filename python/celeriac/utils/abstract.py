"""What a task and a signature are, for isinstance checks of code that has its own."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CallableSignature", "CallableTask"]


class _AbstractClass(metaclass=ABCMeta):  # noqa: B024 - its sub-classes have the methods
    __required_attributes__: frozenset[str] = frozenset()

    @classmethod
    def _has_all(cls, other: type) -> Any:
        found = all(any(name in base.__dict__ for base in other.__mro__) for name in cls.__required_attributes__)
        return True if found else NotImplemented


class CallableTask(_AbstractClass):
    """A task: can be called, delayed and applied."""

    __required_attributes__ = frozenset({"delay", "apply_async", "apply"})

    @abstractmethod
    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Sends it."""

    @abstractmethod
    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """Sends it with options."""

    @abstractmethod
    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Runs it here."""

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        return cls._has_all(other) if cls is CallableTask else NotImplemented


class CallableSignature(CallableTask):
    """A signature: a task with its arguments, that can be linked and cloned."""

    __required_attributes__ = frozenset({"clone", "freeze", "set", "link", "link_error", "__or__"})

    clone: Callable[..., Any]

    @abstractmethod
    def freeze(self, *args: Any, **kwargs: Any) -> Any:
        """Gives it an id."""

    @abstractmethod
    def set(self, immutable: Any = None, **options: Any) -> Any:
        """Changes its options."""

    @abstractmethod
    def link(self, callback: Any) -> Any:
        """Adds what follows."""

    @abstractmethod
    def link_error(self, errback: Any) -> Any:
        """Adds what follows a failure."""

    @abstractmethod
    def __or__(self, right: Any) -> Any:
        """A chain."""

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        return cls._has_all(other) if cls is CallableSignature else NotImplemented
