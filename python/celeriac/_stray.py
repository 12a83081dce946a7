"""Which job is not this process's: that of the task which has forked it.

A task that comes back from `os.fork` twice would end twice, and its copy would go on with the child's next jobs.
"""

from __future__ import annotations

job: object = object()
"""None in a process that was forked by no task."""


def disown(running: object) -> None:
    """Says so of the job that was `running`, in a process that its task has just forked."""
    global job
    job = running
