"""The tasks. `app` finds its broker in the environment, so that the worker and the command share one file."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

from celeriac import Celery

app = Celery("indexer", broker=os.environ.get("INDEXER_BROKER", "sqlite:///indexer.db"))
app.conf.update(result_backend=os.environ.get("INDEXER_BROKER", "sqlite:///indexer.db"), result_expires=3600)

_WORD = re.compile(r"\w+")


class Counted(TypedDict):
    """What is known of a part of a file; `ended` is wall clock, seconds."""

    words: int
    top: list[tuple[str, int]]
    ended: float


@app.task
def count_words(path: str, start: int, size: int) -> Counted:
    """Counts the words of `size` lines of a file from line `start`. Many, and short.

    Raises:
        UnicodeDecodeError: the file is not text.
    """
    with Path(path).open(encoding="utf-8") as file:
        words = Counter(
            word.lower()
            for number, line in enumerate(file)
            if start <= number < start + size
            for word in _WORD.findall(line)
        )
    return {"words": words.total(), "top": words.most_common(20), "ended": time.time()}


@app.task(acks_late=True)
def fingerprint(path: str) -> tuple[str, float]:
    """A slow hash of a whole file: about a tenth of a second of real work. Few, and long."""
    return hashlib.pbkdf2_hmac("sha256", Path(path).read_bytes(), b"demo", 150_000).hex(), time.time()


@app.task(bind=True, autoretry_for=(FileExistsError,), retry_backoff=False, default_retry_delay=0.2, max_retries=50)
def write_report(self: Any, folder: str, lines: list[str]) -> tuple[int, float]:
    """Writes the report; tried again while somebody else holds the folder's lock. Returns the retries it took."""
    lock = Path(folder) / "lock"
    with lock.open("x"):
        (Path(folder) / "report.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lock.unlink()
    return self.request.retries, time.time()
