"""Waiting for a condition with a bound. For processes and files there is no better event."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(probe: Callable[[], T], *, timeout: float, what: str, every: float = 0.005) -> T:
    """The first truthy value of `probe()`.

    Raises:
        TimeoutError: none within `timeout` seconds; names `what` and the last value.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {timeout} s; last value: {value!r}")
        time.sleep(every)
