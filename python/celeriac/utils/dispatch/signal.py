"""`Signal`: a list of receivers that are called when something happens.

Sending without receivers is one attribute read: callers on hot paths test ``if signal.receivers``.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Signal"]

logger = logging.getLogger("celeriac.utils.dispatch")

Receiver = Callable[..., Any]
_RETRY_PAUSE_S = 0.2
_RETRY_PAUSE_MAX_S = 5.0


def _sender_key(sender: Any) -> Any:
    """Senders match by identity, names by value."""
    return sender if sender is None or isinstance(sender, str) else id(sender)


def _receiver_key(receiver: Receiver) -> Any:
    bound_to = getattr(receiver, "__self__", None)
    if bound_to is not None and hasattr(receiver, "__func__"):
        return id(bound_to), id(receiver.__func__)
    return id(receiver)


def _accepts_kwargs(receiver: Receiver) -> bool:
    """True if `receiver` has ``**kwargs``. Reads the code object: `inspect` would cost every import 8 ms."""
    function: Any = getattr(receiver, "__func__", receiver)
    code = getattr(function, "__code__", None)
    if code is None or hasattr(function, "__wrapped__"):
        import inspect

        try:
            parameters = inspect.signature(receiver).parameters.values()
        except (TypeError, ValueError):  # a builtin without a signature
            return True
        return any(p.kind is p.VAR_KEYWORD for p in parameters)
    return bool(code.co_flags & 0x08)  # inspect.CO_VARKEYWORDS


class Signal:
    """One kind of event.

    Args:
        providing_args: names of the arguments, for documentation.
        use_caching: accepted for Celery's sake.
        name: for `repr` and the log.
    """

    def __init__(
        self, providing_args: Iterable[str] | None = None, use_caching: bool = False, name: str | None = None
    ) -> None:
        del use_caching
        self.providing_args = frozenset(providing_args or ())
        self.name = name
        self.lock = threading.Lock()
        self._has_dead = False
        # (receiver key, sender key), reference or receiver, weak?. Replaced whole, never changed: `send` needs no lock.
        self.receivers: tuple[tuple[tuple[Any, Any], Any, bool], ...] = ()

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Adds a receiver; a plain call or a decorator.

        Options, by position or name:
            receiver: takes ``signal``, ``sender`` and the named arguments, and must accept ``**kwargs``.
            sender: only events of this sender.
            weak: keep no reference: a lambda or a local function vanishes at once. Default True.
            dispatch_uid: connecting again with the same value replaces nothing and adds nothing.
            retry: call it again until it succeeds.

        Raises:
            ValueError: the receiver does not accept keyword arguments.
        """

        def connect_with(receiver: Receiver, **options: Any) -> Receiver:
            return self._connect(receiver, **options)

        if args and callable(args[0]):
            return connect_with(args[0], *args[1:], **kwargs) if len(args) == 1 else self._connect(*args, **kwargs)
        if args and args[0] is None:
            args = args[1:]
        if "receiver" in kwargs:
            return self._connect(kwargs.pop("receiver"), *args, **kwargs)
        return lambda receiver: self._connect(receiver, *args, **kwargs)

    def _connect(
        self,
        receiver: Receiver,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Any = None,
        retry: bool = False,
    ) -> Receiver:
        if not callable(receiver):
            raise TypeError(f"a signal's receiver must be callable, got {receiver!r}")
        if not _accepts_kwargs(receiver):
            raise ValueError(f"signal receiver {receiver!r} must accept keyword arguments (**kwargs)")
        then = getattr(type(sender), "__then__", None)
        if then is not None and not sender.__evaluated__():
            # A lazy task: its identity is not known before it is evaluated.
            then(sender, self._connect_evaluated, sender, receiver, weak, dispatch_uid, retry)
            return receiver
        if then is not None:
            sender = sender.__maybe_evaluate__()
        self._add(receiver, sender, weak, dispatch_uid, retry)
        return receiver

    def _connect_evaluated(self, proxy: Any, receiver: Receiver, weak: bool, uid: Any, retry: bool) -> None:
        self._add(receiver, proxy.__maybe_evaluate__(), weak, uid, retry)

    def _add(self, receiver: Receiver, sender: Any, weak: bool, uid: Any, retry: bool) -> None:
        key = (uid if uid is not None else _receiver_key(receiver), _sender_key(sender))
        held: Any = _Retrying(receiver) if retry else receiver
        if weak and not retry:
            is_method = hasattr(receiver, "__self__") and hasattr(receiver, "__func__")
            refer: Any = weakref.WeakMethod if is_method else weakref.ref
            held = refer(receiver, self._gone)
        with self.lock:
            alive = self._alive()
            if not any(entry[0] == key for entry in alive):
                alive = (*alive, (key, held, weak and not retry))
            self.receivers = alive
        self._drop_dead()

    def _alive(self) -> tuple[tuple[tuple[Any, Any], Any, bool], ...]:
        return tuple(entry for entry in self.receivers if not entry[2] or entry[1]() is not None)

    def _gone(self, _: Any) -> None:
        self._has_dead = True
        self._drop_dead()

    def _drop_dead(self) -> None:
        # A receiver may go anywhere, as garbage is collected: also here, and while this thread has the lock. So nobody
        # waits for it; whoever has it looks again when they are done.
        while self._has_dead and self.lock.acquire(blocking=False):
            try:
                self._has_dead = False
                self.receivers = self._alive()
            finally:
                self.lock.release()

    def disconnect(
        self, receiver: Receiver | None = None, sender: Any = None, weak: Any = None, dispatch_uid: Any = None
    ) -> bool:
        """Removes a receiver; True if it was there."""
        del weak
        if hasattr(type(sender), "__maybe_evaluate__"):
            sender = sender.__maybe_evaluate__()
        who = dispatch_uid if dispatch_uid is not None else _receiver_key(receiver) if receiver is not None else None
        key = (who, _sender_key(sender))
        with self.lock:
            left = tuple(entry for entry in self.receivers if entry[0] != key)
            found = len(left) != len(self.receivers)
            self.receivers = left
        self._drop_dead()
        return found

    def has_listeners(self, sender: Any = None) -> bool:
        """True if somebody listens to `sender`."""
        return bool(self.receivers) and bool(self._live_receivers(sender))

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Calls the receivers. Never raises: an exception is logged and returned in the receiver's place."""
        if not self.receivers:
            return []
        responses = []
        for receiver in self._live_receivers(sender):
            try:
                response = receiver(signal=self, sender=sender, **named)
            except Exception as exc:
                logger.exception("Signal handler %r raised: %r", receiver, exc)
                response = exc
            responses.append((receiver, response))
        return responses

    send_robust = send

    def _live_receivers(self, sender: Any) -> list[Receiver]:
        wanted = _sender_key(sender)
        live = []
        for (_, key), held, weak in self.receivers:
            if key is None or key == wanted:
                receiver = held() if weak else held
                if receiver is not None:
                    live.append(receiver)
        return live

    def __repr__(self) -> str:
        return f"<Signal: {self.name} providing_args={sorted(self.providing_args)!r}>"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        return Signal, (self.providing_args, False, self.name)


class _Retrying:
    """A receiver that is called until it succeeds, with growing pauses."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.__wrapped__ = receiver

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        pause_s = _RETRY_PAUSE_S
        while True:
            try:
                return self.receiver(*args, **kwargs)
            except Exception:
                logger.exception("Signal handler %r failed; trying again in %.1f s", self.receiver, pause_s)
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, _RETRY_PAUSE_MAX_S)
