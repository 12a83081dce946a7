"""The worker: `WorkController` drives hub and pool; `celeriac.apps.worker.Worker` makes a program of it."""

from celeriac.worker.worker import WorkController

__all__ = ["WorkController"]
