"""`python -m celeriac` and the script `celeriac`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line."""
    from celeriac.bin.celery import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
