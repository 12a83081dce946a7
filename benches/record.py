"""Raw results as dated JSON: what was measured, on which commit and machine. The docs take theirs from here only."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benches/results"


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kib / 2**20, 1),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "niceness": os.nice(0),
        "load_at_end": round(os.getloadavg()[0], 2),
    }


def write(kind: str, measured: dict[str, Any], folder: Path | None = None) -> Path:
    """Writes `measured` under a name made of date, kind and commit; returns the path."""
    now = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)
    commit = _git("rev-parse", "--short=10", "HEAD")
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no", "--", "rust", "python", "Cargo.lock"))
    record = {
        "kind": kind,
        "date": now.isoformat(),
        "commit": commit + ("+changes" if dirty else ""),
        "machine": machine(),
        "measured": measured,
    }
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y-%m-%dT%H%M}-{kind}-{commit}.json"
    path.write_text(json.dumps(record, indent=1, sort_keys=False) + "\n")
    return path


def latest(kind: str) -> dict[str, Any] | None:
    """The newest record of a kind, with its file name under `file`."""
    for path in sorted(RESULTS.glob(f"*-{kind}-*.json"), reverse=True):
        record: dict[str, Any] = json.loads(path.read_text())
        if record["kind"] == kind:  # the pattern for `system` finds `system-part` as well
            record["file"] = path.name
            return record
    return None
