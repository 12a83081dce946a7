"""Who takes part, by store. To add a peer: a script with its tasks and its `Client`, a class, a line in `PEERS`."""

from __future__ import annotations

from benches.system.peers import on_cluster, on_redis, on_sqlite
from benches.system.peers.base import Peer

PEERS: dict[str, dict[str, Peer]] = {
    store: {peer.name: peer for peer in module.PEERS}
    for store, module in (("redis", on_redis), ("redis-cluster", on_cluster), ("sqlite", on_sqlite))
}
