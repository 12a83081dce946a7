"""A task that tells whether a worker answers: import this module in the app that the worker runs."""

from __future__ import annotations

from celeriac import shared_task


@shared_task(name="celery.ping")
def ping() -> str:
    """Answers `pong`."""
    return "pong"
