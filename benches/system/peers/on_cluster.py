"""celeriac on a Redis Cluster of three masters, and the same on one redis-server beside it: what the cluster costs."""

from __future__ import annotations

from benches.system.peers.base import Celeriac


class OnCluster(Celeriac):
    """Queues and results in one slot, so one of the three nodes carries all."""

    setup = "`worker -P prefork -c 2`, `redis+cluster://` with three nodes"
    jobs = frozenset({"send", "bulk", "drain-bare", "drain", "latency"})
    pool = ("-P", "prefork", "-c", "2")


class OnServer(OnCluster):
    """celeriac without a cluster: what the ratios are about."""

    name = "one-server"
    setup = "celeriac, too: `worker -P prefork -c 2`, `redis://` with one server, in the same run"
    beside = True


PEERS = (OnCluster(), OnServer())
