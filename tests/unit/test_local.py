"""Proxies stand for their target."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.local import PromiseProxy, Proxy, maybe_evaluate


def test_a_proxy_looks_its_target_up_at_each_use() -> None:
    box = [[1, 2]]
    proxy: Any = Proxy(lambda: box[0])
    assert len(proxy) == 2
    assert proxy == [1, 2]
    assert isinstance(proxy, list)
    box[0] = [3]
    assert list(proxy) == [3]
    proxy.append(4)
    assert 4 in proxy
    assert repr(proxy) == "[3, 4]"


def test_attributes_are_set_and_deleted_on_the_target() -> None:
    class Target:
        pass

    target = Target()
    proxy: Any = Proxy(lambda: target)
    proxy.x = 3
    assert target.x == 3  # type: ignore[attr-defined]
    del proxy.x
    assert not hasattr(target, "x")


def test_an_unbound_proxy_can_be_shown() -> None:
    def no_target() -> Any:
        raise RuntimeError("none")

    assert not Proxy(no_target)


def test_a_promise_is_evaluated_once_and_tells_who_waits() -> None:
    calls: list[str] = []

    def make() -> dict[str, int]:
        calls.append("made")
        return {"a": 1}

    promise: Any = PromiseProxy(make)
    promise.__then__(calls.append, "then")
    assert calls == []
    assert not promise.__evaluated__()
    assert promise["a"] == 1
    assert promise["a"] == 1
    assert calls == ["made", "then"]
    promise.__then__(calls.append, "now")
    assert calls[-1] == "now"


def test_maybe_evaluate() -> None:
    assert maybe_evaluate(3) == 3
    assert maybe_evaluate(PromiseProxy(lambda: 4)) == 4


@pytest.mark.parametrize("name", ["__name__", "__doc__", "__module__"])
def test_a_proxy_of_a_function_has_its_names(name: str) -> None:
    assert getattr(Proxy(lambda: maybe_evaluate), name) == getattr(maybe_evaluate, name)
