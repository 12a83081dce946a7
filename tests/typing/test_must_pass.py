"""What users write type-checks in strict mode, whatever their own settings of mypy are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.mark.timeout(180)  # a cold cache makes mypy read the whole package
@pytest.mark.parametrize("page", sorted((HERE / "must_pass").glob("*.py")), ids=lambda page: page.stem)
def test_right_use_is_let_through(page: Path) -> None:
    argv = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(page)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
