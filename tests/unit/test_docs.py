"""The docs say what is: generated pages are up to date, and every link leads somewhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs/build.py")
assert _spec
assert _spec.loader
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)


@pytest.mark.parametrize("name", sorted(build.PAGES))
def test_reference_page_is_what_the_code_says(name: str) -> None:
    assert (build.REFERENCE / name).read_text() == build.PAGES[name](), "run `make docs`"


def test_every_link_leads_somewhere() -> None:
    assert build.broken_links() == []


def test_broken_links_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.md").write_text("# One `two`\n[ok](#one-two) [ok](b.md#x) [no](c.md) [no](#three) `[code](d.md)`\n")
    (tmp_path / "b.md").write_text("## X\n")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert build.broken_links() == ["a.md: c.md", "a.md: #three"]
