"""Imports, text, functions, collections, serialisation of exceptions."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from celeriac import Celery
from celeriac.app._clock import LamportClock
from celeriac.utils import abstract, functional, imports, serialization, text
from celeriac.utils import collections as c

# --- imports


@pytest.mark.parametrize(
    "name", ["celeriac.app.base:Celery", "celeriac.app.base.Celery", "celery.app.base:Celery", "celery.app.base.Celery"]
)
def test_objects_by_name(name: str) -> None:
    assert imports.symbol_by_name(name) is Celery


def test_modules_aliases_and_defaults() -> None:
    assert imports.symbol_by_name("json").dumps
    assert imports.symbol_by_name("a", {"a": "celeriac:Celery"}) is Celery
    assert imports.symbol_by_name("no.such:thing", default=3) == 3
    assert imports.symbol_by_name(Celery) is Celery
    with pytest.raises(ImportError):
        imports.symbol_by_name("no.such:thing")
    with pytest.raises(AttributeError):
        imports.symbol_by_name("json:no_such")
    assert imports.instantiate("celeriac.app._clock:LamportClock", 3).value == 3
    assert imports.qualname(Celery) == "celeriac.app.base.Celery"
    assert imports.qualname(LamportClock()) == "celeriac.app._clock.LamportClock"


def test_a_module_used_as_a_package() -> None:
    with pytest.raises(imports.NotAPackage):
        imports.find_module("json.decoder.nothing")


# --- text


def test_texts() -> None:
    assert text.indent("a\nb", 2) == "  a\n  b"
    assert text.truncate("one two three", 8) == "one two..."
    assert text.abbr("abcdefgh", 5) == "ab..."
    assert text.abbrtask("some.long.module.name", 12) == "some.lon[.]name"
    assert text.pluralize(1, "task") == "task"
    assert text.pluralize(2, "task") == "tasks"
    assert text.str_to_list("a, b") == ["a", "b"]
    assert text.simple_format("%x %%", {"x": 1}) == "1 %"
    assert text.remove_repeating_from_task("a.b.c", "a.b.c(a.b.d)") == "a.b.c(d)"
    assert text.dedent("    a\n    b") == "a\nb"
    with pytest.raises(ValueError, match="%y"):
        text.simple_format("%y", {})


# --- functions


def test_functions() -> None:
    assert functional.maybe_list(None) is None
    assert functional.maybe_list("a") == ["a"]
    assert functional.maybe_list((1,)) == (1,)
    assert list(functional.chunks(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
    assert functional.first(None, [None, 0]) == 0
    assert functional.padlist([1], 3, 9) == [1, 9, 9]
    assert list(functional.uniq([1, 2, 1])) == [1, 2]
    assert list(functional.lookahead([1, 2])) == [(1, 2), (2, None)]
    assert functional.dictfilter({"a": None}, b=1) == {"b": 1}
    assert functional.reprcall("f", (1,), {"a": "x"}) == "f(1, a='x')"
    assert functional.mattrgetter("real", "none")(3) == {"real": 3, "none": None}
    assert functional.fun_accepts_kwargs(lambda **kw: None)
    assert functional.fun_takes_argument("a", lambda a: None)
    assert functional.seq_concat_seq([1], (2, 3)) == (1, 2, 3)
    assert functional.seq_concat_item((1,), 2) == (1, 2)


def test_regen_reads_once() -> None:
    reads: list[int] = []

    def source() -> Any:
        for n in range(3):
            reads.append(n)
            yield n

    made = functional.regen(source())
    assert "..." in repr(made)
    assert list(made) == [0, 1, 2]
    assert made[1] == 1
    assert len(made) == 3
    assert reads == [0, 1, 2]


def test_memoize_and_lru() -> None:
    calls: list[int] = []

    @functional.memoize(maxsize=2)
    def double(x: int) -> int:
        calls.append(x)
        return 2 * x

    assert [double(1), double(1), double(2), double(3), double(1)] == [2, 2, 4, 6, 2]
    assert calls == [1, 2, 3, 1]
    lazy = functional.mlazy(lambda: calls.append(9))
    lazy()
    lazy()
    assert calls.count(9) == 1


# --- collections


def test_limited_set() -> None:
    kept = c.LimitedSet(maxlen=2)
    for item in "abc":
        kept.add(item)
    assert list(kept) == ["b", "c"]
    old = c.LimitedSet(expires=10, minlen=1)
    for n in range(3):
        old.add(n, now=n + 1.0)
    old.purge(now=12.5)
    assert list(old) == [2]
    copy = pickle.loads(pickle.dumps(kept))
    assert set(copy) == {"b", "c"}
    kept.discard("b")
    kept.update({"x": 1e12})
    assert list(kept) == ["c", "x"]
    with pytest.raises(ValueError):
        c.LimitedSet(maxlen=1, minlen=2)


def test_chain_map_and_views() -> None:
    low, high = {"a": 1, "b": 1}, {"a": 2}
    chained = c.ChainMap(high, low)
    chained["c"] = 3
    assert (chained["a"], chained["b"], high["c"], len(chained)) == (2, 1, 3, 3)
    view = c.ConfigurationView({"x": 1}, [{"y": 2}])
    assert (view.x, view.y, view.get("z", 3), view.first("z", "y")) == (1, 2, 3, 2)
    with pytest.raises(KeyError):
        _ = chained["no"]


def test_attributes_and_buffers() -> None:
    made = c.AttributeDict(a=1)
    made.b = 2
    assert (made.a, made["b"]) == (1, 2)
    with pytest.raises(AttributeError):
        _ = made.none
    assert c.force_mapping(LamportClock(4))["value"] == 4
    buffers = c.BufferMap(3)
    for n in range(5):
        buffers.put("k", n)
    assert buffers.total == 3
    assert buffers.take("k") == 2
    assert buffers.take("none", "default") == "default"


# --- serialisation


class Unpicklable(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(lambda: text)
        self.text = text


def test_exceptions_that_cannot_be_pickled() -> None:
    error = serialization.get_pickleable_exception(Unpicklable("x"))
    assert isinstance(error, serialization.UnpickleableExceptionWrapper)
    again = pickle.loads(pickle.dumps(error))
    assert again.exc_cls_name == "Unpicklable"
    assert type(serialization.get_pickled_exception(again)).__name__ == "Unpicklable"
    whole = ValueError("v")
    assert serialization.get_pickleable_exception(whole) is whole


def test_words_for_true_and_false() -> None:
    assert serialization.strtobool("yes") is True
    assert serialization.strtobool("0") is False
    assert serialization.strtobool(3) == 3
    with pytest.raises(TypeError):
        serialization.strtobool("perhaps")


def test_jsonify() -> None:
    import datetime as dt

    moment = dt.datetime(2030, 1, 2, tzinfo=dt.timezone.utc)
    assert serialization.jsonify({"a": (1, moment)}) == {"a": [1, "2030-01-02T00:00:00Z"]}
    with pytest.raises(ValueError):
        serialization.jsonify(object())


def test_raising_with_context() -> None:
    with pytest.raises(ValueError) as caught:
        try:
            raise KeyError("first")
        except KeyError:
            serialization.raise_with_context(ValueError("second"))
    assert isinstance(caught.value.__cause__, KeyError)


# --- the rest


def test_abstract_classes(app: Any) -> None:
    task = app.task(name="t")(lambda: None)
    assert isinstance(task.s(), abstract.CallableSignature)
    assert isinstance(task, abstract.CallableTask)
    assert not isinstance(3, abstract.CallableTask)


def test_the_clock() -> None:
    clock = LamportClock()
    assert [clock.forward(), clock.adjust(10), clock.adjust(3)] == [1, 11, 12]
    assert clock.sort_heap([(1, "b"), (1, "a"), (2, "c")]) == (1, "a")
    assert clock.sort_heap([(1, "b"), (2, "a")]) == (1, "b")
