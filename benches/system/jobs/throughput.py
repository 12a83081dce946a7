"""How many a second: producer alone, worker alone."""

from __future__ import annotations

from benches.system.peers import Peer
from benches.system.stage import BenchFailed, stage


def _publish(peer: Peer, job: str, count: int) -> dict[str, float]:
    with stage(peer, count) as here:
        told = here.client(job, count)
        waiting = here.client("check")["waiting"]
        if waiting != count:
            raise BenchFailed(f"{peer.name}: sent {count}, {waiting} wait")
        return {
            "tasks_per_s": told["tasks"] / told["seconds"],
            "producer_cpu_us": told["cpu_seconds"] / told["tasks"] * 1e6,
            "tasks": told["tasks"],
            "file_bytes_per_task": here.file_mib() * 2**20 / count,
        }


def send(peer: Peer, scale: float) -> dict[str, float]:
    """One by one."""
    return _publish(peer, "send", int(peer.send_count * scale))


def bulk(peer: Peer, scale: float) -> dict[str, float]:
    """In batches of a thousand."""
    return _publish(peer, "bulk", int(peer.bulk_count * scale))


def drain(peer: Peer, scale: float) -> dict[str, float]:
    """The rate is taken from the first task seen to the last, so starting the worker is not in it.

    What ran may be ahead of what is stored by at most what the worker holds; after a warm shutdown the store is asked.
    """
    count = int(peer.drain_count * scale)
    with stage(peer, count) as here:
        sent = here.client("bulk" if "bulk" in peer.jobs else "send", count)
        worker = here.worker()
        seen = here.wait_done(count, worker)
        cpu = worker.cpu_seconds()
        pss = worker.pss_mib()
        stop_s = worker.stop()
        here.verify(count, sent["sample"])
    first, first_done = next((when, done) for when, done in seen if done)
    seconds = seen[-1][0] - first
    return {
        "tasks_per_s": (count - first_done) / seconds,
        "worker_cpu_us": cpu / count * 1e6,
        "pss_mib": pss,
        "stop_s": stop_s,
        "tasks": count,
    }
