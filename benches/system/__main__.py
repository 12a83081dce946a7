"""`python -m benches.system [JOB ...] [--broker redis|redis-cluster|sqlite] [--peers a,b] [--rounds N]
[--quick | --full]`.

Runs, prints a table, writes raw JSON.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

from benches import record
from benches.system import table
from benches.system.jobs import JOBS, Job
from benches.system.noise import Noise
from benches.system.peers import PEERS, Peer
from benches.system.stage import BenchFailed, Scope, try_out
from benches.system.stats import spread
from benches.system.stores import Store, store

_ROUNDS = 2


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.system", description="Whole runs, beside peers.")
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"one or more of: {', '.join(JOBS)} (default: all)")
    parser.add_argument("--broker", choices=list(PEERS), default="redis", help="where tasks are kept (default redis)")
    parser.add_argument("--peers", help="comma list (default: all that are installed; --list names them)")
    parser.add_argument("--rounds", type=int, help=f"rounds a job and peer (default {_ROUNDS}, with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="short rounds, one each, no jobs of a million tasks")
    parser.add_argument("--full", action="store_true", help="backlog, memory and future with five times as many tasks")
    parser.add_argument(
        "--out", type=Path, help="folder of the JSON (default: benches/results; its `local`, if not all was run)"
    )
    parser.add_argument("--list", action="store_true", help="say what the jobs and the peers are, and end")
    options = parser.parse_args()
    for job in options.jobs:
        if job not in JOBS:
            parser.error(f"no job named {job!r}: choose from {', '.join(JOBS)}")
    known = PEERS[options.broker]
    for peer in options.peers.split(",") if options.peers else ():
        if peer not in known:
            parser.error(f"no peer named {peer!r} on {options.broker}: choose from {', '.join(known)}")
    return options


def _round(job: Job, peer: Peer, scope: Scope) -> dict[str, float]:
    with Noise(scope.store.cpu_seconds) as noise:
        figures = job.measure(peer, scope)
    return {**figures, "others_cores": noise.cores}


def _run(job: Job, peers: list[Peer], rounds: int, scope: Scope) -> dict[str, Any]:
    """All peers of a job, taking turns, so that a noisy minute meets all of them."""
    raw: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers if job.name in peer.jobs}
    errors: dict[str, str] = {}
    for turn in range(1 if job.once else rounds):
        for peer in peers:
            if peer.name not in raw or peer.name in errors:
                continue
            print(f"{job.name:<15} {peer.name:<16} round {turn + 1} ", end="", file=sys.stderr, flush=True)
            try:
                figures = _round(job, peer, scope)
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


def reason(log: str) -> str:
    """The line of a failure's text that says why: the last one that an interpreter or a command line ended with."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = [line for line in lines[1:] if re.match(r"(?!hint)[A-Za-z_][\w.]*: \S", line)]
    return said[-1] if said else lines[0]


def _able(peers: list[Peer], scope: Scope) -> tuple[list[Peer], dict[str, str]]:
    """Those that run a task here, and why the others do not."""
    able, why = [], {}
    for peer in peers:
        try:
            if not peer.present():
                raise BenchFailed(f"{peer.name}: not installed: run `make {Path(peer.python).parents[1]}/.ready`")
            try_out(peer, scope)
        except BenchFailed as error:
            why[peer.name] = reason(str(error))
            print(f"{peer.name:<16} not available: {error}", file=sys.stderr, flush=True)
        else:
            able.append(peer)
            print(f"{peer.name:<16} works", file=sys.stderr, flush=True)
    return able, why


def _measure(options: argparse.Namespace, kept: Store, rounds: int) -> dict[str, Any]:
    known = PEERS[options.broker]
    peers = [known[name] for name in (options.peers.split(",") if options.peers else known)]
    scope = Scope(
        kept,
        seconds=0.4 if options.quick else 2.0,
        scale=0.05 if options.quick else 5.0 if options.full else 1.0,
    )
    able, why = _able(peers, scope)
    measured: dict[str, Any] = {
        "broker": options.broker,
        "store": kept.versions(),
        "peers": {
            peer.name: {"setup": peer.setup, "versions": peer.versions() if peer.present() else {}}
            | ({"unavailable": why[peer.name]} if peer.name in why else {})
            for peer in peers
        },
        "jobs": {},
    }
    # A look shows that the rates can be taken; what takes a million tasks is to be asked for by name.
    for name in options.jobs or [name for name, job in JOBS.items() if not (options.quick and job.once)]:
        measured["jobs"][name] = _run(JOBS[name], able, rounds, scope)
    return measured


def main() -> int:
    options = _options()
    if options.list:
        for job in JOBS.values():
            print(f"{job.name:<16} {job.about}")
        for peer in PEERS[options.broker].values():
            print(f"{peer.name:<16} {peer.setup}{'' if peer.present() else ' (not installed)'}")
        return 0
    # No turbo or pinning is asked for: it is a shared machine's figures that we want to be able to repeat.
    os.environ.setdefault("PYTHONHASHSEED", "0")
    rounds = options.rounds or (1 if options.quick else _ROUNDS)
    with store(options.broker) as kept:
        measured = _measure(options, kept, rounds)
    # A look, or a part, must not take the place of the last whole run in docs/performance.md.
    part = "-quick" if options.quick else "-part" if options.jobs or options.peers else ""
    path = record.write(
        f"system-{options.broker}{part}", measured, options.out or (record.RESULTS / "local" if part else None)
    )
    print(table.whole(measured))
    print(f"\nraw: {path}")
    return int(any("error" in figures for job in measured["jobs"].values() for figures in job.values()))


if __name__ == "__main__":
    sys.exit(main())
