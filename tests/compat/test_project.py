"""An application written for Celery runs on celeriac with nothing changed but the name it imports. Needs `make venvs`.

The same driver runs against Celery and its worker, and against celeriac and its worker, on the same kind of broker;
what it saw and what the tasks wrote into their ledger must be the same.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.interop import PEER, Library, python
from tests.support.redis_server import RedisServer
from tests.support.worker import Worker

pytestmark = [pytest.mark.celery_peer, pytest.mark.timeout(240)]

_IMPORT = re.compile(r"^(\s*(?:from|import)\s+)celery\b", re.MULTILINE)


class Seen(NamedTuple):
    """What the driver printed, and the ledger's lines with how often each came."""

    report: dict[str, Any]
    ledger: Counter[str]


def checkout(library: Library, folder: Path) -> Path:
    """The application in `folder`; for celeriac with its import lines renamed, and no other line."""
    for source in (PEER / "newsroom").rglob("*.py"):
        text = source.read_text()
        renamed = _IMPORT.sub(rf"\1{library}", text)
        changed = [new for old, new in zip(text.splitlines(), renamed.splitlines(), strict=True) if old != new]
        assert all(f" {library}" in line for line in changed)
        target = folder / source.relative_to(PEER)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(renamed)
    return folder


def run(library: Library, server: RedisServer, database: int, folder: Path) -> Seen:
    checkout(library, folder)
    url = server.url_of(database)
    ledger = folder / "ledger.txt"
    ledger.touch()
    ready = folder / "ready"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY", "CELERIAC"))}
    env.update(
        NEWSROOM_BROKER=url,
        NEWSROOM_BACKEND=url,
        NEWSROOM_LEDGER=str(ledger),
        PYTHONPATH=str(folder),
        C_FORCE_ROOT="1",
        T_READY=str(ready),
    )
    argv = [str(python(library)), "-m", library, "-A", "newsroom", "worker", "-P", "prefork", "-c", "2", "-l", "INFO"]
    argv += ["-Q", "newsroom,media,large,accounts", "-n", "desk@test"]
    with Worker(argv, folder=folder, env=env, name=library) as worker:
        worker.ready = ready
        worker.wait_ready(30)
        driver = [str(python(library)), "-m", "newsroom.drive"]
        done = subprocess.run(driver, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{done.stderr}\n{worker.output()}"
        assert worker.stop(30) == 0
    return Seen(json.loads(done.stdout), Counter(ledger.read_text().splitlines()))


def test_an_application_for_celery_sees_no_difference(redis_server: RedisServer, tmp_path: Path) -> None:
    theirs = run("celery", redis_server, 1, tmp_path / "celery")
    ours = run("celeriac", redis_server, 2, tmp_path / "celeriac")
    assert len(theirs.report) > 30
    for name, value in theirs.report.items():
        assert ours.report[name] == value, name
    assert ours.ledger == theirs.ledger
