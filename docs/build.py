"""`make docs`: writes the reference pages from the code, then checks every link of every page.

`--check` writes nothing and fails if a page is not what the code says; tests/unit/test_docs.py does the same.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs/reference"
GENERATED = "<!-- Written by `make docs` from the code: change it there. -->\n"

_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")


# --- reference pages ---------------------------------------------------------------------------------------------


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def settings_page() -> str:
    """Every setting, from the one table."""
    from celeriac.app.defaults import settings_markdown

    return settings_markdown()


def cli_page() -> str:
    """Every command, from its own help."""
    from celeriac.bin._reference import pages as cli_pages

    return cli_pages()


def exceptions_page() -> str:
    """Every public exception with its base and first sentence, in the order of the module."""
    from celeriac import exceptions

    lines = [
        "# Exceptions\n",
        GENERATED,
        "All in `celeriac.exceptions`.\n",
        "| exception | base | meaning |",
        "|---|---|---|",
    ]
    for name, kind in vars(exceptions).items():
        if inspect.isclass(kind) and issubclass(kind, BaseException) and kind.__module__ == exceptions.__name__:
            alias = "" if kind.__name__ == name else f" (same as `{kind.__name__}`)"
            first = (kind.__doc__ or "").strip().split("\n\n")[0]
            lines.append(f"| `{name}`{alias} | `{kind.__bases__[0].__name__}` | {_cell(' '.join(first.split()))} |")
    return "\n".join(lines) + "\n"


PAGES = {"settings.md": settings_page, "cli.md": cli_page, "exceptions.md": exceptions_page}


def stale() -> list[str]:
    """Names of reference pages that are not what the code says."""
    return [
        name
        for name, page in PAGES.items()
        if not (REFERENCE / name).exists() or (REFERENCE / name).read_text() != page()
    ]


# --- links -------------------------------------------------------------------------------------------------------


def pages() -> list[Path]:
    """Every Markdown page of the repository."""
    folders = ("docs", "benches", "examples", "rust", "tests", "python")
    found = [*ROOT.glob("*.md"), *(page for folder in folders for page in (ROOT / folder).rglob("*.md"))]
    return sorted(page for page in found if "target" not in page.parts and "fuzz" not in page.parts)


def _anchors(text: str) -> set[str]:
    """The anchors of a page's headings, made as the usual hosts make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?)\s*$", _FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
    return found


def broken_links() -> list[str]:
    """`page: link` for each link to a file or heading that is not there. Links to other sites are not followed."""
    broken = []
    for page in pages():
        text = _CODE.sub("", _FENCE.sub("", page.read_text()))
        for link in _LINK.findall(text):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            known = target.exists() and (not anchor or target.suffix != ".md" or anchor in _anchors(target.read_text()))
            if not known:
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    return broken


def main() -> int:
    """Exit status 1 if a link is broken, or with `--check` if a page is stale."""
    old = stale()
    if "--check" not in sys.argv[1:]:
        REFERENCE.mkdir(exist_ok=True)
        for name in old:
            (REFERENCE / name).write_text(PAGES[name]())
            print(f"wrote docs/reference/{name}")
        old = []
    for name in old:
        print(f"docs/reference/{name} is not what the code says: run `make docs`")
    broken = broken_links()
    for line in broken:
        print(f"broken link in {line}")
    return int(bool(old or broken))


if __name__ == "__main__":
    sys.exit(main())
