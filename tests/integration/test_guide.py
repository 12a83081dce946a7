"""The guide is true: a page's files are written, a worker is started on the first, its prompts must answer as shown."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.worker import ROOT, Process, environment

GUIDE = sorted(path for path in (ROOT / "docs/guide").glob("*.md") if path.name != "README.md")
_FILE = re.compile(r"^```python\n# (\w+)\.py\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"^```pycon\n(.*?)^```", re.MULTILINE | re.DOTALL)

# A page that needs a server names it so; it gets the test's.
REDIS = "redis://localhost:6379/0"

# Runs in the page's folder: the prompts of a page are one session.
RUNNER = """
import doctest, sys
from pathlib import Path
test = doctest.DocTestParser().get_doctest(Path("prompts.txt").read_text(), {}, sys.argv[1], sys.argv[1], 0)
flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
runner = doctest.DocTestRunner(optionflags=flags)
runner.run(test)
assert runner.tries, "no prompts"
sys.exit(bool(runner.failures))
"""


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_page_does_what_it_shows(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    text = page.read_text()
    if REDIS in text:
        text = text.replace(REDIS, request.getfixturevalue("redis_server").url)
    files = dict(_FILE.findall(text))
    prompts = _PROMPT.findall(text)
    assert files
    assert prompts
    for name, code in files.items():
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "prompts.txt").write_text("\n".join(prompts))
    env = environment("unused", extra={"PYTHONPATH": str(ROOT)})
    argv = [sys.executable, "-m", "celeriac", "-A", next(iter(files)), "worker", "-P", "threads", "-c", "2"]
    with Process(argv, folder=tmp_path, env=env, name="worker") as worker:
        with Process([sys.executable, "-c", RUNNER, page.name], folder=tmp_path, env=env, name="session") as session:
            assert session.wait(50) == 0, session.output() + worker.output()
        assert worker.returncode is None, worker.output()
