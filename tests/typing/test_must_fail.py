"""Wrong calls of tasks are found by the type checker, and each with the error that its line announces."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
_MARK = re.compile(r"# error: ([\w, -]+)$")
_LINE = re.compile(r"^[^:]+:(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)


@pytest.mark.timeout(180)  # a cold cache makes mypy read the whole package
@pytest.mark.parametrize("page", sorted((HERE / "must_fail").glob("*.py")), ids=lambda page: page.stem)
def test_wrong_use_is_found(page: Path) -> None:
    expected = {
        (number, code)
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if (mark := _MARK.search(line))
        for code in mark[1].split(", ")
    }
    assert expected
    argv = [sys.executable, "-m", "mypy", "--no-error-summary", "--exclude", "^$", str(page)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    found = {(int(number), code) for number, code in _LINE.findall(done.stdout)}
    assert found == expected, done.stdout + done.stderr
