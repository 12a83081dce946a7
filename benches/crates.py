"""`python -m benches.crates`: runs `cargo bench` and writes what it measured as raw JSON.

Two kinds of benches: criterion's (medians are read from `target/criterion`) and plain programs over long runs, which
print one line of JSON a measure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benches import record


def _medians(folder: Path, since: float) -> dict[str, Any]:
    """Criterion's estimates that are newer than `since` (seconds since the epoch), by full name."""
    found = {}
    for path in sorted(folder.glob("**/new/estimates.json")):
        if path.stat().st_mtime >= since:
            about = json.loads(path.with_name("benchmark.json").read_text())
            estimates = json.loads(path.read_text())
            found[about["full_id"]] = {"median_ns": estimates["median"]["point_estimate"]}
    return found


def _printed(text: str) -> list[dict[str, Any]]:
    """The lines of JSON among what the programs print."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def main() -> int:
    # `cargo bench` takes PyO3's interpreter from here, as every other target does.
    env = {"PYO3_PYTHON": sys.executable, **os.environ}
    began = time.time()
    command = ["cargo", "bench", "--workspace", "--quiet", *sys.argv[1:]]
    with subprocess.Popen(command, cwd=record.ROOT, env=env, stdout=subprocess.PIPE, text=True) as cargo:
        assert cargo.stdout
        lines = []
        for line in cargo.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if cargo.returncode:
        return cargo.returncode
    target = Path(env.get("CARGO_TARGET_DIR", record.ROOT / "target"))
    measured = {"criterion": _medians(target / "criterion", began), "programs": _printed("".join(lines))}
    # A part must not take the place of the last whole run.
    out = record.RESULTS / "local" if sys.argv[1:] else None
    print(f"raw: {record.write('crates-part' if sys.argv[1:] else 'crates', measured, out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
