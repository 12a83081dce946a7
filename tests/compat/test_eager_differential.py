"""The same eager tasks on real Celery: handlers, signals and results come in the same order. Needs `make venvs`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.needs import celery_python

pytestmark = pytest.mark.celery_peer

SIDE = Path(__file__).with_name("eager_side.py")


def run(python: str, package: str) -> dict[str, list[Any]]:
    done = subprocess.run([python, str(SIDE), package], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    scenes: dict[str, list[Any]] = {}
    for what, *rest in json.loads(done.stdout):
        if what == "---":
            scene = scenes[rest[0]] = []
        else:
            scene.append([what, *rest])
    return scenes


def test_eager_tasks_do_the_same() -> None:
    ours, theirs = run(sys.executable, "celeriac"), run(str(celery_python()), "celery")
    assert list(ours) == list(theirs)
    for name, scene in theirs.items():
        if name in {"failure thrown", "propagates"}:
            # Celery takes a failure that is thrown for one of its own: an internal error, and postrun without a state.
            assert [each[0] for each in ours[name]] == [each[0] for each in scene if each[0] != "task_internal_error"]
            assert ours[name][2][2]["state"] == "FAILURE"
        else:
            assert ours[name] == scene, name
