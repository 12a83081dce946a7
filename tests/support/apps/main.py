"""The application of `Worker`: broker, backend and settings come from the environment (T_*)."""

from __future__ import annotations

import json
import os
from pathlib import Path

from celeriac.signals import worker_ready
from tests.support.apps.tasks import build

app = build(os.environ["T_BROKER"], os.environ.get("T_BACKEND"), json.loads(os.environ.get("T_CONF", "{}")))


@worker_ready.connect(weak=False)
def tell_ready(**_: object) -> None:
    if path := os.environ.get("T_READY"):
        Path(path).touch()


if name := os.environ.get("T_ALSO"):  # a task that other workers of the test do not know

    @app.task(name=name)
    def also(x: int, y: int) -> int:
        return x + y
