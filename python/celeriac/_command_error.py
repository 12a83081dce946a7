"""The one exception that derives from click's; apart so that `celeriac.exceptions` does not import click."""

from __future__ import annotations

import click


class CeleryCommandException(click.ClickException):
    """A command that failed with a message for the operator and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # as click documents it
