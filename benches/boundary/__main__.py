"""`python -m benches.boundary [--quick] [pytest's words]`: runs the benches, writes raw JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benches import record

_FOLDER = Path(__file__).parent


def _figures(found: dict[str, Any]) -> dict[str, Any]:
    stats, items = found["stats"], found["extra_info"].get("items", 1)
    return {
        "median_us": stats["median"] * 1e6,
        "low_us": stats["min"] * 1e6,
        "iqr_us": stats["iqr"] * 1e6,
        "rounds": stats["rounds"],
        "items": items,
    }


def main() -> int:
    words = sys.argv[1:]
    quick = "--quick" in words
    words = [word for word in words if word != "--quick"]
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.json"
        # The repository's own options skip benches.
        command = [sys.executable, "-m", "pytest", "-o", "addopts=--import-mode=importlib", "--benchmark-only", "-q"]
        command += [f"--benchmark-json={raw}", "--benchmark-disable-gc", "--benchmark-columns=median,min,iqr,rounds"]
        if quick:
            command += ["--benchmark-max-time=0.1", "--benchmark-min-rounds=3"]
        done = subprocess.run([*command, *(words or [str(_FOLDER)])], cwd=record.ROOT, check=False)
        if not raw.exists():
            return done.returncode or 1
        benches = json.loads(raw.read_text())["benchmarks"]
    # Parts and quick looks must not take the place of the last whole run.
    kind = "boundary-part" if quick or words else "boundary"
    out = None if kind == "boundary" else record.RESULTS / "local"
    path = record.write(kind, {bench["name"].removeprefix("test_"): _figures(bench) for bench in benches}, out)
    print(f"raw: {path}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
