"""How long until it can be used: import, worker start."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time

from benches.system.peers import ROOT, Peer
from benches.system.stage import stage

_IMPORTS = 15


def _run_s(peer: Peer, code: str) -> float:
    began = time.perf_counter()
    subprocess.run([peer.python, "-c", code], check=True, cwd=ROOT, env=_env())
    return time.perf_counter() - began


def _env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _importtime_s(peer: Peer, module: str) -> float:
    """Cumulative time of the outermost import, as the interpreter itself counts it."""
    done = subprocess.run(
        [peer.python, "-X", "importtime", "-c", f"import {module}"],
        check=True, cwd=ROOT, env=_env(), capture_output=True, text=True,
    )  # fmt: skip
    lines = re.findall(rf"^import time:\s+\d+ \|\s+(\d+) \| {re.escape(module)}$", done.stderr, re.MULTILINE)
    return int(lines[-1]) / 1e6


def import_time(peer: Peer, scale: float) -> dict[str, float]:
    """`import_ms`: with the import, less a bare interpreter, wall time, medians. The first run is thrown away."""
    module = "celeriac" if peer.name.startswith("celeriac") else peer.name
    use = {"celeriac": "from celeriac import Celeriac; Celeriac", "huey": "from huey import SqliteHuey"}[module]
    runs = max(5, int(_IMPORTS * scale))
    _run_s(peer, f"import {module}")
    bare, full, used, told = [], [], [], []
    for _ in range(runs):
        bare.append(_run_s(peer, "pass"))
        full.append(_run_s(peer, f"import {module}"))
        used.append(_run_s(peer, use))
        told.append(_importtime_s(peer, module))
    base = statistics.median(bare)
    return {
        "import_ms": (statistics.median(full) - base) * 1e3,
        "first_use_ms": (statistics.median(used) - base) * 1e3,
        "importtime_ms": statistics.median(told) * 1e3,
        "bare_interpreter_ms": base * 1e3,
    }


def start(peer: Peer, scale: float) -> dict[str, float]:
    """One task waits; from starting the process to the counter's move. The store exists."""
    del scale
    count = 10  # what `send` warms up with
    with stage(peer, count) as here:
        here.client("send", count + 1)
        worker = here.worker()
        seen = here.wait_done(1, worker)
        pss_began = worker.pss_mib()
        return {"first_task_ms": (seen[-1][0] - worker.began) * 1e3, "pss_mib": pss_began}
