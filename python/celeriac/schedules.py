"""Schedules of periodic tasks come with `celeriac beat`, which is not there yet: an import says so and nothing else."""

from __future__ import annotations

raise ModuleNotFoundError(
    "celeriac.schedules (crontab, schedule, solar) is not there yet: periodic tasks come with a later version, see "
    "docs/status.md",
    name=__name__,
)
