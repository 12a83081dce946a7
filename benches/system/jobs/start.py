"""How long until it can be used: import, worker start."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time

from benches.system.client import WARM
from benches.system.peers.base import ROOT, Peer
from benches.system.stage import Scope, stage

_IMPORTS = 7


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


def import_time(peer: Peer, scope: Scope) -> dict[str, float]:
    """`import_ms`: with the import, less a bare interpreter, wall time, medians. The first run is thrown away."""
    module, use = peer.imports
    runs = max(2, int(_IMPORTS * min(1, scope.scale)))
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


def start(peer: Peer, scope: Scope) -> dict[str, float]:
    """Tasks wait; from starting the process to the counter's move. Then what the worker takes when it has no work."""
    count = WARM + 1
    with stage(peer, scope, count) as here:
        here.client("fill", count)
        worker = here.worker()
        seen = here.wait_done(1, worker)
        first_ms = (seen[-1][0] - worker.began) * 1e3
        here.wait_done(count, worker)
        time.sleep(0.5)  # what starting leaves to be done is not idling
        pss_mib = worker.pss_mib()
        before, began = worker.cpu(), time.perf_counter()
        time.sleep(scope.seconds)
        idle, seconds = worker.cpu().since(before), time.perf_counter() - began
    return {
        "first_task_ms": first_ms,
        "pss_mib": pss_mib,
        "idle_cpu_percent": idle.worker / seconds * 100,
        "idle_store_cpu_percent": idle.store / seconds * 100,
    }
