"""`python -m benches.system [JOB ...] [--quick] [--rounds N] [--peers a,b]`: runs, prints a table, writes raw JSON."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from benches import record
from benches.system import table
from benches.system.jobs import JOBS, Job
from benches.system.noise import Noise
from benches.system.peers import PEERS, Peer
from benches.system.stage import BenchFailed
from benches.system.stats import spread


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.system", description="Whole runs, beside peers.")
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"one or more of: {', '.join(JOBS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, one round: shows that it runs")
    parser.add_argument("--rounds", type=int, help="rounds a job and peer (default 5, with --quick 1)")
    parser.add_argument("--peers", help=f"comma list of: {', '.join(PEERS)} (default: all that are installed)")
    parser.add_argument(
        "--out", type=Path, help="folder of the JSON (default: benches/results; its `local`, if not all was run)"
    )
    parser.add_argument("--list", action="store_true", help="say what the jobs and the peers are, and end")
    options = parser.parse_args()
    for job in options.jobs:
        if job not in JOBS:
            parser.error(f"no job named {job!r}: choose from {', '.join(JOBS)}")
    for peer in options.peers.split(",") if options.peers else ():
        if peer not in PEERS:
            parser.error(f"no peer named {peer!r}: choose from {', '.join(PEERS)}")
    return options


def _round(job: Job, peer: Peer, scale: float) -> dict[str, float]:
    with Noise() as noise:
        figures = job.measure(peer, scale)
    return {**figures, "others_cores": noise.cores}


def _run(job: Job, peers: list[Peer], rounds: int, scale: float) -> dict[str, Any]:
    """All peers of a job, taking turns, so that a noisy minute meets all of them."""
    raw: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers if job.name in peer.jobs}
    errors: dict[str, str] = {}
    for turn in range(1 if job.once else rounds):
        for peer in peers:
            if peer.name not in raw or peer.name in errors:
                continue
            print(f"{job.name:<15} {peer.name:<14} round {turn + 1} ", end="", file=sys.stderr, flush=True)
            try:
                figures = _round(job, peer, scale)
            except BenchFailed as error:
                errors[peer.name] = str(error)
                print(f"FAILED: {error}", file=sys.stderr, flush=True)
                continue
            raw[peer.name].append(figures)
            shown = ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())
            print(shown, file=sys.stderr, flush=True)
    answer: dict[str, Any] = {}
    for name, turns in raw.items():
        if name in errors:
            answer[name] = {"error": errors[name].splitlines()[0], "rounds": turns}
        elif turns:
            answer[name] = {"rounds": turns, "spread": {key: spread([t[key] for t in turns]) for key in turns[0]}}
    return answer


def main() -> int:
    options = _options()
    peers = [PEERS[name] for name in (options.peers.split(",") if options.peers else PEERS)]
    if options.list:
        for job in JOBS.values():
            print(f"{job.name:<15} {job.about}")
        for peer in peers:
            print(f"{peer.name:<15} {peer.setup}{'' if peer.present() else ' (not installed)'}")
        return 0
    # No turbo or pinning is asked for: it is a shared machine's figures that we want to be able to repeat.
    os.environ.setdefault("PYTHONHASHSEED", "0")
    peers = [peer for peer in peers if peer.present()]
    rounds = options.rounds or (1 if options.quick else 5)
    measured: dict[str, Any] = {
        "peers": {peer.name: {"setup": peer.setup, "versions": peer.versions()} for peer in peers},
        "jobs": {},
    }
    for name in options.jobs or JOBS:
        measured["jobs"][name] = _run(JOBS[name], peers, rounds, 0.1 if options.quick else 1.0)
    # A look, or a part, must not take the place of the last whole run in docs/performance.md.
    kind = "system-quick" if options.quick else "system-part" if options.jobs or options.peers else "system"
    folder = options.out or (None if kind == "system" else record.RESULTS / "local")
    path = record.write(kind, measured, folder)
    print(table.whole(measured))
    print(f"\nraw: {path}")
    return int(any("error" in figures for job in measured["jobs"].values() for figures in job.values()))


if __name__ == "__main__":
    sys.exit(main())
