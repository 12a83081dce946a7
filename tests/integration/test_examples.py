"""The README's file, every example and the demo run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.worker import ROOT, Process, environment

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("[a-z]*.py"))


def run(*argv: str, folder: Path, timeout: float = 50) -> str:
    """The output of `python ARGV`; it must exit with 0."""
    env = environment("unused")
    done = subprocess.run(
        [sys.executable, *argv], cwd=folder, env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_readmes_file_runs_with_its_two_commands(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    found = re.search(r"```python\n# shop\.py\n(.*?)```", readme, re.DOTALL)
    assert found
    (tmp_path / "shop.py").write_text(found[1])
    commands = re.findall(r"^celeriac -A shop worker$|^python shop\.py$", readme, re.MULTILINE)
    assert commands == ["celeriac -A shop worker", "python shop.py"]
    argv = [sys.executable, "-m", *commands[0].split()]
    with Process(argv, folder=tmp_path, env=environment("unused"), name="worker"):
        assert run("shop.py", folder=tmp_path) == "1.5\n"
    assert (tmp_path / "celeriac.db").exists()


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    assert run("-m", f"examples.{name}", folder=tmp_path)


def test_demo_counts_every_word_of_a_folder(tmp_path: Path) -> None:
    text = run("-m", "examples.indexer", str(ROOT / "docs"), folder=tmp_path)
    assert "wrong" not in text
    assert "p99" in text


def test_demo_fails_if_there_is_nothing_to_index(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.indexer", str(tmp_path)],
        cwd=tmp_path,
        env=environment("unused"),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert "no text file" in done.stdout
