"""docs/reference/cli.md says what the program does."""

from __future__ import annotations

from pathlib import Path

from celeriac.bin._reference import pages

PAGE = Path(__file__).resolve().parents[3] / "docs/reference/cli.md"


def test_the_reference_is_current() -> None:
    assert PAGE.read_text() == pages(), "run: python -m celeriac.bin._reference > docs/reference/cli.md"
