"""The types that users see: files that must pass mypy's strict mode, and lines that must not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ERROR = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$")


def mypy(path: Path, cache: Path) -> tuple[str, int]:
    out, err, code = api.run(["--strict", "--no-error-summary", "--config-file=", f"--cache-dir={cache}", str(path)])
    assert err == ""
    return out, code


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for this module: the second run then takes a tenth of the time."""
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", sorted((HERE / "must_pass").glob("*.py")), ids=lambda path: path.name)
def test_what_users_write_type_checks(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPYPATH", str(ROOT / "python"))
    out, code = mypy(path, cache)
    assert (out, code) == ("", 0)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", sorted((HERE / "must_fail").glob("*.py")), ids=lambda path: path.name)
def test_mistakes_do_not_type_check(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPYPATH", str(ROOT / "python"))
    out, _ = mypy(path, cache)
    found = {(int(m["line"]), m["code"]) for line in out.splitlines() if (m := ERROR.match(line))}
    wanted = {
        (number, line.rpartition("# error: ")[2].strip())
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "# error: " in line and not line.startswith('"""')
    }
    assert found == wanted, out
