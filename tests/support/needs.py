"""What a test needs from the machine: skipped at a desk, failed in CI."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]


def missing(what: str, hint: str) -> NoReturn:
    """Skips the test, or fails it when CI is set: there, everything must be there."""
    text = f"{what} is missing: {hint}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


def celery_python() -> Path:
    """The interpreter that has real Celery."""
    path = ROOT / ".venvs/celery/bin/python"
    return path if path.exists() else missing("real Celery", "run `make venvs`")


def vectors() -> Path:
    """The folder of captured bytes: in the repository's tests, or beside the repository."""
    for path in (ROOT / "tests/compat/vectors", ROOT.parent / "shared/vectors"):
        if path.is_dir():
            return path
    missing("the folder of golden vectors", "put it beside the repository as shared/vectors")


def root() -> None:
    if os.geteuid() != 0:
        # Not a failure in CI either: whether one may mount is the machine's affair, not a forgotten install.
        pytest.skip("needs to be root")
