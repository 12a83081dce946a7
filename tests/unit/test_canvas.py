"""Signatures: merging, links, freezing; and what comes later says so."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from celeriac.canvas import Signature, chain, group, maybe_signature, signature
from celeriac.exceptions import NotRegistered


@pytest.fixture
def add(app: Any) -> Any:
    @app.task(name="proj.add", shared=False)
    def add(x: int, y: int, z: int = 0) -> int:
        return x + y + z

    return add


def test_a_signature_is_its_dict(add: Any) -> None:
    made = add.s(1, 2, z=3)
    assert made == {
        "task": "proj.add",
        "args": (1, 2),
        "kwargs": {"z": 3},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }
    assert repr(made) == "proj.add(1, 2, z=3)"
    assert json.loads(json.dumps(made))["args"] == [1, 2]


def test_every_way_to_make_one(app: Any, add: Any) -> None:
    by_task = add.signature((1, 2), countdown=3)
    by_name = signature("proj.add", (1, 2), countdown=3)
    by_app = app.signature("proj.add", args=(1, 2), countdown=3)
    by_dict = signature(dict(by_task))
    assert by_task == by_name == by_app == by_dict
    assert signature(by_task) is not by_task


def test_calling_runs_in_process(add: Any) -> None:
    assert add.s(2)(1) == 3
    assert add.si(1, 2)(5, 5) == 3


@pytest.mark.parametrize(
    ("immutable", "args", "kwargs"),
    [(False, (9, 1), {"z": 2, "y": 3}), (True, (1,), {"z": 1})],
    ids=["partial", "immutable"],
)
def test_new_arguments_go_before_and_over(immutable: bool, args: Any, kwargs: Any) -> None:
    made: Any = Signature("t", (1,), {"z": 1}, immutable=immutable).clone((9,), {"z": 2, "y": 3}, queue="q")
    assert (made.args, made.kwargs, made.options) == (args, kwargs, {"queue": "q"})


def test_group_and_stamps_are_kept() -> None:
    made: Any = Signature("t", options={"group_id": "g", "stamped_headers": ["s"], "s": 1})
    merged = made.clone(group_id="other", s=2, stamped_headers=["x"], queue="q")
    assert merged.options == {"group_id": "g", "stamped_headers": ["s"], "s": 1, "queue": "q"}


def test_links_are_added_once_and_returned() -> None:
    made: Any = Signature("t")
    callback: Any = Signature("c")
    assert made.link(callback) is callback
    made.link(Signature("c"))
    assert made.options["link"] == [callback]
    assert made.on_error(Signature("e")) is made
    assert made.options["link_error"] == [Signature("e")]
    callback.link(Signature("d"))
    assert [each.task for each in made.flatten_links()] == ["t", "c", "d"]


def test_a_clone_shares_nothing(add: Any) -> None:
    made = add.s(1)
    made.link(add.s(2))
    copied = made.clone()
    copied.options["link"].append("x")
    assert len(made.options["link"]) == 1
    assert type(copied.options["link"][0]) is dict


def test_set_and_replace() -> None:
    made: Any = Signature("t", (1,), {"a": 1})
    assert made.set(queue="q", immutable=True) is made
    assert made.immutable
    other = made.replace(args=(2,), kwargs={}, options={})
    assert (other.args, other.kwargs, other.options) == ((2,), {}, {})


def test_freezing_gives_an_id_once(add: Any) -> None:
    made = add.s(1, 2)
    result = made.freeze(group_id="g", root_id="r", parent_id="p", group_index=2, chord={"task": "b"})
    assert made.id == result.id
    assert made.freeze(group_id="other").id == result.id
    assert made.options["group_id"] == "g"
    assert (made.root_id, made.parent_id, made.options["group_index"]) == ("r", "p", 2)
    assert made.options["reply_to"] == made.app.thread_oid


def test_sending_a_signature(app: Any, add: Any, broker: Any) -> None:
    add.s(2).set(queue="q").delay(1)
    sent = broker.message()
    assert sent.body[0] == [1, 2]
    assert sent.routing_key == "q"
    app.signature("unknown.task", (1,), queue=None).apply_async(headers={"h": 1})
    assert broker.message().headers["task"] == "unknown.task"
    assert broker.message().headers["h"] == 1


def test_links_go_with_the_message(add: Any, broker: Any) -> None:
    add.apply_async((1, 2), link=add.s(3), link_error=[add.si(4, 5)])
    embed = broker.message().body[2]
    assert embed["callbacks"][0]["args"] == [3]
    assert embed["errbacks"][0]["immutable"] is True
    assert embed["chain"] is None


def test_the_type_is_the_task(app: Any, add: Any) -> None:
    assert app.signature("proj.add").type == add
    with pytest.raises(NotRegistered):
        _ = app.signature("proj.none").type


def test_maybe_signature(app: Any) -> None:
    assert maybe_signature(None) is None
    made: Any = Signature("t")
    assert maybe_signature(made) is made
    assert maybe_signature(made, clone=True) is not made
    assert maybe_signature({"task": "t"}, app=app).app is app


def test_copies_and_pickles(add: Any) -> None:
    made = add.s(1)
    assert copy.copy(made) == made
    assert type(copy.deepcopy(made)) is dict
    made._app = None
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize(
    "make",
    [
        lambda s: s | s,
        lambda s: s.__ior__(s),
        lambda s: chain(s, s),
        lambda s: group([s]),
        lambda s: s.stamp(x=1),
        lambda s: signature({"task": "celery.chain", "subtask_type": "chain"}),
    ],
)
def test_work_flows_say_that_they_come_later(make: Any) -> None:
    with pytest.raises(NotImplementedError, match="not there yet"):
        make(Signature("t"))


def test_several_signatures_leave_as_one_group(app: Any, add: Any, broker: Any) -> None:
    from celeriac.canvas import send_as_group

    add.push_request(id="p", called_directly=False)
    try:
        whole = send_as_group(app, [add.s(1), add.si(2, 3)], (9,), {"root_id": "r", "parent_id": "p"})
        assert add.request.children == [whole]
    finally:
        add.pop_request()
    first, second = broker.message(0), broker.message(1)
    assert first.headers["group"] == second.headers["group"] == whole.id
    assert [first.headers["group_index"], second.headers["group_index"]] == [0, 1]
    assert [first.body[0], second.body[0]] == [[9, 1], [2, 3]]
    assert [result.id for result in whole.results] == [first.headers["id"], second.headers["id"]]
