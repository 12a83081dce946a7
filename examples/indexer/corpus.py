"""What is to be indexed: text files below a folder, cut into parts of equal length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PART_LINES = 40
_SKIP = {"target", "node_modules", "__pycache__", "dist", "build"}
_WORD = re.compile(r"\w+")
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Corpus:
    """The files, their parts as `(path, first line, lines)`, and the number of words that the tasks must find."""

    files: list[Path]
    parts: list[tuple[str, int, int]]
    words: int


def read(folder: Path) -> Corpus:
    """Reads every text file below `folder`, hidden and built things left out."""
    files: list[Path] = []
    parts: list[tuple[str, int, int]] = []
    words = 0
    for path in sorted(_walk(folder)):
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue  # not a text file, or not ours to read
        with path.open(encoding="utf-8") as file:
            lines = sum(1 for _ in file)
        files.append(path)
        words += len(_WORD.findall(text))
        parts += [(str(path), start, PART_LINES) for start in range(0, lines, PART_LINES)]
    return Corpus(files, parts, words)


def _walk(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name in _SKIP or entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _walk(entry)
        elif entry.is_file() and 0 < entry.stat().st_size <= _LARGEST:
            yield entry
