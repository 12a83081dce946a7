"""What pure Python does instead: a broker on the standard library's `sqlite3`, messages as JSON or msgpack.

Set up as celeriac's own (WAL, synchronous=NORMAL, one transaction a call), and given batches where those help it.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]

Dumps = Callable[[object], Any]
Loads = Callable[[Any], Any]
FORMS: dict[str, tuple[Dumps, Loads]] = {
    "json": (json.dumps, json.loads),
    "msgpack": (msgpack.packb, msgpack.unpackb),
}


def message(task_id: str, args: Sequence[object]) -> dict[str, object]:
    """What a worker needs to know, no more: a third of what Celery's message says."""
    return {"id": task_id, "task": "proj.tasks.add", "args": list(args), "kwargs": {}, "retries": 0, "eta": None}


class PureBroker:
    """Tasks and results in one file, or in memory."""

    def __init__(self, path: Path | None, form: str) -> None:
        self.dumps, self.loads = FORMS[form]
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("CREATE TABLE task (id INTEGER PRIMARY KEY, key TEXT, body BLOB, claimed INTEGER)")
        self._db.execute("CREATE INDEX waiting ON task (id) WHERE claimed IS NULL")
        self._db.execute("CREATE TABLE result (key TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID")

    def publish(self, args: Sequence[object]) -> None:
        key = str(uuid.uuid4())
        self._db.execute("INSERT INTO task (key, body) VALUES (?, ?)", (key, self.dumps(message(key, args))))

    def publish_many(self, calls: Sequence[Sequence[object]]) -> None:
        keys = [str(uuid.uuid4()) for _ in calls]
        rows = [(key, self.dumps(message(key, args))) for key, args in zip(keys, calls, strict=True)]
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT INTO task (key, body) VALUES (?, ?)", rows)
        self._db.execute("COMMIT")

    def claim(self, most: int) -> list[tuple[int, str, Any]]:
        rows = self._db.execute(
            "UPDATE task SET claimed = 1 WHERE id IN (SELECT id FROM task WHERE claimed IS NULL ORDER BY id LIMIT ?) "
            "RETURNING id, key, body",
            (most,),
        ).fetchall()
        return [(number, key, self.loads(body)) for number, key, body in rows]

    def end(self, ended: Sequence[tuple[int, str, object]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        results = [(key, self.dumps({"status": "SUCCESS", "result": value})) for _, key, value in ended]
        self._db.executemany("INSERT OR REPLACE INTO result VALUES (?, ?)", results)
        self._db.executemany("DELETE FROM task WHERE id = ?", [(number,) for number, _, _ in ended])
        self._db.execute("COMMIT")

    def put(self, key: str, value: object) -> None:
        self._db.execute("INSERT OR REPLACE INTO result VALUES (?, ?)", (key, self.dumps(value)))

    def get(self, key: str) -> Any:
        found = self._db.execute("SELECT body FROM result WHERE key = ?", (key,)).fetchone()
        return self.loads(found[0]) if found else None

    def close(self) -> None:
        self._db.close()
