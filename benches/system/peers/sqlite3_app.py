"""A task queue of a hundred lines on the standard library's sqlite3 and json: what one writes first, done properly.

One table of tasks, one of results; WAL, synchronous=NORMAL. A claim is one UPDATE … RETURNING; the end of a task is one
transaction (result stored, task deleted). Idle workers and waiting clients look every millisecond.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from benches.system.client import COUNTER, STORE, Client
from benches.system.counter import Counter

_POLL_S = 0.001


class Queue(Client):
    """One connection; used by one thread."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS task (id INTEGER PRIMARY KEY, key TEXT, body TEXT, due REAL, claimed REAL)"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS result (key TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID")
        self._db.execute("CREATE INDEX IF NOT EXISTS waiting ON task (due) WHERE claimed IS NULL")

    def send(self, number: int) -> str:
        key = str(uuid.uuid4())
        row = (key, json.dumps(["hit", [number]]), time.time())
        self._db.execute("INSERT INTO task (key, body, due) VALUES (?, ?, ?)", row)
        return key

    def _send_rows(self, numbers: Sequence[int], due: float) -> list[str]:
        rows = [(str(uuid.uuid4()), json.dumps(["hit", [number]]), due) for number in numbers]
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT INTO task (key, body, due) VALUES (?, ?, ?)", rows)
        self._db.execute("COMMIT")
        return [row[0] for row in rows]

    def send_many(self, numbers: Sequence[int]) -> list[str]:
        return self._send_rows(numbers, time.time())

    def send_later(self, numbers: range) -> None:
        self._send_rows(numbers, time.time() + 86_400)

    def claim(self) -> tuple[int, str, str] | None:
        now = time.time()
        found = self._db.execute(
            "UPDATE task SET claimed = ? WHERE id = "
            "(SELECT id FROM task WHERE claimed IS NULL AND due <= ? ORDER BY due LIMIT 1) RETURNING id, key, body",
            (now, now),
        ).fetchall()
        return found[0] if found else None

    def end(self, number: int, key: str, result: object) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("INSERT OR REPLACE INTO result VALUES (?, ?)", (key, json.dumps(result)))
        self._db.execute("DELETE FROM task WHERE id = ?", (number,))
        self._db.execute("COMMIT")

    def wait(self, key: str) -> object:
        while True:
            found = self._db.execute("SELECT body FROM result WHERE key = ?", (key,)).fetchone()
            if found:
                return json.loads(found[0])
            time.sleep(_POLL_S)

    def waiting(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM task").fetchone()[0])

    def has_result(self, key: str, number: int) -> bool:
        found = self._db.execute("SELECT body FROM result WHERE key = ?", (key,)).fetchone()
        return bool(found) and json.loads(found[0]) == number


def _work(tasks: dict[str, Callable[..., object]], stop: threading.Event) -> None:
    queue = Queue(STORE)
    while not stop.is_set():
        claimed = queue.claim()
        if claimed is None:
            time.sleep(_POLL_S)
            continue
        number, key, body = claimed
        name, args = json.loads(body)
        queue.end(number, key, tasks[name](*args))


def _worker() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    tasks = {"hit": Counter(COUNTER).hit}
    threads = [threading.Thread(target=_work, args=(tasks, stop)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    _worker()
else:
    client = Queue(STORE)
