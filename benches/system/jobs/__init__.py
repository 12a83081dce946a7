"""The jobs: each measures one peer once and returns its figures, numbers by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benches.system.jobs.latency import latency, loaded_latency
from benches.system.jobs.memory import backlog, future, memory
from benches.system.jobs.start import import_time, start
from benches.system.jobs.throughput import bulk, drain, drain_bare, send
from benches.system.peers.base import Peer
from benches.system.stage import Scope

Figures = dict[str, float]


@dataclass(frozen=True)
class Job:
    """`once`: one round is enough, and all that there is time for."""

    name: str
    about: str
    measure: Callable[[Peer, Scope], Figures]
    once: bool = False


JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        Job("send", "`delay()` one by one, no worker, no results wanted", send),
        Job("bulk", "the same no-ops through the bulk call", bulk),
        Job("drain-bare", "a worker empties a full queue of no-ops, without results", drain_bare),
        Job("drain", "a worker empties a full queue of no-ops and stores their results", drain),
        Job("latency", "submit → result between two processes, idle worker, one at a time", latency),
        Job("loaded-latency", "the same while another client sends 200 tasks/s", loaded_latency),
        Job("start", "from starting the worker process to the first task run; then its CPU without work", start),
        Job("import", "what importing the package adds to a bare interpreter", import_time, once=True),
        Job("backlog", "a drain's rate with 10,000 and with 1,000,000 tasks waiting behind it", backlog, once=True),
        Job("memory", "the worker over 1,000,000 tasks, sent while it runs", memory, once=True),
        Job("future", "1,000,000 tasks due tomorrow: the worker's memory and rate", future, once=True),
    )
}
