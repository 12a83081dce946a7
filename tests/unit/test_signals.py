"""Signals: who is called, with what, and what never happens (an exception that gets out)."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

from celeriac import signals
from celeriac.local import PromiseProxy
from celeriac.utils.dispatch import Signal


@pytest.fixture
def signal() -> Signal:
    return Signal(name="test", providing_args={"value"})


def test_a_receiver_gets_signal_sender_and_arguments(signal: Signal) -> None:
    seen: list[dict[str, Any]] = []

    @signal.connect
    def receiver(**kwargs: Any) -> str:
        seen.append(kwargs)
        return "done"

    assert signal.send(sender="me", value=3) == [(receiver, "done")]
    assert seen == [{"signal": signal, "sender": "me", "value": 3}]


@pytest.mark.parametrize("form", ["call", "decorator", "decorator with options", "keyword"])
def test_every_form_of_connect(signal: Signal, form: str) -> None:
    calls: list[Any] = []

    def receiver(**kwargs: Any) -> None:
        calls.append(kwargs["sender"])

    if form == "call":
        signal.connect(receiver, "s")
    elif form == "decorator":
        signal.connect(receiver)
    elif form == "decorator with options":
        assert signal.connect(sender="s")(receiver) is receiver
    else:
        signal.connect(receiver=receiver, sender="s")
    signal.send(sender="s")
    assert calls == ["s"]
    signal.send(sender="other")
    assert calls == (["s", "other"] if form == "decorator" else ["s"])


def test_a_receiver_without_kwargs_is_refused(signal: Signal) -> None:
    with pytest.raises(ValueError, match="keyword arguments"):
        signal.connect(lambda value: None)


def test_an_exception_is_logged_and_returned(signal: Signal, caplog: pytest.LogCaptureFixture) -> None:
    def broken(**kwargs: Any) -> None:
        raise RuntimeError("broken")

    def whole(**kwargs: Any) -> int:
        return 1

    signal.connect(broken)
    signal.connect(whole)
    with caplog.at_level(logging.ERROR):
        (_, first), (_, second) = signal.send(sender=None)
    assert isinstance(first, RuntimeError)
    assert second == 1
    assert "broken" in caplog.text


class _Listener:
    def hear(self, **kwargs: Any) -> None:
        pass


def test_of_receivers_that_are_gone_nothing_is_left(signal: Signal) -> None:
    """At once, and not at the next connect: those who send look at `receivers` first."""

    def stays(**kwargs: Any) -> None:
        pass

    def goes(**kwargs: Any) -> None:
        pass

    listener = _Listener()
    for receiver in (stays, goes, listener.hear):
        signal.connect(receiver)
    del receiver, goes, listener
    gc.collect()
    assert [held() for _, held, _ in signal.receivers] == [stays]


def test_a_receiver_that_goes_while_the_signal_is_changed_is_dropped_after_that(signal: Signal) -> None:
    """Garbage is collected anywhere, also where the lock is held: then nobody waits for it."""
    listener = _Listener()
    signal.connect(listener.hear)
    with signal.lock:
        del listener
        gc.collect()
        assert len(signal.receivers) == 1
    assert signal.disconnect(print) is False
    assert not signal.receivers


def test_receivers_are_held_weakly_unless_asked(signal: Signal) -> None:
    signal.connect(lambda **kwargs: None)
    gc.collect()
    assert not signal.has_listeners()
    signal.connect(lambda **kwargs: None, weak=False)
    gc.collect()
    assert signal.has_listeners()


def test_a_bound_method_lives_as_long_as_its_object(signal: Signal) -> None:
    class Listener:
        def on(self, **kwargs: Any) -> str:
            return "here"

    listener = Listener()
    signal.connect(listener.on)
    gc.collect()
    assert [response for _, response in signal.send(sender=None)] == ["here"]
    del listener
    gc.collect()
    assert signal.send(sender=None) == []


def test_disconnect_says_whether_there_was_something(signal: Signal) -> None:
    def receiver(**kwargs: Any) -> None: ...

    signal.connect(receiver, sender="s")
    assert not signal.disconnect(receiver)
    assert signal.disconnect(receiver, sender="s")
    assert not signal.has_listeners("s")


def test_a_dispatch_uid_connects_once(signal: Signal) -> None:
    calls: list[int] = []
    receivers = [lambda **kwargs: calls.append(1), lambda **kwargs: calls.append(2)]
    for receiver in receivers:
        signal.connect(receiver, weak=False, dispatch_uid="same")
    signal.send(sender=None)
    assert calls == [1]
    assert signal.disconnect(dispatch_uid="same")


def test_senders_match_by_identity_and_names_by_value(signal: Signal) -> None:
    class Sender:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = object.__hash__

    one, other = Sender(), Sender()
    calls: list[str] = []
    signal.connect(lambda **kwargs: calls.append("object"), sender=one, weak=False)
    signal.connect(lambda **kwargs: calls.append("name"), sender="ab", weak=False)
    signal.send(sender=other)
    signal.send(sender="ab")
    signal.send(sender=one)
    assert calls == ["name", "object"]


def test_a_lazy_sender_is_waited_for(signal: Signal) -> None:
    target = object()
    lazy = PromiseProxy(lambda: target)
    calls: list[int] = []
    signal.connect(lambda **kwargs: calls.append(1), sender=lazy, weak=False)
    signal.send(sender=target)
    assert calls == []
    lazy._get_current_object()
    signal.send(sender=target)
    assert calls == [1]


def test_a_retrying_receiver_is_called_until_it_succeeds(signal: Signal, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("celeriac.utils.dispatch.signal.time.sleep", pauses.append)
    left = [RuntimeError(), RuntimeError()]

    def receiver(**kwargs: Any) -> str:
        if left:
            raise left.pop()
        return "at last"

    signal.connect(receiver, retry=True)
    assert [response for _, response in signal.send(sender=None)] == ["at last"]
    assert pauses == [0.2, 0.4]


def test_all_names_are_signals_that_know_their_names() -> None:
    for name in signals.__all__:
        found = getattr(signals, name)
        assert isinstance(found, Signal)
        assert found.name == name
