"""Starts a worker, sends the work, shows how it goes, checks what came out. Exit status 1 if anything is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.indexer import corpus

ROOT = Path(__file__).resolve().parents[2]
SLOW_FILES = 12
WAIT_S = 120.0

Sent = list[tuple[Any, float]]
"""Results with the wall clock of their sending."""


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    console = Console()
    found = corpus.read(folder)
    if not found.parts:
        console.print(f"no text file below {folder}")
        return 1
    console.print(
        f"[bold]{len(found.files):,} files[/], {found.words:,} words, in {len(found.parts):,} parts below {folder}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        # Before the import: the application reads its broker from the environment.
        os.environ["INDEXER_BROKER"] = f"sqlite:///{scratch}/indexer.db"
        argv = ["-m", "celeriac", "-A", "examples.indexer.tasks", "worker", "-P", "threads", "-c", "4", "-l", "WARNING"]
        with (Path(scratch) / "worker.log").open("wb") as log:
            worker = subprocess.Popen([sys.executable, *argv], cwd=ROOT, stdout=log, stderr=log)
        try:
            problems = run(console, found, Path(scratch))
            worker.terminate()
            if worker.wait(20) != 0:
                problems.append(f"the worker ended with status {worker.returncode}")
        finally:
            worker.kill()
            worker.wait()
        if problems:
            console.print((Path(scratch) / "worker.log").read_text()[-3000:], markup=False)
    for problem in problems:
        console.print(f"[red]wrong:[/] {problem}", highlight=False)
    return 1 if problems else 0


def run(console: Console, found: corpus.Corpus, scratch: Path) -> list[str]:
    """Sends everything, waits for everything. Returns what is not as it should be."""
    from examples.indexer import tasks

    (scratch / "lock").touch()  # the report has to wait for this, hence the retry
    broken = scratch / "broken.txt"
    broken.write_bytes(b"caf\xe9 is not UTF-8\n")  # this one must fail
    largest = sorted(found.files, key=lambda path: path.stat().st_size)[-SLOW_FILES:]

    began = time.monotonic()
    tasks.count_words.delay(*found.parts[0]).get(timeout=WAIT_S)
    console.print(f"worker's first answer after {time.monotonic() - began:.2f} s")

    began = time.monotonic()
    report = (tasks.write_report.delay(str(scratch), [str(path) for path in found.files]), time.time())
    bad = (tasks.count_words.delay(str(broken), 0, 1), time.time())
    slow: Sent = [(tasks.fingerprint.delay(str(path)), time.time()) for path in largest]
    small: Sent = [(tasks.count_words.delay(*part), time.time()) for part in found.parts]
    sending = time.monotonic() - began

    words: Counter[str] = Counter()
    total = 0
    latencies: dict[str, list[float]] = {"count_words": [], "fingerprint": [], "write_report": []}
    problems: list[str] = []
    failures = 0
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("count_words", total=len(small))
        for result, sent in small:
            counted = result.get(timeout=WAIT_S)
            total += counted["words"]
            words.update(dict(counted["top"]))
            latencies["count_words"].append(counted["ended"] - sent)
            progress.advance(bar)
        bar = progress.add_task("fingerprint", total=len(slow))
        for result, sent in slow:
            _, ended = result.get(timeout=WAIT_S)
            latencies["fingerprint"].append(ended - sent)
            progress.advance(bar)
        bar = progress.add_task("write_report", total=1)
        result, sent = report
        if result.state not in {"PENDING", "RETRY"}:
            problems.append(f"the report should be waiting for the lock, but is {result.state}")
        (scratch / "lock").unlink()
        retries, ended = result.get(timeout=WAIT_S)
        latencies["write_report"].append(ended - sent)
        progress.advance(bar)
    elapsed = time.monotonic() - began

    try:
        bad[0].get(timeout=WAIT_S)
        problems.append("a file that is not UTF-8 was read without an error")
    except UnicodeDecodeError:
        failures = 1
    if total != found.words:
        problems.append(f"the tasks counted {total:,} words, the files have {found.words:,}")
    if not retries:
        problems.append("the report was written while the lock was held")
    if len((scratch / "report.txt").read_text().splitlines()) != len(found.files):
        problems.append("the report does not name every file")

    table = Table(title=f"{total:,} words; the most frequent: {', '.join(word for word, _ in words.most_common(6))}")
    for heading in ("task", "done", "failed (expected)", "retries", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    expected = {"count_words": failures}
    for name, taken in latencies.items():
        tries = retries if name == "write_report" else 0
        row = (len(taken), expected.get(name, 0), tries, _percentile(taken, 0.5), _percentile(taken, 0.99))
        table.add_row(name, *(f"{cell:,.1f}" if isinstance(cell, float) else f"{cell:,}" for cell in row))
    console.print(table)
    count = len(small) + len(slow) + 2
    console.print(
        f"{count:,} tasks in {elapsed:.2f} s: [bold]{count / elapsed:,.0f} a second[/]; sent one by one at "
        f"{count / sending:,.0f} a second. p50 and p99: from the call of delay() to the end of the task.",
        highlight=False,
    )
    return problems


def _percentile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


if __name__ == "__main__":
    sys.exit(main())
