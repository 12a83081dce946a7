"""How often a fault test repeats itself: a number for every run, and a larger one with CELERIAC_STRESS=full."""

from __future__ import annotations

import os


def cycles(usual: int, full: int) -> int:
    """`usual`, or `full` where the environment asks for it. Bounds in time grow by the same factor: see `scaled`."""
    return full if os.environ.get("CELERIAC_STRESS") == "full" else usual


def scaled(seconds: float, usual: int, full: int) -> float:
    """A bound of `seconds` for `usual` repetitions, for as many as there will be."""
    return seconds * cycles(usual, full) / usual
