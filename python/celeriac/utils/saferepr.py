"""`saferepr`: a text of any value, bounded in length and depth, that never fails."""

from __future__ import annotations

from typing import Any

from celeriac._bridge.codec import bounded_repr

__all__ = ["saferepr"]


def saferepr(o: Any, maxlen: int | None = None, maxlevels: int = 3, seen: Any = None) -> str:
    """`repr`, cut after `maxlen` characters (None: as good as never) and `maxlevels` levels."""
    del seen
    return bounded_repr(o, maxlen if maxlen is not None else 1 << 30, maxlevels)
