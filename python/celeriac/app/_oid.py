"""Ids of apps, from node, process, thread and object."""

from __future__ import annotations

import os
import threading
from typing import Any

from celeriac._forks import forks

__all__ = ["oid_from"]

_node_id: tuple[int, int] | None = None


def oid_from(instance: Any, *, threads: bool) -> str:
    """A UUID3 text that is the same for the same object (and thread) of this process."""
    import uuid

    global _node_id
    if _node_id is None or _node_id[0] != forks.count:
        _node_id = forks.count, uuid.uuid4().int >> 80
    thread = threading.get_ident() if threads else 0
    return str(uuid.uuid3(uuid.NAMESPACE_OID, f"{_node_id[1]:x}-{os.getpid():x}-{thread:x}-{id(instance):x}"))
